use super::super::policy::{Choice, Fixed, Planned, ScaledJob, ScaledObject};
use super::super::runs::run;
use super::*;

/// An hour with bursts, on Jobs of a spot pool and a Deployment beside it; for a quarter of it the broker is away.
const SCENARIO: &str = r#"
description = "for tests"
duration = "1h"
segment = "60s"
frame_rate = 25.0

[planner]
period = "10s"
drain_within = "10m"
stabilization = "2m"
idle_exit = "1m"
leaves = "when-idle"

[[queues]]
name = "high"
partitions = 32

[[queues]]
name = "low"
partitions = 32

[[models]]
name = "m"
seconds_per_frame = 0.02

[[pools]]
name = "spot"
run_as = "jobs"
queues = { high = 4, low = 1 }
max_workers = 20
slots = 2
price_per_hour = 0.25
speed = 1.0
cold_start = "1m"
nodes = { gpus = 2, boot = "2m", boot_sigma = 0.3, image = "20s", model = "10s", keep = "3m", lost_after = "20m" }

[[pools]]
name = "steady"
run_as = "deployment"
queues = { high = 1 }
max_workers = 20
slots = 2
price_per_hour = 0.5
speed = 2.0
cold_start = "1m"
nodes = { gpus = 1, boot = "2m", boot_sigma = 0.3, image = "20s", model = "10s", keep = "3m" }

[[jobs]]
name = "clips"
queue = "high"
model = "m"
per_hour = 300.0
length = { least = "5s", most = "20m", tail = 0.8 }
deadline = { part = 0.5, after = "10m" }

[[jobs]]
name = "films"
queue = "low"
model = "m"
per_hour = 2.0
length = { least = "10m", most = "1h", tail = 0.8 }

[[bursts]]
at = "10m"
kind = "clips"
count = 60
over = "1m"

[[outages]]
at = "13m"
lasts = "15m"

[[outages]]
at = "40m"
lasts = "5m"
pool = "spot"
"#;

fn choices() -> Vec<Choice> {
    let jobs = ScaledJob::documented(vec![0], 20);
    let object = ScaledObject { stabilization_seconds: 0.0, ..ScaledObject::documented(vec![0, 1], 20) };
    vec![
        Choice::Plan(Planned::default()),
        Choice::ScaledJob(jobs),
        Choice::ScaledObject(object),
        Choice::Fixed(Fixed { workers: vec![3, 2] }),
    ]
}

fn ran(seed: u64, choice: &Choice) -> Ledger {
    let scenario = Scenario::parse(SCENARIO).unwrap();
    run(&scenario, &(seed, Trace::new(&scenario, seed)), choice)
}

#[test]
fn one_seed_is_one_run() {
    for choice in choices() {
        let (first, again, other) = (ran(1, &choice), ran(1, &choice), ran(2, &choice));
        let said = |ledger: &Ledger| format!("{:?} {:?} {:?}", ledger.gpu_hours, ledger.finished, ledger.samples);
        assert_eq!(said(&first), said(&again));
        assert_ne!(said(&first), said(&other));
    }
}

#[test]
fn every_segment_is_done_exactly_once_and_again_only_where_it_was_lost() {
    let (mut lost, mut killed) = (0.0, 0.0);
    for choice in choices() {
        for seed in 1..4 {
            let ledger = ran(seed, &choice);
            assert!(ledger.done.iter().all(|times| *times == 1), "{choice:?}");
            assert!(ledger.finished.iter().all(Option::is_some));
            let all = ledger.done_work + ledger.lost + ledger.killed;
            assert!((ledger.busy - all).abs() < 1e-3 * all, "{} busy, {all} done or lost: {choice:?}", ledger.busy);
            assert!(ledger.gpu_hours * 3600.0 >= ledger.busy, "{} GPU-h, {} busy", ledger.gpu_hours, ledger.busy);
            let is_redone = ledger.redone.iter().any(|times| *times > 0);
            assert_eq!(is_redone, ledger.lost + ledger.killed > 0.0, "{choice:?}");
            lost += ledger.lost;
            killed += ledger.killed;
        }
    }
    assert!(lost > 0.0 && killed > 0.0, "otherwise nothing of this is tested");
}

#[test]
fn only_a_scaled_object_kills_work_when_it_scales_in() {
    for choice in choices() {
        let killed: f64 = (1..4).map(|seed| ran(seed, &choice).killed).sum();
        assert_eq!(killed > 0.0, matches!(choice, Choice::ScaledObject(_)), "{choice:?}: {killed}");
    }
}

/// Looks at what a policy does while the broker is away.
struct Watched(Box<dyn Policy>);

impl Policy for Watched {
    fn period(&self) -> f64 {
        self.0.period()
    }

    fn decide(&mut self, world: &World<'_>) -> Vec<Order> {
        let orders = self.0.decide(world);
        let is_away = world.backlog(0).is_none();
        assert!(!is_away || orders.is_empty(), "{orders:?} at {}", world.now);
        orders
    }

    fn wanted(&self) -> u32 {
        self.0.wanted()
    }
}

#[test]
fn a_broker_that_is_away_makes_no_fleet_smaller() {
    let mut scenario = Scenario::parse(SCENARIO).unwrap();
    scenario.pools[0].nodes.lost_after = None;
    // So much that workers are still coming when it goes.
    scenario.bursts[0].count = 400;
    let trace = Trace::new(&scenario, 1);
    let choice = Choice::Plan(Planned::default());
    let world = World::new(&scenario, &trace, 1, choice.rules(&scenario));
    let ledger = world.run(&mut Watched(choice.policy(&scenario)));
    let (begin, end) = (13.0 * 60.0, 28.0 * 60.0);
    let meanwhile: Vec<u32> =
        ledger.samples.iter().filter(|at| (begin..end).contains(&at.time)).map(|at| at.ready).collect();
    assert!(meanwhile.is_sorted() && meanwhile.last() > meanwhile.first(), "{meanwhile:?}");
}

#[test]
fn a_pool_whose_cloud_has_no_nodes_gets_none_until_it_has() {
    let mut scenario = Scenario::parse(SCENARIO).unwrap();
    scenario.outages[1].at.0 = 0.0;
    scenario.outages[1].lasts.0 = 2000.0;
    let trace = Trace::new(&scenario, 1);
    let ledger = run(&scenario, &(1, trace), &Choice::Fixed(Fixed { workers: vec![4, 0] }));
    assert!(ledger.samples.iter().all(|at| (at.gpus > 0) == (at.time >= 2000.0)), "{:?}", ledger.samples);
    assert!(ledger.finished.iter().all(Option::is_some));
}
