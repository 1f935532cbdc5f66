//! Workers that are told to leave, and workers that leave by themselves: nothing is lost, and nobody waits for them. Fault 19.

use framefleet_tests::fleet::SESSION;
use framefleet_tests::{Fleet, Footage, Oracle, Orders, wait};
use std::time::{Duration, Instant};

#[test]
fn a_segment_that_fits_into_the_grace_is_finished_and_committed() {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "pace");
    // A second for a segment, of ten that are allowed.
    orders.give(&["decode @ sleep-40000"]);
    let mut worker =
        fleet.worker().with(&["--slots", "1", "--grace-seconds", "10"]).envs(orders.environment()).started();
    let id = fleet.submit("fits", Footage::short());
    let is_begun = |index| fleet.folder(&id).path().join(format!("attempts/{index:05}")).exists();
    let in_hand = || {
        (0..Footage::short().segments as u32)
            .any(|index| is_begun(index) && !fleet.folder(&id).has_segment(index).unwrap())
    };
    wait::calmly("a segment is in hand", || fleet.published(&id) == 1 && in_hand());
    worker.terminate();
    assert_eq!(worker.wait_for_end(), Some(0));
    assert_eq!(fleet.published(&id), 2, "the segment in hand, and no more");
    assert!(!worker.says("others will do them") && !worker.says("left to another"), "{}", worker.log());
    assert_eq!(fleet.marks(&id), [] as [std::path::PathBuf; 0]);

    let _next = fleet.worker().started();
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
}

#[test]
fn a_segment_that_does_not_fit_into_the_grace_is_handed_back_at_once() {
    const GRACE: Duration = Duration::from_secs(20);
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "pace");
    // The whole video in one segment: 500 frames, a tenth of a second each.
    orders.give(&["decode @ sleep-100000"]);
    let long = ["--segment-seconds", "1000", "--grace-seconds", "20"];
    let mut worker = fleet.worker().with(&long).envs(orders.environment()).started();
    let id = fleet.submit("long", Footage::long());
    wait::calmly("a segment is in hand", || fleet.marks(&id).iter().any(|mark| mark.starts_with("00000")));
    let told = Instant::now();
    worker.terminate();
    assert_eq!(worker.wait_for_end(), Some(0));
    assert!(told.elapsed() < GRACE, "it waited for what could not be: {:?}", told.elapsed());
    assert!(worker.says("others will do them"), "{}", worker.log());
    assert_eq!(fleet.published(&id), 0);
    assert_eq!(fleet.marks(&id), [] as [std::path::PathBuf; 0], "its attempt would count as a loss");

    orders.withdraw();
    let next = fleet.worker().started();
    Oracle::of(&fleet).succeeded([&id], Footage::long()).check();
    assert!(!next.says("was lost"), "{}", next.log());
}

#[test]
fn the_partitions_of_a_worker_that_leaves_are_given_to_the_others_at_once() {
    let fleet = Fleet::shared();
    // A session that would be missed.
    let patient = ["--kafka", "session.timeout.ms=60000"];
    let stays = fleet.worker().with(&patient).started();
    let mut leaves = fleet.worker().with(&patient).started();
    let before = fleet.submit("before", Footage::short());
    Oracle::of(&fleet).succeeded([&before], Footage::short()).check();
    leaves.terminate();
    assert_eq!(leaves.wait_for_end(), Some(0));
    let left = Instant::now();
    // Segments of it wait in every partition.
    let after = fleet.submit("after", Footage::short());
    wait::within(Duration::from_secs(20), "the other one does it all", || fleet.outcome(&after).is_some());
    println!("after {:?}", left.elapsed());
    Oracle::of(&fleet).succeeded([&before, &after], Footage::short()).check();
    assert!(stays.is_ready());
}

#[test]
fn a_second_signal_ends_a_worker_at_once_and_its_work_is_done_by_another() {
    const SIGTERM: i32 = 15;
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "held");
    orders.give(&["decode @60 hold 1"]);
    let mut worker =
        fleet.worker().with(&["--slots", "1", "--grace-seconds", "50"]).envs(orders.environment()).started();
    let id = fleet.submit("held", Footage::short());
    orders.wait_until_done(1);
    worker.terminate();
    wait::calmly("it drains", || worker.ask("/readyz").1.contains("draining"));
    let told = Instant::now();
    worker.terminate();
    assert_eq!(worker.wait_for_end(), Some(128 + SIGTERM));
    assert!(told.elapsed() < SESSION);
    assert_eq!(fleet.marks(&id).len(), 1, "nobody was there to take the mark away");
    let _next = fleet.worker().started();
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
}

#[test]
fn a_worker_leaves_when_it_is_idle_and_not_when_it_cannot_work() {
    let fleet = Fleet::shared();
    let leave = ["--leave-when-idle", "1"];
    // No volume is as free as it is to be, so that it takes no work: another one in its place would not either.
    let mut cannot = fleet.worker().with(&leave).with(&["--min-free", "99.9"]).start();
    let mut idle = fleet.worker().with(&leave).start();
    assert_eq!(idle.wait_for_end(), Some(0));
    wait::calmly("it takes no work", || cannot.says("no work is taken"));
    let since = Instant::now();
    wait::calmly("it had time to leave", || since.elapsed() > Duration::from_secs(4));
    assert!(!cannot.has_ended(), "{}", cannot.log());
}

#[test]
fn workers_leave_when_there_is_nothing_left_in_the_whole_group() {
    let fleet = Fleet::shared();
    let orders = Orders::new(fleet.scratch(), "held");
    orders.give(&["decode @ hold 1"]);
    // Time enough to submit something, once both have their partitions: later ones would take the held segment too.
    let leave = ["--leave-when-empty", "5"];
    let mut busy = fleet.worker().with(&leave).envs(orders.environment()).start();
    let mut idle = fleet.worker().with(&leave).start();
    busy.wait_until_ready();
    idle.wait_until_ready();
    let id = fleet.submit("last", Footage::short());
    orders.wait_until_done(1);
    // It has nothing to do, for much longer than it would wait: what the other one has in hand may come back.
    let others = Footage::short().segments - 1;
    wait::calmly("everything else is done", || fleet.published(&id) == others);
    let since = Instant::now();
    wait::calmly("it had time to leave", || since.elapsed() > 3 * SESSION);
    assert!(!idle.has_ended() && !busy.has_ended());

    orders.withdraw();
    assert_eq!((busy.wait_for_end(), idle.wait_for_end()), (Some(0), Some(0)));
    let _next = fleet.worker().started();
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
}
