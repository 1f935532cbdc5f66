//! The pod template, and how texts with a form of their own are described.
//!
//! The API server checks the parts on which pools rest, and keeps the rest as it is: the full schema of a pod would make the
//! definition larger than `kubectl apply` takes. The rest is checked when a Job or a Deployment is made of it, by a dry run.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// As in a Deployment: labels and annotations, and a pod's specification.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodTemplate {
    #[serde(default)]
    pub metadata: TemplateMetadata,
    pub spec: Map<String, Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateMetadata {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl JsonSchema for PodTemplate {
    fn schema_name() -> Cow<'static, str> {
        "PodTemplate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words = json_schema!({"type": "object", "additionalProperties": {"type": "string"}});
        json_schema!({
            "type": "object",
            "required": ["spec"],
            "properties": {
                "metadata": {
                    "type": "object",
                    "properties": {"labels": words, "annotations": words},
                },
                "spec": {
                    "type": "object",
                    "description": "A PodSpec: kubectl explain pod.spec",
                    "required": ["containers"],
                    "properties": {
                        "containers": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 32,
                            "items": {
                                "type": "object",
                                "required": ["name", "image"],
                                "properties": {
                                    "name": {"type": "string", "minLength": 1, "maxLength": 63},
                                    "image": {"type": "string", "minLength": 1, "maxLength": 1024},
                                },
                                "x-kubernetes-preserve-unknown-fields": true,
                            },
                            "x-kubernetes-list-type": "map",
                            "x-kubernetes-list-map-keys": ["name"],
                        },
                    },
                    "x-kubernetes-preserve-unknown-fields": true,
                },
            },
        })
    }
}

/// `1h30m`, `90s`: what both CEL's `duration` and `humantime` read.
const DURATION: &str = "^([0-9]{1,4}h)?([0-9]{1,6}m)?([0-9]{1,8}s)?$";
/// Decimal digits, so that nothing is rounded on the way.
const PRICE: &str = "^[0-9]{1,9}([.][0-9]{1,6})?$";
/// As the API server writes quantities of memory.
const QUANTITY: &str = "^[0-9]+([.][0-9]+)?([KMGTPE]i|[kMGTPE])?$";

pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": DURATION, "minLength": 2, "maxLength": 32})
}

pub fn optional_duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": DURATION, "minLength": 2, "maxLength": 32, "nullable": true})
}

pub fn optional_price(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": PRICE, "nullable": true})
}

pub fn optional_quantity(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": QUANTITY, "maxLength": 32, "nullable": true})
}
