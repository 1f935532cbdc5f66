//! Cancelling in every state of a job: it ends `cancelled`, and nothing comes after that. Fault 20.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_queue::Reader;
use framefleet_queue::read::From;
use framefleet_tests::{Fleet, Footage, Oracle, Orders, Worker, wait};
use std::time::{Duration, Instant};

/// What is cancelled ends this soon, and so does the work on it.
const SOON: Duration = Duration::from_secs(5);

/// A fleet with one worker, whose calls are ordered.
struct Ordered {
    fleet: Fleet,
    orders: Orders,
    worker: Worker,
}

impl Ordered {
    fn new(order: &str, arguments: &[&str]) -> Self {
        let fleet = Fleet::shared();
        let orders = Orders::new(fleet.scratch(), "orders");
        orders.give(&[order]);
        let worker = fleet.worker().with(arguments).envs(orders.environment()).started();
        Self { fleet, orders, worker }
    }
}

fn id(name: &str) -> JobId {
    JobId::new(name).unwrap()
}

/// Also that nothing is left of the word to all workers, or it would be heard for ever.
fn assert_cancelled(fleet: &Fleet, id: &JobId) {
    Oracle::of(fleet).cancelled([id]).check();
    assert_eq!(fleet.outcome(id).unwrap().files, []);
    let last_word = || {
        let mut last = None;
        let mut reader = Reader::open(fleet.connection(), &[fleet.topics().control()], From::Beginning).unwrap();
        reader
            .read_all(SOON, |record| {
                if record.key.as_deref() == Some(id.as_str().as_bytes()) {
                    last = Some(record.value);
                }
                Ok(())
            })
            .unwrap();
        last
    };
    wait::calmly("the word to cancel it is taken back", || last_word() == Some(None));
    assert_eq!(fleet.dead_letters(), []);
}

#[test]
fn a_job_that_is_cancelled_before_it_was_submitted_never_begins() {
    let fleet = Fleet::shared();
    let early = id("early");
    fleet.cancel(&early);
    fleet.submit("early", Footage::short());
    let _worker = fleet.worker().started();
    assert_cancelled(&fleet, &early);
    assert!(fleet.folder(&early).plan().unwrap().is_none(), "it was planned");

    // Also when the cancellation has been worked on.
    let earlier = id("earlier");
    fleet.cancel(&earlier);
    assert_cancelled(&fleet, &earlier);
    fleet.submit("earlier", Footage::short());
    assert_cancelled(&fleet, &earlier);
    assert!(fleet.folder(&earlier).plan().unwrap().is_none(), "it was planned");
}

#[test]
fn a_job_that_waits_is_cancelled_while_no_worker_runs() {
    let fleet = Fleet::shared();
    let [cancelled, other] = ["cancelled", "other"].map(|name| fleet.submit(name, Footage::short()));
    fleet.cancel(&cancelled);
    let _worker = fleet.worker().started();
    assert_cancelled(&fleet, &cancelled);
    assert_eq!(fleet.published(&cancelled), 0, "it was worked on");
    Oracle::of(&fleet).cancelled([&cancelled]).succeeded([&other], Footage::short()).check();
}

#[test]
fn a_job_is_cancelled_while_it_is_planned() {
    let Ordered { fleet, orders, worker } = Ordered::new("link packets.parquet hold 1", &[]);
    let id = fleet.submit("planning", Footage::short());
    orders.wait_until_done(1);
    fleet.cancel(&id);
    wait::within(SOON, "it is cancelled", || fleet.outcome(&id).is_some());
    orders.withdraw();
    assert_cancelled(&fleet, &id);
    wait::calmly("planning is over", || fleet.marks(&id).is_empty());
    assert_eq!(fleet.published(&id), 0, "it was worked on");
    assert!(worker.is_ready());
}

#[test]
fn a_job_is_cancelled_while_it_is_detected_and_its_work_stops_soon() {
    // One segment, which would take much longer than a cancellation may.
    let Ordered { fleet, orders, worker } = Ordered::new("decode @ sleep-100000", &["--segment-seconds", "1000"]);
    let id = fleet.submit("detecting", Footage::long());
    wait::calmly("it is detected", || worker.ask("/metrics").1.contains("framefleet_work_in_flight 1"));
    wait::calmly("it has its mark", || fleet.marks(&id).iter().any(|mark| mark.starts_with("00000")));
    let asked = Instant::now();
    fleet.cancel(&id);
    wait::within(SOON, "its outcome is there", || fleet.outcome(&id).is_some());
    wait::within(SOON, "work on it stops", || fleet.marks(&id).is_empty());
    assert!(asked.elapsed() < SOON);
    orders.withdraw();
    assert_cancelled(&fleet, &id);
    assert_eq!(fleet.published(&id), 0);
}

#[test]
fn a_job_is_cancelled_while_it_is_tracked() {
    let Ordered { fleet, orders, worker } = Ordered::new("link tracks.parquet hold 1", &[]);
    let id = fleet.submit("tracking", Footage::short());
    orders.wait_until_done(1);
    fleet.cancel(&id);
    wait::within(SOON, "it is cancelled", || fleet.outcome(&id).is_some());
    orders.withdraw();
    wait::calmly("tracking is over", || fleet.marks(&id).is_empty());
    assert_cancelled(&fleet, &id);
    assert!(worker.is_ready());
}

#[test]
fn a_job_that_has_ended_stays_as_it_ended() {
    let fleet = Fleet::shared();
    let _worker = fleet.worker().started();
    let id = fleet.submit("ended", Footage::short());
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
    fleet.cancel(&id);
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
    assert_eq!(fleet.dead_letters(), []);
}
