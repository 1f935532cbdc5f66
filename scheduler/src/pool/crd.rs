//! The custom resource's definition, made of the types.

use super::WorkerPool;
use kube::CustomResourceExt;
use serde_json::Value;

/// As it lies in `gpu-manifests/base`, where CI compares it.
pub fn yaml() -> String {
    let mut definition = serde_json::to_value(WorkerPool::crd()).expect("the definition is plain data");
    only_known_formats(&mut definition);
    let yaml = serde_saphyr::to_string(&definition).expect("the definition is plain data");
    format!("# Made by `framefleet-scheduler crd`; a test compares.\n{yaml}")
}

/// Kubernetes knows no unsigned numbers, and warns of their names. That they are not negative is said by their minimum.
fn only_known_formats(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(format) = fields.get_mut("format").filter(|format| **format == "uint32") {
                *format = Value::from("int64");
            }
            fields.values_mut().for_each(only_known_formats);
        }
        Value::Array(items) => items.iter_mut().for_each(only_known_formats),
        _ => {}
    }
}
