//! Work that takes its worker with it, and work that a worker has no memory for.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::ErrorCode;
use framefleet_contract::identity::JobId;
use framefleet_tests::{Fleet, Footage, Oracle, Orders, Worker, wait};
use std::collections::BTreeSet;
use std::fs;
use std::thread;
use std::time::Duration;

/// Of [`Footage::odd`], a packet in the middle of the third segment.
const POISON: &str = "decode 176x112@60";
const POISONED: u32 = 2;
/// A mark that was not touched for so long is of a worker that is gone.
const LIFETIME: Duration = Duration::from_secs(5);

/// Fault 13: a decoder that hangs, crashes, or is killed for the memory that it takes.
#[test]
fn a_worker_that_a_decoder_takes_with_it_costs_nothing_but_time() {
    thread::scope(|scope| {
        for (what, status) in [("hold", Some(70)), ("abort", None), ("eat", None)] {
            scope.spawn(move || decode_once(what, status));
        }
    });
}

fn decode_once(what: &str, status: Option<i32>) {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "decoder");
    orders.give(&[&format!("{POISON} {what} 1")]);
    let mut lost = fleet.worker().with(&["--stall-seconds", "2"]).envs(orders.environment()).started();
    let id = fleet.submit("odd", Footage::odd());
    let neighbour = fleet.submit("neighbour", Footage::short());
    assert_eq!(lost.wait_for_end(), status, "{what}: {}", lost.log());
    wait::calmly("its mark looks lost", || is_old(&fleet, &id, "attempts/00002/0"));
    let second = fleet.worker().started();
    Oracle::of(&fleet).succeeded([&id], Footage::odd()).succeeded([&neighbour], Footage::short()).check();
    let alone = |line: &str| line.contains("it runs alone") && line.contains("step=00002");
    assert!(second.log().lines().any(alone), "{what}: {}", second.log());
    assert_eq!(fleet.dead_letters(), [], "{what}");
}

fn is_old(fleet: &Fleet, id: &JobId, mark: &str) -> bool {
    let touched = fs::metadata(fleet.folder(id).path_of(mark)).unwrap().modified().unwrap();
    touched.elapsed().is_ok_and(|age| age > LIFETIME)
}

/// Fault 15.
#[test]
fn a_segment_that_kills_its_worker_every_time_is_convicted_and_its_neighbours_are_not() {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "poison");
    orders.give(&[&format!("{POISON} abort")]);
    let start = || -> Worker { fleet.worker().envs(orders.environment()).start() };
    let mut workers = [start(), start()];
    let poison = fleet.submit("poison", Footage::odd());
    let neighbour = fleet.submit("neighbour", Footage::short());
    // Whatever was in the same hands as the poison at each of its losses may never come to be done.
    let (mut losses, mut had) = (0, BTreeSet::new());
    wait::within(Duration::from_secs(150), "the job has ended", || {
        for worker in &mut workers {
            if worker.has_ended() {
                losses += 1;
                *worker = start();
            }
        }
        had = fleet.folder(&poison).published_segments().unwrap();
        fleet.outcome(&poison).is_some()
    });
    Oracle::of(&fleet).failed(&poison, ErrorCode::WorkerLost).succeeded([&neighbour], Footage::short()).check();
    println!("{losses} losses");
    assert!((4..=16).contains(&losses), "one that may have been another one's, and three alone: {losses}");
    let has = fleet.folder(&poison).published_segments().unwrap();
    assert!(has.is_superset(&had), "what it has stays: {had:?}, now {has:?}");
    assert!(!has.contains(&POISONED), "the poison itself is done: {has:?}");

    let letters = fleet.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!((letter.code.as_str(), letter.key.as_deref()), ("WORKER_LOST", Some("poison")));
    assert_eq!(letter.original_topic, fleet.topics().segments("normal"));
    assert!(letter.original_partition.is_some() && letter.original_offset.is_some() && !letter.worker.is_empty());
    assert!(letter.message.contains("lost 3 times") && letter.message.contains("00002"), "{}", letter.message);
}

/// Fault 14. On a CPU each frame is a batch of its own, so that there is nothing to halve.
#[test]
fn a_worker_that_has_no_memory_for_a_while_tries_again() {
    let (fleet, orders, worker) = without_memory();
    let id = fleet.submit("hungry", Footage::short());
    wait::calmly("it was tried again", || worker.says("INFERENCE_FAILED"));
    orders.withdraw();
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
    assert_eq!(fleet.dead_letters(), []);
}

/// Fault 14, for ever: tried in place, handed back, and given up in the end.
#[test]
fn work_that_there_is_never_memory_for_is_given_up() {
    let (fleet, _orders, worker) = without_memory();
    let id = fleet.submit("starved", Footage::short());
    wait::within(Duration::from_secs(100), "it is given up", || fleet.outcome(&id).is_some());
    Oracle::of(&fleet).failed(&id, ErrorCode::InferenceFailed).check();
    assert!(worker.says("handed back"), "{}", worker.log());
    let letters = fleet.dead_letters();
    assert!(!letters.is_empty() && letters.iter().all(|letter| letter.code == "INFERENCE_FAILED"), "{letters:?}");
}

fn without_memory() -> (Fleet, Orders, Worker) {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "memory");
    orders.give(&["new infer ENOMEM"]);
    let worker = fleet.worker().envs(orders.environment()).started();
    (fleet, orders, worker)
}
