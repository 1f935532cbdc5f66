//! The planner on a large fleet: 1,000 workers in 20 pools, and 1,000,000 segments that wait, of jobs of a hundred each.

use criterion::{Criterion, criterion_group, criterion_main};
use framefleet_scheduler::demand::{Arriving, Demand, Lane, LaneDemand, Model, Work};
use framefleet_scheduler::plan::{Observed, Pool, plan};
use std::collections::BTreeMap;
use std::hint::black_box;

const NOW: f64 = 1_800_000_000.0;
const QUEUES: [(&str, u32); 3] = [("high", 16), ("normal", 4), ("low", 1)];
const JOBS: usize = 10_000;
const SEGMENTS_PER_JOB: u32 = 100;

fn model(n: usize) -> Model {
    Model::new(&format!("{n:064x}"))
}

fn pools() -> Vec<Pool> {
    let queues = QUEUES.map(|(queue, weight)| (Lane::Detect(queue.to_owned()), weight));
    let pool = |n: usize| Pool {
        name: format!("video/pool-{n}"),
        // Some serve all queues, and some all but one.
        serves: queues
            .iter()
            .enumerate()
            .filter(|(queue, _)| n % 4 != queue + 1)
            .map(|(_, lane)| lane.clone())
            .collect(),
        min_workers: 0,
        max_workers: 100,
        slots: 2,
        price_per_hour: 0.3 + n as f64 / 10.0,
        budget_per_hour: n.is_multiple_of(5).then_some(60.0),
        is_spot: n.is_multiple_of(2),
        leaves_by_itself: !n.is_multiple_of(3),
        drain_within: 600.0 * (1 + n % 3) as f64,
        stabilization: 300.0,
        cold_start: 60.0 + 20.0 * n as f64,
        paused: false,
        memory: Some(24 << 30),
        cost: (0..8).map(|m| (model(m), 0.002 * (1.0 + m as f64) * (1.0 + n as f64 / 20.0))).collect(),
    };
    (0..20).map(pool).collect()
}

/// `deadlines`: whether each job has one of its own, so that none can be planned together with another.
fn demand(deadlines: bool) -> Demand {
    let mut lanes = BTreeMap::new();
    for (queue, _) in QUEUES {
        let arriving = (0..8).map(|m| Arriving { model: model(m), units_per_second: 900.0 }).collect();
        lanes.insert(
            Lane::Detect(queue.to_owned()),
            LaneDemand { unknown: None, waiting: Vec::new(), arriving, partitions: 960 },
        );
    }
    for job in 0..JOBS {
        let lane = lanes.get_mut(&Lane::Detect(QUEUES[job % 3].0.to_owned())).expect("it was made above");
        lane.waiting.push(Work {
            model: model(job % 8),
            units: f64::from(SEGMENTS_PER_JOB) * 1500.0,
            items: SEGMENTS_PER_JOB,
            since: NOW - (JOBS - job) as f64,
            deadline: deadlines.then_some(NOW + 600.0 + 3.0 * job as f64),
            memory: Some(2 << 30),
        });
    }
    Demand { lanes }
}

fn plan_a_large_fleet(criterion: &mut Criterion) {
    let pools = pools();
    let observed: Vec<Observed> =
        (0..20).map(|n| Observed { ready: 45, coming: 5, stuck: n % 2, ..Observed::default() }).collect();
    let mut group = criterion.benchmark_group("plan");
    for (name, deadlines) in [("1,000,000 segments", false), ("1,000,000 segments of 10,000 deadlines", true)] {
        let demand = demand(deadlines);
        let plans = plan(&pools, &demand, &observed, NOW);
        assert!(plans.iter().map(|plan| plan.wanted).sum::<u32>() >= 1000, "{plans:?}");
        group.bench_function(name, |bencher| {
            bencher.iter(|| plan(black_box(&pools), black_box(&demand), black_box(&observed), NOW));
        });
    }
    group.finish();
}

criterion_group!(benches, plan_a_large_fleet);
criterion_main!(benches);
