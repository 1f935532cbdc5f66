//! Workers that are killed, stopped and started: nothing is done twice, nothing is lost, and every result has the bytes
//! that one undisturbed process gives.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_tests::fleet::Worker;
use framefleet_tests::soak::Soak;
use framefleet_tests::{Broker, Fleet, Footage, Oracle, Orders, wait};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::thread;
use std::time::{Duration, SystemTime};

/// Fault 1, in its short form: `./dev soak` is the long one.
#[test]
fn workers_that_are_killed_all_the_time_lose_nothing_and_do_nothing_twice() {
    let soak = Soak { rounds: 8, workers: 2, pause_ms: 500..=2500, is_loud: false };
    let report = soak.run(Broker::shared());
    println!("{} kills, {} jobs: {}", report.kills, report.jobs, report.findings);
    assert!(report.findings.are_none() && report.kills == 8, "{report:?}");
}

/// A step of publishing, and which of its calls the worker is killed before or after.
const STEPS_OF_PUBLISHING: &[&str] = &[
    "link request.json kill",
    "link request.json kill-after",
    "link packets.parquet kill",
    "link packets.parquet kill-after",
    "link plan.json kill",
    "link plan.json kill-after",
    "open attempts/plan/0 kill-after",
    "open segments/.tmp kill",
    "write segments/.tmp kill",
    "fsync segments/.tmp kill",
    "fsync segments/.tmp kill-after",
    "link segments/00002.parquet kill",
    "link segments/00002.parquet kill-after",
    "fsync segments$ kill-after",
    "unlink segments/.tmp kill",
    "unlink attempts/00003/0 kill",
    "unlink attempts/00003/0 kill-after",
    "link tracks.parquet kill",
    "link tracks.parquet kill-after",
    "link summary.json kill",
    "link summary.json kill-after",
    "link outcome.json kill",
    "link outcome.json kill-after",
    "unlink attempts/finish/0 kill-after",
];

/// Fault 2. Each lane is a fleet of its own, since a lost worker's session is waited for.
#[test]
fn a_worker_that_is_killed_at_any_step_of_publishing_costs_one_segment_at_most() {
    const LANES: usize = 4;
    thread::scope(|scope| {
        for lane in 0..LANES {
            scope.spawn(move || {
                let fleet = Fleet::shared();
                let steps = STEPS_OF_PUBLISHING.iter().skip(lane).step_by(LANES);
                for (n, step) in steps.enumerate() {
                    kill_at(&fleet, &format!("job-{n}"), step);
                }
            });
        }
    });
}

fn kill_at(fleet: &Fleet, id: &str, step: &str) {
    let orders = Orders::new(fleet.scratch(), id);
    orders.give(&[step]);
    let mut worker = fleet.worker().with(&["--slots", "1"]).envs(orders.environment()).started();
    let id = fleet.submit(id, Footage::short());
    assert_eq!(worker.wait_for_end(), None, "{step}: not killed: {}", worker.log());
    assert_eq!(orders.done().len(), 1, "{step}");
    let before = segment_files(fleet, &id);
    let _worker = fleet.worker().start();
    Oracle::of(fleet).succeeded([&id], Footage::short()).check();
    let after = segment_files(fleet, &id);
    assert!(before.iter().all(|(index, file)| after.get(index) == Some(file)), "{step}: a published file was replaced");
}

/// Inode and time of each published segment.
fn segment_files(fleet: &Fleet, id: &JobId) -> BTreeMap<u32, (u64, SystemTime)> {
    let folder = fleet.folder(id);
    let file = |index: u32| {
        let file = folder.path_of(&format!("segments/{index:05}.parquet")).metadata().unwrap();
        (index, (file.ino(), file.modified().unwrap()))
    };
    folder.published_segments().unwrap().into_iter().map(file).collect()
}

/// Fault 3.
#[test]
fn a_worker_that_wakes_up_after_its_session_cannot_overwrite_a_result() {
    wakes_up_late("decode 160x96@60 hold 1");
}

/// Fault 4.
#[test]
fn a_worker_that_stood_still_between_fsync_and_link_takes_what_is_there_for_done() {
    wakes_up_late("link segments/00002.parquet hold 1");
}

fn wakes_up_late(order: &str) {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "zombie");
    orders.give(&[order]);
    let zombie = fleet.worker().envs(orders.environment()).started();
    let id = fleet.submit("late", Footage::short());
    orders.wait_until_done(1);
    zombie.stop();
    let mut other = fleet.worker().started();
    fleet.wait_for_outcomes([&id]);
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
    let files = segment_files(&fleet, &id);

    orders.withdraw();
    zombie.resume();
    // It goes on where it stood, and takes the partitions when the other one goes.
    wait::calmly("its own attempt is over", || fleet.marks(&id).is_empty());
    other.terminate();
    assert_eq!(other.wait_for_end(), Some(0));
    let next = fleet.submit("next", Footage::short());
    Oracle::of(&fleet).succeeded([&id, &next], Footage::short()).check();
    assert_eq!(segment_files(&fleet, &id), files, "a segment was replaced");
}

/// Fault 5.
#[test]
fn a_worker_whose_poll_thread_stood_still_leaves_and_comes_back() {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "poll");
    let patience = ["--kafka", "max.poll.interval.ms=4000"];
    let first = fleet.worker().with(&patience).envs(orders.environment()).started();
    let before = fleet.submit("before", Footage::short());
    fleet.wait_for_outcomes([&before]);
    orders.give(&["clock poll_normal hold"]);
    orders.wait_until_done(1);
    let id = fleet.submit("meanwhile", Footage::short());
    let mut second = fleet.worker().started();
    Oracle::of(&fleet).succeeded([&before, &id], Footage::short()).check();

    // The partitions that it had were given to the other one. Now it is the only one, if it came back.
    orders.withdraw();
    second.terminate();
    assert_eq!(second.wait_for_end(), Some(0));
    let after = fleet.submit("after", Footage::short());
    Oracle::of(&fleet).succeeded([&before, &id, &after], Footage::short()).check();
    assert!(first.is_ready());
}

/// Fault 6. One worker stays all the time, and what it has is not taken from it.
#[test]
fn workers_that_come_and_go_do_not_stop_the_one_that_stays() {
    const ROUNDS: usize = 2;
    const OTHERS: usize = 7;
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "pace");
    orders.give(&["decode @ sleep-10000"]);
    let stays = fleet.worker().envs(orders.environment()).started();
    let mut ids = Vec::new();
    for round in 0..ROUNDS {
        ids.push(fleet.submit(&format!("round-{round}"), Footage::long()));
        let published = |ids: &[JobId]| ids.iter().map(|id| fleet.published(id)).sum::<usize>();
        let before = published(&ids);
        let by_itself = stays.published();
        let mut others: Vec<Worker> = (0..OTHERS).map(|_| fleet.worker().envs(orders.environment()).start()).collect();
        wait::calmly("the one that stays goes on while the others come", || stays.published() > by_itself);
        others.iter_mut().for_each(Worker::wait_until_ready);
        wait::calmly("work goes on with eight workers", || published(&ids) > before);
        others.iter().for_each(Worker::terminate);
        for other in &mut others {
            assert_eq!(other.wait_for_end(), Some(0), "{}", other.log());
        }
    }
    orders.withdraw();
    Oracle::of(&fleet).succeeded(&ids, Footage::long()).check();
    assert!(!stays.says("was lost"), "work that was in hand looked lost: {}", stays.log());
    assert!(ids.iter().all(|id| fleet.marks(id).is_empty()), "an attempt left its mark");
}

/// However many workers share a job, and whether or not they are killed.
#[test]
fn one_two_and_five_workers_give_the_bytes_of_one_process() {
    for (workers, kills) in [(1, 0), (2, 1), (5, 2)] {
        let fleet = Fleet::shared();
        let orders = Orders::new(fleet.scratch(), "pace");
        orders.give(&["decode @ sleep-10000"]);
        let start = || fleet.worker().envs(orders.environment());
        let mut crew: Vec<Worker> = (0..workers).map(|_| start().start()).collect();
        crew.iter_mut().for_each(Worker::wait_until_ready);
        let id = fleet.submit("shared", Footage::long());
        for (kill, worker) in crew.iter_mut().take(kills).enumerate() {
            wait::calmly("some of it is done", || fleet.published(&id) > 4 * kill);
            worker.kill();
            *worker = start().start();
        }
        orders.withdraw();
        Oracle::of(&fleet).succeeded([&id], Footage::long()).check();
    }
}

/// The clock of day is for people: nothing that is decided rests on it. Fault 21.
#[test]
fn clocks_that_go_wrong_by_an_hour_change_nothing() {
    const HOUR: i64 = 3600;
    let fleet = Fleet::shared();
    let pace = Orders::new(fleet.scratch(), "pace");
    pace.give(&["decode @ sleep-10000"]);
    let start = |offset| fleet.worker().envs(pace.environment()).envs(Orders::clock_environment(offset));
    let mut late = start(HOUR).started();
    let _early = start(-HOUR).started();
    let ids = [fleet.submit("a", Footage::short()), fleet.submit("b", Footage::short())];
    wait::calmly("something is done", || fleet.published(&ids[0]) > 1);
    late.kill();
    let _right = start(0).started();
    pace.withdraw();
    Oracle::of(&fleet).succeeded(&ids, Footage::short()).check();
    let wrong = late.log();
    let hour = Duration::from_secs(HOUR as u64);
    assert!(wrong.contains(&hour_of(SystemTime::now() + hour)), "its clock is right: {wrong}");
}

/// As a log line begins, up to the hour.
fn hour_of(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    format!("T{:02}:", seconds / 3600 % 24)
}
