//! Parameters for those who need some: the best of a grid, and of the neighbours of that, on seeds of their own. Best is what
//! costs least of those that miss no more than the plan does; where none does, what misses least. Costs are prices: where all
//! nodes have one price, the least price is the least GPU-hours.

use super::ledger::Outcome;
use super::policy::{Choice, Fixed, Leaves, ScaledJob, ScaledObject, Strategy};
use super::runs::Runs;
use super::scenario::Scenario;

/// What is tried of each parameter.
struct Grid {
    thresholds: Vec<u32>,
    strategies: Vec<Strategy>,
    /// The largest number of workers is divided by these.
    parts: Vec<u32>,
    steps_of_fixed: u32,
}

impl Grid {
    /// Large scenarios are tuned more coarsely: there are hundreds of runs.
    fn new(runs: &Runs<'_>) -> Self {
        const LARGE: usize = 200_000;
        let custom = |share| Strategy::Custom { queue_length_deduction: 0, running_job_percentage: share };
        if runs.segments() > LARGE {
            return Self {
                thresholds: vec![1, 4, 16, 64, 256],
                strategies: vec![Strategy::Default, Strategy::Eager],
                parts: vec![1, 2],
                steps_of_fixed: 8,
            };
        }
        Self {
            thresholds: (0..9).map(|power| 1 << power).collect(),
            strategies: vec![Strategy::Default, Strategy::Accurate, Strategy::Eager, custom(0.5), custom(0.8)],
            parts: vec![1, 2, 4],
            steps_of_fixed: 32,
        }
    }
}

/// Jobs that a choice misses, in the mean.
pub fn misses(runs: &Runs<'_>, choice: &Choice) -> f64 {
    let outcomes = runs.outcomes(std::slice::from_ref(choice), "the plan");
    Outcome::mean(&outcomes[0]).misses()
}

pub fn scaled_job(scenario: &Scenario, runs: &Runs<'_>, most_misses: f64) -> Choice {
    let grid = Grid::new(runs);
    let mut choices = Vec::new();
    for pools in subsets(scenario) {
        for (lag_threshold, max_replica_count) in pairs(&grid, most_workers(scenario, &pools)) {
            for strategy in &grid.strategies {
                for leaves in [Leaves::WhenQueuesAreEmpty, Leaves::WhenIdle] {
                    for sums_triggers in [false, true].into_iter().take(scenario.queues.len().min(2)) {
                        choices.push(ScaledJob {
                            lag_threshold,
                            max_replica_count,
                            strategy: *strategy,
                            sums_triggers,
                            leaves,
                            ..ScaledJob::documented(pools.clone(), max_replica_count)
                        });
                    }
                }
            }
        }
    }
    let choices = choices.into_iter().map(Choice::ScaledJob).collect();
    let best = best(runs, choices, most_misses, "tuning KEDA ScaledJob");
    let Choice::ScaledJob(best) = best else { return best };
    let near = around(best.lag_threshold, best.max_replica_count);
    let near = near.map(|(lag_threshold, max_replica_count)| {
        Choice::ScaledJob(ScaledJob { lag_threshold, max_replica_count, ..best.clone() })
    });
    self::best(runs, near.collect(), most_misses, "tuning KEDA ScaledJob more finely")
}

pub fn scaled_object(scenario: &Scenario, runs: &Runs<'_>, most_misses: f64) -> Choice {
    let grid = Grid::new(runs);
    let has_outages = scenario.broker_outages().next().is_some();
    let mut choices = Vec::new();
    for pools in subsets(scenario) {
        let most = most_workers(scenario, &pools);
        for (lag_threshold, max_replica_count) in pairs(&grid, most) {
            for min_replica_count in [0, most.div_ceil(8)] {
                for (stabilization_seconds, grace_seconds) in
                    [(300.0, 30.0), (300.0, 600.0), (1800.0, 30.0), (1800.0, 600.0)]
                {
                    for fallback_replicas in
                        [None, Some(most.div_ceil(4))].into_iter().take(1 + usize::from(has_outages))
                    {
                        choices.push(ScaledObject {
                            lag_threshold,
                            min_replica_count,
                            stabilization_seconds,
                            grace_seconds,
                            fallback_replicas,
                            ..ScaledObject::documented(pools.clone(), max_replica_count)
                        });
                    }
                }
            }
        }
    }
    let choices = choices.into_iter().map(Choice::ScaledObject).collect();
    let best = best(runs, choices, most_misses, "tuning KEDA ScaledObject");
    let Choice::ScaledObject(best) = best else { return best };
    let near = around(best.lag_threshold, best.max_replica_count).map(|(lag_threshold, max_replica_count)| {
        let min_replica_count = best.min_replica_count.min(max_replica_count);
        Choice::ScaledObject(ScaledObject { lag_threshold, min_replica_count, max_replica_count, ..best.clone() })
    });
    self::best(runs, near.collect(), most_misses, "tuning KEDA ScaledObject more finely")
}

pub fn fixed(scenario: &Scenario, runs: &Runs<'_>, most_misses: f64) -> Choice {
    let steps = Grid::new(runs).steps_of_fixed;
    let mut choices = Vec::new();
    for pools in subsets(scenario) {
        for step in 1..=steps {
            let workers = |n: usize| {
                if pools.contains(&n) { (scenario.pools[n].max_workers * step).div_ceil(steps) } else { 0 }
            };
            choices.push(Choice::Fixed(Fixed { workers: (0..scenario.pools.len()).map(workers).collect() }));
        }
    }
    best(runs, choices, most_misses, "tuning a fixed fleet")
}

fn pairs(grid: &Grid, most: u32) -> Vec<(u32, u32)> {
    let mut parts: Vec<u32> = grid.parts.iter().map(|part| most.div_ceil(*part)).collect();
    parts.dedup();
    grid.thresholds.iter().flat_map(|threshold| parts.iter().map(move |part| (*threshold, *part))).collect()
}

/// Itself, and its neighbours.
fn around(lag_threshold: u32, max_replica_count: u32) -> impl Iterator<Item = (u32, u32)> {
    const FACTORS: [f64; 5] = [1.0, 0.7, 0.85, 1.2, 1.4];
    let times = |number: u32, factor: f64| ((f64::from(number) * factor).round() as u32).max(1);
    FACTORS
        .into_iter()
        .flat_map(move |by| FACTORS.into_iter().map(move |of| (times(lag_threshold, by), times(max_replica_count, of))))
}

fn most_workers(scenario: &Scenario, pools: &[usize]) -> u32 {
    pools.iter().map(|pool| scenario.pools[*pool].max_workers).max().unwrap_or(1)
}

/// Each pool alone, and all of them: KEDA knows nothing of one being the cheaper.
fn subsets(scenario: &Scenario) -> Vec<Vec<usize>> {
    let all: Vec<usize> = (0..scenario.pools.len()).collect();
    let mut subsets: Vec<Vec<usize>> = all.iter().map(|pool| vec![*pool]).collect();
    if all.len() > 1 {
        subsets.push(all);
    }
    subsets
}

/// Looks at all of them on the first seed, and at the best of these on all seeds.
fn best(runs: &Runs<'_>, choices: Vec<Choice>, most_misses: f64, what: &str) -> Choice {
    const KEPT: usize = 32;
    /// One seed may be harder than the others.
    const LENIENCE: f64 = 1.2;
    let first: Vec<Outcome> = runs.only_first().outcomes(&choices, what).iter().map(|of| of[0]).collect();
    let kept = in_order(choices, &first, most_misses * LENIENCE + 1.0);
    let kept: Vec<Choice> = kept.into_iter().take(KEPT).collect();
    let means: Vec<Outcome> = runs.outcomes(&kept, what).iter().map(|of| Outcome::mean(of)).collect();
    in_order(kept, &means, most_misses + 1e-9).swap_remove(0)
}

/// Those that miss few enough come first, the cheapest before the others; then those that miss least.
fn in_order(choices: Vec<Choice>, outcomes: &[Outcome], most_misses: f64) -> Vec<Choice> {
    let mut both: Vec<(Choice, &Outcome)> = choices.into_iter().zip(outcomes).collect();
    let key = |outcome: &Outcome| {
        let misses = if outcome.misses() <= most_misses { 0.0 } else { outcome.misses() };
        [misses, outcome.price, outcome.gpu_hours]
    };
    both.sort_by(|(_, a), (_, b)| {
        let differ = key(a).into_iter().zip(key(b)).map(|(a, b)| a.total_cmp(&b));
        differ.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
    });
    both.into_iter().map(|(choice, _)| choice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_of_those_that_miss_few_enough_is_the_best() {
        let fixed = |workers| Choice::Fixed(Fixed { workers: vec![workers] });
        let outcome = |slow, price| Outcome { price, slow, ..Outcome::default() };
        let workers = |choices: Vec<Choice>| -> Vec<u32> {
            let workers = |choice| if let Choice::Fixed(fixed) = choice { fixed.workers[0] } else { 0 };
            choices.into_iter().map(workers).collect()
        };
        let outcomes = [outcome(9.0, 1.0), outcome(2.0, 7.0), outcome(1.0, 5.0), outcome(4.0, 2.0)];
        let choices = || (0..4).map(fixed).collect::<Vec<_>>();
        assert_eq!(workers(in_order(choices(), &outcomes, 2.0)), [2, 1, 3, 0]);
        assert_eq!(
            workers(in_order(choices(), &outcomes, 0.5)),
            [2, 1, 3, 0],
            "the fewest misses where none is good enough"
        );
        assert_eq!(workers(in_order(choices(), &outcomes, 10.0)), [0, 3, 2, 1]);
    }
}
