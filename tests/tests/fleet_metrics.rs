//! `docs/METRICS.md` is what a running worker has.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

#[path = "fleet_cli/small_fleet.rs"]
mod small_fleet;

use framefleet_tests::repository;
use small_fleet::SmallFleet;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn the_page_lists_every_metric_of_a_worker_from_its_start_on() {
    let fleet = SmallFleet::new("metrics");
    let worker = fleet.worker();
    let page = fs::read_to_string(repository::root().join("docs/METRICS.md")).unwrap();
    let listed: Vec<&str> = page.lines().filter(|line| line.starts_with("| `framefleet_")).collect();
    let there = rows(&answer(&worker.address(), "/metrics"));
    assert_eq!(listed, there, "the page is to have these lines:\n{}\n", there.join("\n"));
    // Nothing comes into being by being used.
    fleet.said(&["submit", repository::street().to_str().unwrap(), "--wait"]);
    let after = answer(&worker.address(), "/metrics");
    assert_eq!(listed, rows(&after));
    assert!(after.contains("\nframefleet_segments_published_total 6\n"), "{after}");
}

#[test]
fn a_worker_that_takes_work_says_so() {
    let fleet = SmallFleet::new("health");
    let worker = fleet.worker();
    for path in ["/livez", "/readyz", "/startupz"] {
        assert_eq!(answer(&worker.address(), path), "ok\n", "{path}");
    }
}

/// A line of the page for each metric, sorted by name.
fn rows(metrics: &str) -> Vec<String> {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut meanings: BTreeMap<&str, &str> = BTreeMap::new();
    let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in metrics.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            kinds.insert(name, kind);
        } else if let Some((name, meaning)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            meanings.insert(name, meaning);
        } else if let Some((name, rest)) = line.split_once('{') {
            let end = rest.find('}').unwrap();
            let names = rest[..end].split(',').map(|label| label.split_once('=').unwrap().0);
            // Part of what a histogram is.
            let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            labels.entry(name).or_default().extend(names.filter(|label| *label != "le"));
        }
    }
    let row = |(name, kind): (&&str, &&str)| {
        let labels = labels.get(name).map(|labels| labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>());
        let meaning = meanings.get(name).unwrap_or(&"(not described)");
        format!("| `{name}` | {kind} | {} | {meaning} |", labels.unwrap_or_default().join(", "))
    };
    kinds.iter().map(row).collect()
}

/// What the worker answers to a GET.
fn answer(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body.to_owned()
}
