//! Messages that say what no message may say become dead letters and block nothing; those of the next version are read
//! where that can be done.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::message::MOST_BYTES;
use framefleet_queue::client::DeadLetter;
use framefleet_tests::fleet::submission;
use framefleet_tests::{Fleet, Footage, Oracle, Orders, wait};
use serde_json::{Value, json};
use std::slice::from_ref;

/// A message that cannot be read, and a word of the reason that is given.
struct Bad {
    what: &'static str,
    key: Option<&'static str>,
    value: Vec<u8>,
    reason: &'static str,
}

fn bad(what: &'static str, key: Option<&'static str>, value: impl AsRef<[u8]>, reason: &'static str) -> Bad {
    Bad { what, key, value: value.as_ref().to_vec(), reason }
}

/// What is wrong in any topic. `whole` is a message of the job `bad` that is right.
fn of_any_kind(whole: &Value) -> Vec<Bad> {
    let whole = whole.to_string();
    let mut large = whole.clone().into_bytes();
    large.resize(70 << 10, b' ');
    vec![
        bad("not JSON", Some("bad"), b"\xff\x00 no", "cannot be read"),
        bad("empty", Some("bad"), b"", "cannot be read"),
        bad("too large", Some("bad"), large, "71680 bytes"),
        bad("its key is another one", Some("other"), &whole, "key is not"),
        bad("no key", None, &whole, "no key"),
        bad("fields are missing", Some("bad"), br#"{"version":1}"#, "cannot be read"),
        bad("an id with a path in it", Some("../bad"), whole.replace("\"bad\"", "\"../bad\""), "cannot be read"),
    ]
}

fn with(whole: &Value, field: &str, value: Value) -> String {
    let mut changed = whole.clone();
    changed[field] = value;
    changed.to_string()
}

#[test]
fn a_message_that_cannot_be_read_becomes_a_dead_letter_and_blocks_nothing() {
    let fleet = Fleet::shared();
    let _worker = fleet.worker().started();
    let mut request = serde_json::to_value(submission("bad", Footage::short())).unwrap();
    request["kind"] = json!("request");
    let model = json!({ "name": "cells", "sha256": "0".repeat(64) });
    let segment =
        json!({ "version": 1, "job_id": "bad", "segment": 0, "queue": "normal", "model": model, "frames": 25 });
    let finish = json!({ "version": 1, "job_id": "bad", "segment": 0 });
    let mut of_requests = of_any_kind(&request);
    of_requests.extend([
        bad("an unknown version", Some("bad"), with(&request, "version", json!(2)), "of version 2"),
        bad("an unknown field", Some("bad"), with(&request, "colour", json!("red")), "colour"),
        bad("an unknown setting", Some("bad"), with(&request, "settings", json!({ "magic": 1 })), "magic"),
        bad("an unknown kind", Some("bad"), with(&request, "kind", json!("dance")), "dance"),
        bad("a value that cannot be meant", Some("bad"), with(&request, "settings", json!({ "iou": 7 })), "iou is 7"),
    ]);
    let topics = fleet.topics();
    let cases = [
        (topics.jobs(), of_requests),
        (topics.segments("normal"), of_any_kind(&segment)),
        (topics.finish(), of_any_kind(&finish)),
    ];
    for (topic, messages) in &cases {
        for bad in messages {
            fleet.send(topic, bad.key, &bad.value);
        }
    }
    let total: usize = cases.iter().map(|(_, messages)| messages.len()).sum();
    let ids = [fleet.submit("good", Footage::short()), fleet.submit("another", Footage::short())];
    Oracle::of(&fleet).succeeded(&ids, Footage::short()).check();

    let letters = fleet.dead_letters();
    assert_eq!(letters.len(), total, "{letters:?}");
    for (topic, messages) in &cases {
        for bad in messages {
            assert_is_among(&letters, topic, bad);
        }
    }
    let folder = fleet.results().join(JobFolder::ALL);
    let jobs: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(jobs.len(), ids.len(), "a job of a message that cannot be read: {jobs:?}");
}

fn assert_is_among(letters: &[DeadLetter], topic: &str, bad: &Bad) {
    let beginning = &bad.value[..bad.value.len().min(MOST_BYTES)];
    let key = |letter: &DeadLetter| letter.key.clone().unwrap_or_default() == bad.key.unwrap_or_default();
    let is_it = |letter: &&DeadLetter| letter.original_topic == topic && letter.value == beginning && key(letter);
    let letter = letters.iter().find(is_it);
    assert!(letter.is_some(), "{topic}: {} is not a dead letter", bad.what);
    let letter = letter.unwrap();
    assert_eq!(letter.code, "SCHEMA", "{topic}: {}", bad.what);
    assert!(letter.message.contains(bad.reason), "{topic}: {}: {}", bad.what, letter.message);
    assert!(letter.original_partition.is_some() && letter.original_offset.is_some() && !letter.worker.is_empty());
}

/// As if a worker of the next version were in the fleet: what it says has more fields, and is read.
#[test]
fn what_a_worker_of_the_next_version_says_is_read() {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "held");
    orders.give(&["link segments/00002.parquet hold 1"]);
    let worker = fleet.worker().envs(orders.environment()).started();
    let id = fleet.submit("rolling", Footage::short());
    orders.wait_until_done(1);
    let topics = fleet.topics();
    // Every message of this version once more, as the next one would send it.
    let heard = [topics.segments("normal"), topics.finish(), topics.status(), topics.workers()];
    wait::calmly("there is a message of each", || heard.iter().all(|topic| !fleet.records(from_ref(topic)).is_empty()));
    for topic in &heard {
        let record = fleet.records(from_ref(topic)).pop().unwrap();
        let mut newer: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        newer["version"] = json!(2);
        newer["mood"] = json!({ "of": ["the", "day"] });
        fleet.send(
            topic,
            Some(std::str::from_utf8(record.key.as_deref().unwrap()).unwrap()),
            newer.to_string().as_bytes(),
        );
    }
    let control = json!({ "version": 2, "job_id": "elsewhere", "action": "dance", "mood": 1 });
    fleet.send(&topics.control(), Some("elsewhere"), control.to_string().as_bytes());
    let board = fleet.client().board().unwrap();
    assert!(board.job(&id).unwrap().progress.is_some(), "the status was not read");
    orders.withdraw();
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
    assert_eq!(fleet.dead_letters(), []);
    assert!(worker.is_ready());
}

/// A request is not guessed at.
#[test]
fn a_request_of_the_next_version_is_refused_and_another_one_under_its_id_is_not() {
    let fleet = Fleet::shared();
    let _worker = fleet.worker().started();
    let mut request = serde_json::to_value(submission("newer", Footage::short())).unwrap();
    request["kind"] = json!("request");
    request["version"] = json!(2);
    fleet.send(&fleet.topics().jobs(), Some("newer"), request.to_string().as_bytes());
    wait::calmly("it is refused", || fleet.dead_letters().iter().any(|letter| letter.code == "SCHEMA"));
    assert!(fleet.outcome(&JobId::new("newer").unwrap()).is_none());
    let id = fleet.submit("newer", Footage::short());
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
}
