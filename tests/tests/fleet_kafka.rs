//! A broker that dies, stands still, is slow or forgets: nothing happens twice, and nothing is lost.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_queue::Record;
use framefleet_tests::job::contents_of;
use framefleet_tests::kafka::Setup;
use framefleet_tests::oracle::commits::assert_nothing_is_lost;
use framefleet_tests::proxy::Way;
use framefleet_tests::{Broker, Fleet, Footage, Oracle, Orders, Proxy, Worker, wait};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// About a quarter of a second for a segment.
const PACE: &str = "decode @ sleep-10000";
/// Of a worker that does nothing unusual: what a broker that is away may add.
const MORE_MEMORY_MIB: u64 = 100;

/// Fault 7.
#[test]
fn a_broker_that_is_killed_and_one_that_stands_still_are_waited_for() {
    /// Longer than sessions and questions to the broker last.
    const STANDSTILL: Duration = Duration::from_secs(15);
    const KILLS: usize = 3;
    let mut broker = Broker::start();
    let fleet = Fleet::on(&broker);
    let pace = Orders::new(fleet.scratch(), "pace");
    pace.give(&[PACE]);
    let workers: Vec<Worker> = (0..2).map(|_| fleet.worker().envs(pace.environment()).started()).collect();
    let submit_and_see_begun = |name: &str| {
        let id = fleet.submit(name, Footage::long());
        wait::calmly("work goes on", || fleet.published(&id) > 2);
        id
    };
    let mut ids = vec![submit_and_see_begun("first")];
    let memory: Vec<u64> = workers.iter().map(Worker::peak_memory_mib).collect();
    for round in 0..KILLS {
        let (published, held) = (|| fleet.published(ids.last().unwrap()), pace.done().len());
        pace.give(&["decode @ hold"]);
        pace.wait_until_done(held + 1);
        broker.kill();
        let before = published();
        pace.give(&[PACE]);
        wait::calmly("work in hand is finished without it", || published() > before);
        broker.restart();
        // It answers before it is well, and may say at first that there are no brokers.
        ids.push(submit_and_see_begun(&format!("after-kill-{round}")));
    }
    broker.stop();
    let stopped = Instant::now();
    wait::calmly("it stood still for long enough", || stopped.elapsed() > STANDSTILL);
    broker.resume();
    pace.withdraw();
    Oracle::of(&fleet).succeeded(&ids, Footage::long()).check();
    for (worker, before) in workers.iter().zip(memory) {
        let after = worker.peak_memory_mib();
        assert!(after < before + MORE_MEMORY_MIB, "{before} MiB before, and {after} MiB in the end");
        wait::calmly("it takes work again", || worker.is_ready());
    }
}

/// A broker behind a proxy by which workers come, and the fleet by the direct way.
struct Behind {
    proxy: Proxy,
    fleet: Fleet,
    pace: Orders,
    _broker: Broker,
}

impl Behind {
    fn new() -> Self {
        let proxy = Proxy::new();
        let broker = Broker::start_with(Setup { proxy: Some(&proxy), ..Setup::default() });
        let fleet = Fleet::on(&broker);
        let pace = Orders::new(fleet.scratch(), "pace");
        pace.give(&[PACE]);
        Self { proxy, fleet, pace, _broker: broker }
    }

    /// With a session that outlasts the latency.
    fn worker(&self) -> Worker {
        let brokers = self.proxy.address().to_string();
        let session = ["--brokers", &brokers, "--kafka", "session.timeout.ms=10000"];
        self.fleet.worker().with(&session).envs(self.pace.environment()).started()
    }
}

/// Fault 8.
#[test]
fn latency_resets_and_lost_bytes_between_worker_and_broker_lead_to_nothing_twice() {
    const LATENCY: Duration = Duration::from_secs(2);
    const RESETS: usize = 5;
    let behind = Behind::new();
    let Behind { proxy, fleet, pace, .. } = &behind;
    let workers = [behind.worker(), behind.worker()];
    let mut ids = Vec::new();
    let mut disturb = |name: &str, disturbance: &dyn Fn(&dyn Fn() -> usize)| {
        ids.push(fleet.submit(name, Footage::long()));
        let published = || fleet.published(ids.last().unwrap());
        wait::calmly("something is done", || published() > 2);
        disturbance(&published);
        assert_nothing_is_lost(fleet, &ids);
    };
    disturb("latency", &|published| {
        for way in [Way::ToBroker, Way::ToClient] {
            proxy.delay(way, LATENCY);
        }
        let before = published();
        wait::calmly("work goes on", || published() > before);
        proxy.calm();
    });
    disturb("resets", &|published| {
        for _ in 0..RESETS {
            let before = published();
            wait::calmly("a worker is connected", || proxy.reset() > 0);
            wait::calmly("work goes on", || published() > before || published() == Footage::long().segments);
        }
    });
    for way in [Way::ToBroker, Way::ToClient] {
        disturb(&format!("{way:?}"), &|published| {
            proxy.lose(way);
            let (before, begun) = (published(), Instant::now());
            wait::calmly("the loss was felt, or lasted long enough", || {
                published() > before || begun.elapsed() > LATENCY
            });
            proxy.calm();
            // A connection that lost bytes stays useless.
            proxy.reset();
        });
    }
    pace.withdraw();
    Oracle::of(fleet).succeeded(&ids, Footage::long()).check();
    assert!(workers.iter().all(Worker::is_ready));
}

/// Fault 9: the broker has a message, and its worker never hears of that.
#[test]
fn a_message_that_was_sent_and_never_acknowledged_has_no_effect_the_second_time() {
    let behind = Behind::new();
    let Behind { proxy, fleet, pace, .. } = &behind;
    pace.give(&["link segments/00002.parquet hold 1"]);
    let mut unheard = behind.worker();
    let id = fleet.submit("unheard", Footage::short());
    pace.wait_until_done(1);
    wait::calmly("all others are done", || fleet.published(&id) == Footage::short().segments - 1);
    let sent = finish_messages(fleet).len();
    proxy.lose(Way::ToClient);
    pace.withdraw();
    wait::calmly("the broker has it", || finish_messages(fleet).len() > sent);
    unheard.kill();
    proxy.calm();
    let worker = fleet.worker().started();
    Oracle::of(fleet).succeeded([&id], Footage::short()).check();

    // And everything once more.
    let all = fleet.records(&[fleet.topics().jobs(), fleet.topics().segments("normal"), fleet.topics().finish()]);
    let before = contents_of(fleet.results());
    for record in &all {
        send(fleet, record);
    }
    Oracle::of(fleet).succeeded([&id], Footage::short()).check();
    assert!(contents_of(fleet.results()) == before, "a message that came again changed a file");
    assert_eq!(fleet.dead_letters(), []);
    assert!(worker.is_ready());
}

fn finish_messages(fleet: &Fleet) -> Vec<Record> {
    fleet.records(&[fleet.topics().finish()])
}

fn send(fleet: &Fleet, record: &Record) {
    let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
    fleet.send(&record.topic, Some(&key), record.value.as_deref().unwrap());
}

/// Fault 10, when everything is done and in the middle.
#[test]
fn committed_offsets_that_are_deleted_lead_to_a_replay_that_changes_nothing() {
    let fleet = Fleet::shared();
    let pace = Orders::new(fleet.scratch(), "pace");
    let start = || fleet.worker().envs(pace.environment()).started();
    let done = fleet.submit("done", Footage::short());
    let mut worker = start();
    Oracle::of(&fleet).succeeded([&done], Footage::short()).check();
    let files = |id: &JobId| -> BTreeMap<PathBuf, Vec<u8>> { contents_of(&fleet.folder(id).path()) };
    let before = files(&done);

    pace.give(&[PACE]);
    let half = fleet.submit("half", Footage::short());
    wait::calmly("half of it is done", || fleet.published(&half) > 2);
    worker.kill();
    let published = files(&half);
    fleet.delete_groups();
    pace.withdraw();
    let _worker = start();
    Oracle::of(&fleet).succeeded([&done, &half], Footage::short()).check();
    assert!(files(&done) == before, "the replay changed a job that had ended");
    let after = files(&half);
    let lasts = |path: &PathBuf| path.starts_with("segments") && !path.to_string_lossy().contains(".tmp-");
    assert!(published.iter().filter(|(path, _)| lasts(path)).all(|(path, bytes)| after.get(path) == Some(bytes)));
    assert_eq!(fleet.dead_letters(), []);
}

/// Fault 18. The lag is what there is; a queue of more weight does not keep the others waiting for ever.
#[test]
fn a_flood_of_submissions_is_worked_off_and_low_priority_still_moves() {
    const FLOOD: usize = 100;
    const LOW: usize = 10;
    let fleet = Fleet::shared();
    let planner = fleet.worker().with(&["--roles", "plan"]).started();
    let ids = |queue: &str, number: usize| -> Vec<JobId> {
        (0..number).map(|n| JobId::new(format!("{queue}-{n}")).unwrap()).collect()
    };
    let (high, low) = (ids("high", FLOOD), ids("low", LOW));
    fleet.submit_all("high", &high, Footage::tiny());
    fleet.submit_all("low", &low, Footage::tiny());
    let is_planned = |id: &JobId| fleet.folder(id).plan().unwrap().is_some();
    wait::within(Duration::from_mins(2), "all are planned", || low.iter().chain(&high).all(is_planned));
    assert!(planner.is_ready());

    let worker = fleet.worker().with(&["--roles", "detect,finish"]).started();
    let ended = |ids: &[JobId]| ids.iter().filter(|id| fleet.outcome(id).is_some()).count();
    wait::calmly("low priority moves", || ended(&low) > 0);
    let before = ended(&high);
    assert!(before < FLOOD / 2, "{before} of {FLOOD} were done before it was low priority's turn");
    Oracle::of(&fleet).succeeded(high.iter().chain(&low), Footage::tiny()).check();
    assert_eq!(fleet.dead_letters(), []);
    println!("{before} of {FLOOD} before the first of low priority; {} MiB", worker.peak_memory_mib());
}
