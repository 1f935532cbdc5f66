//! Clients in Python: the example works, and the JSON Schemas say what the program says.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

#[path = "fleet_cli/small_fleet.rs"]
mod small_fleet;

use framefleet_contract::message::submission::JobMessage;
use framefleet_tests::{Ended, python, repository};
use serde_json::{Value, json};
use small_fleet::SmallFleet;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn the_example_submits_a_video_and_reads_its_tracks() {
    let fleet = SmallFleet::new("python");
    let _worker = fleet.worker();
    let submit = |video: &str| {
        let mut command = fleet.command(python::interpreter());
        command.arg(repository::root().join("examples/python/submit.py")).arg(video);
        Ended::new(format!("submit.py {video}"), command.output().unwrap())
    };
    let good = submit(repository::street().to_str().unwrap());
    // librdkafka warns of a broker that has just begun and has it wait.
    assert_eq!(good.status, Some(0), "{good}");
    let lines: Vec<&str> = good.stdout.lines().collect();
    assert!(lines[0].ends_with(" submitted") && lines[1].ends_with(" succeeded"), "{good}");
    assert!(lines[2].starts_with("  tracks.parquet "), "{good}");
    assert_eq!(lines.iter().filter(|line| line.starts_with("  frame 0  track ")).count(), 5, "{good}");

    let bad = submit("nowhere.mp4");
    assert!(bad.status == Some(1) && bad.stdout.contains(" failed\nno such file"), "{bad}");
    let refused = submit("");
    assert!(refused.status == Some(1), "{refused}");
}

/// Of the messages below, the first ones that are good.
const TAKEN: usize = 6;

#[test]
fn the_schema_takes_and_refuses_what_the_program_does() {
    let request = |change: &dyn Fn(&mut Value)| {
        let mut message = json!({"kind": "request", "version": 1, "job_id": "a", "source": "/videos/a.mp4"});
        change(&mut message);
        message
    };
    let with = |field: &str, value: Value| request(&|message| message[field] = value.clone());
    let everything = json!({
        "kind": "request", "version": 1, "job_id": "a", "source": "https://h/v.mp4?x", "model": "street@2",
        "queue": "high", "deadline": "2026-03-01T12:00:00.5Z", "labels": {"k": "v", "é": ""},
        "outputs": {"annotated": true},
        "settings": {
            "confidence": 0, "iou": 1, "every": 3, "classes": ["car"],
            "tracker": {"track_thresh": 0.5, "low_thresh": 0.1, "new_track_margin": 0, "track_buffer": 0, "match_thresh": 1}
        }
    });
    let many_labels: serde_json::Map<String, Value> = (0..33).map(|n| (n.to_string(), "".into())).collect();
    let messages = [
        request(&|_| ()),
        everything,
        json!({"kind": "cancellation", "version": 1, "job_id": "a"}),
        with("model", Value::Null),
        with("labels", json!({"a": "x".repeat(256)})),
        with("source", "x".repeat(4096).into()),
        // From here on, none is to be taken.
        with("colour", "red".into()),
        with("settings", json!({"confidance": 0.5})),
        with("settings", json!({"tracker": {"thresh": 0.5}})),
        with("version", 2.into()),
        with("version", 0.into()),
        with("kind", "wish".into()),
        with("job_id", "../a".into()),
        with("job_id", "".into()),
        with("source", "".into()),
        with("source", "a\0b".into()),
        with("source", "x".repeat(4097).into()),
        with("source", Value::Null),
        with("model", "".into()),
        with("settings", json!({"iou": 1.5})),
        with("settings", json!({"every": 0})),
        with("settings", json!({"every": 1.5})),
        with("settings", json!({"tracker": {"match_thresh": -1.0}})),
        with("settings", json!({"tracker": {"track_buffer": -1}})),
        with("queue", "a/b".into()),
        with("queue", "-a".into()),
        with("queue", "Ä".into()),
        with("deadline", "tomorrow".into()),
        with("deadline", "２026-03-01T12:00:00Z".into()),
        with("labels", json!({"a": "x".repeat(257)})),
        with("labels", json!({"x".repeat(64): "a"})),
        with("labels", json!({"": "a"})),
        with("labels", json!({"a": 1})),
        with("labels", many_labels.into()),
        with("outputs", json!({"annotated": "yes"})),
        with("outputs", json!({})),
        json!({"kind": "cancellation", "version": 1, "job_id": "a", "why": "late"}),
        json!({"kind": "cancellation", "version": 1}),
        json!({"version": 1, "job_id": "a", "source": "x"}),
        json!([]),
    ];
    let verdicts = verdicts("job", &messages);
    for (n, (message, verdict)) in messages.iter().zip(&verdicts).enumerate() {
        let parsed = JobMessage::parse(Some(b"a"), message.to_string().as_bytes());
        assert_eq!(parsed.is_ok(), n < TAKEN, "the program says {parsed:?} of {message}");
        assert_eq!(verdict == "taken", n < TAKEN, "jsonschema says {verdict} of {message}");
    }
}

#[test]
fn what_a_fleet_says_is_what_the_schemas_say() {
    let fleet = SmallFleet::new("schemas");
    let _worker = fleet.worker();
    fleet.said(&["submit", repository::street().to_str().unwrap(), "--job-id", "good", "--wait"]);
    let mut outcome = fleet.json(&["results", "good"]).remove(0);
    outcome.as_object_mut().unwrap().remove("folder");
    assert_eq!(verdicts("outcome", &[outcome]), ["taken"]);
    for name in ["control", "finish", "heartbeat", "segment", "status"] {
        assert_ne!(verdicts(name, &[json!({"version": 1})]), ["taken"], "{name}");
    }
}

/// What Python's `jsonschema` says of each message.
fn verdicts(schema: &str, messages: &[Value]) -> Vec<String> {
    let mut command = Command::new(python::interpreter());
    command.arg(repository::root().join("tests/schemas/verdicts.py"));
    command.arg(repository::root().join(format!("contract/schemas/{schema}.schema.json")));
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let lines: String = messages.iter().map(|message| message.to_string() + "\n").collect();
    stdin.write_all(lines.as_bytes()).unwrap();
    drop(stdin);
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let verdicts: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(verdicts.len(), messages.len());
    verdicts
}
