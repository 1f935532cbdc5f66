//! KEDA's `ScaledJob` with Kafka triggers, as its documentation and its source (2.17) describe it: every polling interval so
//! many Jobs are made as messages wait for each threshold, less those that there are by one of four strategies. Nothing is
//! ever taken away: Jobs end by themselves. An error of a trigger makes no Jobs.

use super::{Leaves, Order, Policy, World, lags};
use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub struct ScaledJob {
    pub lag_threshold: u32,
    pub polling_interval: f64,
    /// Of each pool.
    pub max_replica_count: u32,
    pub strategy: Strategy,
    /// `multipleScalersCalculation`: the sum over the triggers, not the largest.
    pub sums_triggers: bool,
    pub leaves: Leaves,
    /// Which pools have a `ScaledJob`.
    pub pools: Vec<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    Default,
    Accurate,
    Eager,
    Custom { queue_length_deduction: u32, running_job_percentage: f64 },
}

/// Jobs of a pool that have not ended.
#[derive(Debug, Clone, Copy)]
pub struct Jobs {
    /// All of them.
    pub running: u32,
    /// Those whose pods do not run yet.
    pub pending: u32,
}

impl Strategy {
    /// How many Jobs to make, where the triggers ask for `max_scale`.
    pub fn effective(self, max_scale: u32, jobs: Jobs, max_replicas: u32) -> u32 {
        let [scale, running, pending, most] = [max_scale, jobs.running, jobs.pending, max_replicas].map(i64::from);
        let effective = match self {
            Self::Default => scale - running,
            Self::Accurate if scale + running > most => most - running,
            Self::Accurate => scale - pending,
            Self::Eager => (most - running - pending).min(scale),
            Self::Custom { queue_length_deduction, running_job_percentage } => {
                let running = (running as f64 * running_job_percentage) as i64;
                (scale - i64::from(queue_length_deduction) - running).min(most)
            }
        };
        effective.max(0) as u32
    }
}

impl ScaledJob {
    /// With KEDA's defaults, and a worker that leaves as soon as it has nothing to do.
    pub fn documented(pools: Vec<usize>, max_replica_count: u32) -> Self {
        Self {
            lag_threshold: 10,
            polling_interval: 30.0,
            max_replica_count,
            strategy: Strategy::Default,
            sums_triggers: false,
            leaves: Leaves::WhenIdle,
            pools,
        }
    }

    /// Workers that the triggers ask for: `min(maxReplicaCount, ceil(lag / lagThreshold))`.
    pub fn max_scale(&self, lags: &[u32]) -> u32 {
        let each = lags.iter().map(|lag| lag.div_ceil(self.lag_threshold).min(self.max_replica_count));
        let all = if self.sums_triggers { each.sum() } else { each.max().unwrap_or(0) };
        all.min(self.max_replica_count)
    }
}

#[derive(Debug)]
pub struct Keda {
    settings: ScaledJob,
    wanted: u32,
}

impl Keda {
    pub fn new(settings: ScaledJob) -> Self {
        Self { settings, wanted: 0 }
    }
}

impl Policy for Keda {
    fn period(&self) -> f64 {
        self.settings.polling_interval
    }

    fn decide(&mut self, world: &World<'_>) -> Vec<Order> {
        self.wanted = 0;
        let mut orders = Vec::new();
        for &pool in &self.settings.pools {
            let seen: Vec<u32> = lags(world, pool, self.settings.lag_threshold).into_iter().flatten().collect();
            let running = world.pods(pool).count() as u32;
            let pending =
                world.pods(pool).filter(|pod| pod.state == super::super::world::State::Pending).count() as u32;
            let max_scale = self.settings.max_scale(&seen);
            let most = self.settings.max_replica_count;
            let workers = self.settings.strategy.effective(max_scale, Jobs { running, pending }, most);
            self.wanted += running + workers;
            orders.push(Order::Start { pool, workers });
        }
        orders
    }

    fn wanted(&self) -> u32 {
        self.wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_made_by_the_documented_formulas() {
        let custom = |queue_length_deduction, running_job_percentage| Strategy::Custom {
            queue_length_deduction,
            running_job_percentage,
        };
        let half = custom(0, 0.5);
        // Strategy, what the triggers ask for, running, of these pending, maxReplicaCount: Jobs that are made.
        let cases = [
            (Strategy::Default, 10, 0, 0, 100, 10),
            (Strategy::Default, 10, 4, 4, 100, 6),
            (Strategy::Default, 10, 12, 0, 100, 0),
            (Strategy::Accurate, 10, 4, 4, 100, 6),
            (Strategy::Accurate, 10, 4, 1, 100, 9),
            (Strategy::Accurate, 10, 95, 0, 100, 5),
            (Strategy::Accurate, 3, 4, 4, 100, 0),
            (Strategy::Eager, 10, 95, 0, 100, 5),
            (Strategy::Eager, 10, 50, 10, 100, 10),
            (Strategy::Eager, 10, 90, 20, 100, 0),
            (half, 10, 4, 0, 100, 8),
            (half, 10, 3, 0, 100, 9),
            (custom(3, 1.0), 10, 4, 0, 100, 3),
            (custom(0, 0.0), 120, 4, 0, 100, 100),
        ];
        for (strategy, max_scale, running, pending, most, made) in cases {
            let jobs = Jobs { running, pending };
            assert_eq!(strategy.effective(max_scale, jobs, most), made, "{strategy:?} {max_scale} {jobs:?} {most}");
        }
    }

    #[test]
    fn each_started_threshold_of_messages_asks_for_a_job() {
        let settings = ScaledJob { lag_threshold: 10, ..ScaledJob::documented(vec![0], 20) };
        for (lags, asked) in [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[10, 25], 3), (&[900, 3], 20)] {
            assert_eq!(settings.max_scale(lags), asked, "{lags:?}");
        }
        let sums = ScaledJob { sums_triggers: true, ..settings };
        assert_eq!((sums.max_scale(&[10, 25]), sums.max_scale(&[900, 3])), (4, 20));
    }
}
