//! The JSON Schemas of a fleet's messages lie in `contract/schemas`, for whoever writes a client in another language. They
//! are made of the types; `FRAMEFLEET_BLESS=1 cargo test -p framefleet-contract --test schemas` writes them anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "the functions that tests share are tests too")]

use framefleet_contract::message::control::Control;
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::heartbeat::Heartbeat;
use framefleet_contract::message::segment_task::SegmentTask;
use framefleet_contract::message::status::Status;
use framefleet_contract::message::submission::JobMessage;
use framefleet_contract::outcome::Outcome;
use schemars::{JsonSchema, Schema, schema_for};
use serde_json::Value;
use std::fs;
use std::path::Path;

#[test]
fn the_schemas_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
    let schemas = all();
    if std::env::var_os("FRAMEFLEET_BLESS").is_some() {
        for (name, schema) in &schemas {
            fs::write(folder.join(name), text_of(schema)).unwrap();
        }
    }
    let mut there: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    assert_eq!(there, schemas.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
    for (name, schema) in &schemas {
        let there = fs::read_to_string(folder.join(name)).unwrap();
        assert!(there == text_of(schema), "{name} is not that of its type: FRAMEFLEET_BLESS=1 writes it anew");
    }
}

#[test]
fn every_schema_has_a_title_and_every_field_a_description() {
    for (name, schema) in all() {
        let schema = schema.to_value();
        assert!(schema["title"].is_string() && schema["description"].is_string(), "{name}");
        let mut without = Vec::new();
        fields_without_description(&schema, "", &mut without);
        assert!(without.is_empty(), "{name}: {without:?}");
    }
}

/// By name.
fn all() -> Vec<(String, Schema)> {
    vec![
        named::<Control>("control"),
        named::<Finish>("finish"),
        named::<Heartbeat>("heartbeat"),
        named::<JobMessage>("job"),
        named::<Outcome>("outcome"),
        named::<SegmentTask>("segment"),
        named::<Status>("status"),
    ]
}

fn named<T: JsonSchema>(name: &str) -> (String, Schema) {
    (format!("{name}.schema.json"), schema_for!(T))
}

fn text_of(schema: &Schema) -> String {
    serde_json::to_string_pretty(schema).unwrap() + "\n"
}

fn fields_without_description(schema: &Value, at: &str, without: &mut Vec<String>) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                if name == "properties" {
                    let Value::Object(fields) = member else { panic!("{at}: {member}") };
                    let bare = fields.iter().filter(|(_, field)| {
                        field.get("description").is_none()
                            && field.get("const").is_none()
                            && field.get("$ref").is_none()
                    });
                    without.extend(bare.map(|(field, _)| format!("{at}/{field}")));
                }
                fields_without_description(member, &format!("{at}/{name}"), without);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields_without_description(item, at, without)),
        _ => {}
    }
}
