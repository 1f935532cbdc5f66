//! KEDA's `ScaledObject` with Kafka triggers over a Deployment, as its documentation describes it and that of the
//! `HorizontalPodAutoscaler` (`autoscaling/v2`) which it makes: KEDA goes from none to one worker when something waits, and
//! back after a cooldown; the HPA does the rest. Workers that are too many are killed, whatever they do.

use super::{Order, Policy, Scenario, World, lags};
use serde::Serialize;

#[derive(Debug, Clone, Serialize)]
pub struct ScaledObject {
    pub lag_threshold: u32,
    pub polling_interval: f64,
    pub cooldown_period: f64,
    pub min_replica_count: u32,
    /// Of each pool.
    pub max_replica_count: u32,
    /// `behavior.scaleDown.stabilizationWindowSeconds`.
    pub stabilization_seconds: f64,
    /// `terminationGracePeriodSeconds` of the Deployment's pods.
    pub grace_seconds: f64,
    /// `fallback.replicas` after three errors in a row, where there is one.
    pub fallback_replicas: Option<u32>,
    /// Which pools have a `ScaledObject`.
    pub pools: Vec<usize>,
}

#[derive(Debug)]
pub struct Keda {
    settings: ScaledObject,
    /// By pool.
    deployments: Vec<Deployment>,
}

#[derive(Debug, Clone, Default)]
pub struct Deployment {
    replicas: u32,
    /// What the HPA found right, and when.
    recommended: Vec<(f64, u32)>,
    last_active: f64,
    errors: u32,
    polled: Option<f64>,
}

/// `--horizontal-pod-autoscaler-sync-period`.
const SYNC: f64 = 15.0;
/// `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// `fallback.failureThreshold`.
const FAILURES: u32 = 3;

impl Keda {
    pub fn new(settings: ScaledObject, scenario: &Scenario) -> Self {
        let begin = Deployment { replicas: settings.min_replica_count, ..Deployment::default() };
        Self { deployments: vec![begin; scenario.pools.len()], settings }
    }
}

impl ScaledObject {
    /// With the defaults of KEDA, the HPA and pods.
    pub fn documented(pools: Vec<usize>, max_replica_count: u32) -> Self {
        Self {
            lag_threshold: 10,
            polling_interval: 30.0,
            cooldown_period: 300.0,
            min_replica_count: 0,
            max_replica_count,
            stabilization_seconds: 300.0,
            grace_seconds: 30.0,
            fallback_replicas: None,
            pools,
        }
    }

    /// The replicas after one look, where `lags` has `None` for triggers with an error.
    pub fn next(&self, this: &mut Deployment, lags: &[Option<u32>], now: f64) -> u32 {
        let is_known = lags.iter().all(Option::is_some);
        let is_active = lags.iter().flatten().any(|lag| *lag > 0);
        this.errors = if is_known { 0 } else { this.errors + 1 };
        if is_active {
            this.last_active = now;
        }
        if this.replicas == 0 || this.polled.is_none_or(|polled| now - polled >= self.polling_interval - 1e-6) {
            this.polled = Some(now);
            if this.replicas == 0 {
                this.replicas = if is_active { self.min_replica_count.max(1) } else { self.min_replica_count };
                return this.replicas;
            }
            if is_known && !is_active && now - this.last_active >= self.cooldown_period {
                this.replicas = self.min_replica_count;
                this.recommended.clear();
                return this.replicas;
            }
        }
        let proposed = match (is_known, self.fallback_replicas) {
            (true, _) => lags.iter().flatten().map(|lag| self.proposed(this.replicas, *lag)).max().unwrap_or(0),
            (false, Some(replicas)) if this.errors >= FAILURES => replicas,
            (false, _) => return this.replicas,
        };
        let proposed = proposed.clamp(self.min_replica_count.max(1), self.max_replica_count);
        this.recommended.retain(|(time, _)| now - time < self.stabilization_seconds);
        this.recommended.push((now, proposed));
        let most_of_late = this.recommended.iter().map(|(_, replicas)| *replicas).max().unwrap_or(proposed);
        // The default policies: up by four or by as many as there are, down at once when the window allows it.
        let up = (this.replicas + 4).max(this.replicas * 2);
        this.replicas = if proposed >= this.replicas { proposed.min(up) } else { most_of_late.min(this.replicas) };
        this.replicas
    }

    /// Of one metric of the type `AverageValue`.
    fn proposed(&self, replicas: u32, lag: u32) -> u32 {
        let ratio = f64::from(lag) / (f64::from(self.lag_threshold) * f64::from(replicas));
        if (ratio - 1.0).abs() <= TOLERANCE { replicas } else { lag.div_ceil(self.lag_threshold) }
    }
}

impl Policy for Keda {
    fn period(&self) -> f64 {
        SYNC
    }

    fn decide(&mut self, world: &World<'_>) -> Vec<Order> {
        let mut orders = Vec::new();
        for &pool in &self.settings.pools {
            let seen = lags(world, pool, self.settings.lag_threshold);
            let replicas = self.settings.next(&mut self.deployments[pool], &seen, world.now);
            orders.push(Order::Resize { pool, replicas });
        }
        orders
    }

    fn wanted(&self) -> u32 {
        self.settings.pools.iter().map(|pool| self.deployments[*pool].replicas).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> ScaledObject {
        ScaledObject::documented(vec![0], 40)
    }

    fn at(replicas: u32) -> Deployment {
        Deployment { replicas, polled: Some(0.0), ..Deployment::default() }
    }

    #[test]
    fn replicas_follow_the_documented_formulas() {
        // Replicas, lag: replicas then. The threshold is 10.
        let cases = [
            (0, 0, 0),
            (0, 500, 1),
            (1, 500, 5),
            (5, 500, 10),
            (10, 500, 20),
            (30, 500, 40),
            (10, 105, 10),
            (10, 95, 10),
            (10, 111, 12),
            (10, 89, 9),
        ];
        for (replicas, lag, then) in cases {
            let now =
                ScaledObject { stabilization_seconds: 0.0, ..object() }.next(&mut at(replicas), &[Some(lag)], 1.0);
            assert_eq!(now, then, "{replicas} replicas, lag {lag}");
        }
        assert_eq!(object().next(&mut at(10), &[Some(20), Some(190)], 1.0), 19, "the largest of the metrics");
    }

    #[test]
    fn it_shrinks_to_the_most_of_the_window_and_to_none_after_the_cooldown() {
        let (object, mut this) = (object(), at(10));
        let seen: Vec<u32> = (1..=42)
            .map(|n| object.next(&mut this, &[Some(if n < 3 { 100 } else { 0 })], f64::from(n) * 15.0))
            .collect();
        // Active until 30 s: the window and the cooldown, 300 s each, end at 330 s.
        assert_eq!((seen[20], seen[21], seen[41]), (10, 0, 0), "{seen:?}");
        let hasty = ScaledObject { stabilization_seconds: 0.0, ..object };
        assert_eq!(hasty.next(&mut at(10), &[Some(0)], 1.0), 1, "the HPA goes to one, and KEDA to none");
    }

    #[test]
    fn errors_change_nothing_unless_there_is_a_fallback() {
        let mut this = at(10);
        assert!((1..20).all(|n| object().next(&mut this, &[Some(5), None], f64::from(n) * 15.0) == 10));
        let fallback = ScaledObject { fallback_replicas: Some(3), stabilization_seconds: 0.0, ..object() };
        let mut this = at(10);
        let seen: Vec<u32> = (1..5).map(|n| fallback.next(&mut this, &[None], f64::from(n) * 15.0)).collect();
        assert_eq!(seen, [10, 10, 3, 3]);
    }
}
