//! What work costs: seconds of one worker for a unit, as workers measured it. Pure.

use super::Model;
use framefleet_contract::identity::Sha256;
use framefleet_contract::message::heartbeat::Heartbeat;
use std::collections::BTreeMap;

/// By pool and model, and by lane where nothing is inferred. Workers that belong to no pool have costs of their own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    inferred: BTreeMap<Option<String>, BTreeMap<Model, Cost>>,
    /// Of a message that is to be planned or finished, whoever does it.
    messages: BTreeMap<Model, f64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub worker_seconds: f64,
    /// Those that say so now. 0 where the last that did are gone.
    pub workers: u32,
}

/// No unit costs less or more: what claims to is no measurement.
const SECONDS: std::ops::RangeInclusive<f64> = 1e-9..=1e6;
/// Of each pool. Of more, those that nobody has any more are forgotten.
const MOST_MODELS: usize = 200;

impl Costs {
    /// Takes what workers say that are alive. One with several inference threads does as many busy seconds in a second. All
    /// workers of a pool count alike, and what the last ones said stays when they are gone.
    pub fn hear(&mut self, alive: &[&Heartbeat]) {
        let mut sums: BTreeMap<(Option<&str>, &str), (f64, u32)> = BTreeMap::new();
        for worker in alive {
            let measured =
                worker.busy_seconds_per_frame.iter().filter(|(model, _)| Sha256::try_from((*model).clone()).is_ok());
            for (model, busy_s) in measured {
                if let Some(seconds) = usable(busy_s / f64::from(worker.threads)) {
                    let (sum, workers) = sums.entry((worker.pool.as_deref(), model)).or_default();
                    *sum += seconds;
                    *workers += 1;
                }
            }
        }
        self.inferred.values_mut().flat_map(BTreeMap::values_mut).for_each(|cost| cost.workers = 0);
        for ((pool, model), (sum, workers)) in sums {
            let cost = Cost { worker_seconds: sum / f64::from(workers), workers };
            let of_pool = self.inferred.entry(pool.map(str::to_owned)).or_default();
            of_pool.insert(Model::new(model), cost);
            if of_pool.len() > MOST_MODELS {
                of_pool.retain(|_, cost| cost.workers > 0);
            }
        }
    }

    /// What a message costs that is planned or finished.
    pub fn hear_of_messages(&mut self, model: Model, worker_seconds: f64) {
        if let Some(seconds) = usable(worker_seconds) {
            self.messages.insert(model, seconds);
        }
    }

    /// All that is known for a pool's workers, with what messages cost.
    pub fn of(&self, pool: Option<&str>) -> BTreeMap<Model, Cost> {
        let messages = self.messages.iter().map(|(model, seconds)| {
            let cost = Cost { worker_seconds: *seconds, workers: 0 };
            (model.clone(), cost)
        });
        let inferred = self.inferred.iter().find(|(known, _)| known.as_deref() == pool).map(|(_, costs)| costs);
        messages.chain(inferred.into_iter().flatten().map(|(model, cost)| (model.clone(), *cost))).collect()
    }
}

fn usable(seconds: f64) -> Option<f64> {
    SECONDS.contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> Sha256 {
        Sha256::of(b"m")
    }

    fn worker(pool: Option<&str>, threads: u32, busy_s: f64) -> Heartbeat {
        let beat = json!({
            "version": 99, "worker_id": "w", "host": "h", "program": "p", "state": "ready", "roles": ["detect"],
            "device": "cpu", "slots": 2, "threads": threads, "started": "", "sent": "2999-01-01T00:00:00Z",
            "interval_s": 3.0, "pool": pool
        });
        let mut beat: Heartbeat = serde_json::from_value(beat).unwrap();
        beat.busy_seconds_per_frame.insert(model().as_str().to_owned(), busy_s);
        beat
    }

    fn heard(costs: &mut Costs, workers: &[Heartbeat]) {
        costs.hear(&workers.iter().collect::<Vec<_>>());
    }

    fn cost(costs: &Costs, pool: Option<&str>) -> Option<(f64, u32)> {
        costs.of(pool).get(&Model::new(model().as_str())).map(|cost| (cost.worker_seconds, cost.workers))
    }

    #[test]
    fn a_worker_of_several_threads_is_that_much_faster_and_all_workers_count_alike() {
        let mut costs = Costs::default();
        heard(&mut costs, &[worker(Some("a/b"), 1, 0.1), worker(Some("a/b"), 4, 0.2), worker(None, 2, 1.0)]);
        assert_eq!(cost(&costs, Some("a/b")), Some((f64::midpoint(0.1, 0.05), 2)));
        assert_eq!(cost(&costs, None), Some((0.5, 1)));
        assert_eq!(cost(&costs, Some("b")), None);
    }

    #[test]
    fn what_the_last_worker_said_stays() {
        let mut costs = Costs::default();
        heard(&mut costs, &[worker(Some("p"), 1, 0.1)]);
        heard(&mut costs, &[]);
        assert_eq!(cost(&costs, Some("p")), Some((0.1, 0)));
        heard(&mut costs, &[worker(Some("p"), 1, 0.3)]);
        assert_eq!(cost(&costs, Some("p")), Some((0.3, 1)));
    }

    #[test]
    fn what_is_no_measurement_is_passed_over() {
        let mut costs = Costs::default();
        for bad in [0.0, -1.0, 1e-320, f64::NAN, f64::INFINITY, 1e7] {
            heard(&mut costs, &[worker(None, 1, bad)]);
            costs.hear_of_messages(Model::plan(), bad);
        }
        heard(&mut costs, &[worker(None, 0, 1.0)]);
        assert_eq!(costs, Costs::default());
        heard(&mut costs, &[worker(None, 1, f64::NAN), worker(None, 1, 2.0)]);
        assert_eq!(cost(&costs, None), Some((2.0, 1)));
    }

    #[test]
    fn what_is_no_model_is_passed_over_and_models_that_are_gone_are_forgotten_when_there_are_many() {
        let mut costs = Costs::default();
        let mut beat = worker(Some("p"), 1, 0.1);
        beat.busy_seconds_per_frame.insert("a name".to_owned(), 1.0);
        beat.busy_seconds_per_frame.insert("m".repeat(1000), 1.0);
        heard(&mut costs, &[beat]);
        assert_eq!(costs.of(Some("p")).len(), 1);
        for number in 0..1000_u32 {
            let mut other = worker(Some("p"), 1, 0.1);
            let model = Sha256::of(&number.to_le_bytes());
            other.busy_seconds_per_frame = BTreeMap::from([(model.as_str().to_owned(), 1.0)]);
            heard(&mut costs, &[worker(Some("p"), 1, 0.1), other]);
        }
        assert!(costs.of(Some("p")).len() <= MOST_MODELS);
        assert_eq!(cost(&costs, Some("p")), Some((0.1, 1)));
    }

    #[test]
    fn messages_cost_the_same_in_every_pool() {
        let mut costs = Costs::default();
        costs.hear_of_messages(Model::finish(), 0.5);
        for pool in [None, Some("p")] {
            assert_eq!(costs.of(pool)[&Model::finish()], Cost { worker_seconds: 0.5, workers: 0 });
        }
    }
}
