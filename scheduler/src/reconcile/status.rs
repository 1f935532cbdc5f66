//! The status of a pool. Pure.

use super::memory::Memory;
use crate::conditions::{self, Cause, View};
use crate::observe::State;
use crate::plan::PoolPlan;
use crate::pool::{ModelCost, WorkerPool, WorkerPoolStatus, Workers};

/// What it is made of, beside what is remembered.
#[derive(Debug)]
pub struct Facts<'a> {
    pub state: &'a State,
    pub plan: &'a PoolPlan,
    pub kafka: Option<&'a Cause>,
    pub now: f64,
}

pub fn of(pool: &WorkerPool, facts: &Facts<'_>, memory: &Memory) -> WorkerPoolStatus {
    let Facts { state, plan, .. } = *facts;
    let before = memory.told.as_ref().map(|(told, _)| told).or(pool.status.as_ref());
    let conditions = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    let view = View {
        generation: pool.metadata.generation,
        plan,
        state,
        kafka: facts.kafka,
        refused: memory.refused.as_ref().map(|refused| &refused.cause),
        now: facts.now,
    };
    let model = |(model, seconds): (&crate::demand::Model, &f64)| ModelCost {
        model: model.as_str().to_owned(),
        worker_seconds: significant(*seconds),
    };
    let mut cold_start = memory.starts.cold_start();
    cold_start.seconds = tenths(cold_start.seconds);
    WorkerPoolStatus {
        observed_generation: pool.metadata.generation,
        conditions: conditions::of(&view, conditions),
        workers: Workers {
            desired: plan.desired,
            ready: state.ready,
            pending: state.coming + state.stuck,
            busy: state.busy,
        },
        waiting_worker_seconds: tenths(plan.work),
        arriving_workers: significant(plan.arriving),
        reason: plan.reason.clone(),
        cold_start: Some(cold_start),
        models: memory.costs.iter().map(model).collect(),
        decisions: memory.decisions.clone(),
        last_job: memory.last_job,
    }
}

/// Whether two differ in nothing but numbers that change all the time, and the sentences that hold them.
pub fn is_same_but_for_numbers(told: &WorkerPoolStatus, status: &WorkerPoolStatus) -> bool {
    let without_numbers = |status: &WorkerPoolStatus| {
        let mut status = status.clone();
        status.waiting_worker_seconds = 0.0;
        status.arriving_workers = 0.0;
        status.reason.clear();
        status.models.iter_mut().for_each(|model| model.worker_seconds = 0.0);
        status.cold_start = None;
        status.workers.busy = 0;
        status.conditions.iter_mut().for_each(|condition| condition.message.clear());
        status
    };
    without_numbers(told) == without_numbers(status)
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Three digits: the others change with every frame.
fn significant(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powi(2 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_what_says_something() {
        let rounded = [0.012_345, 1234.5, 0.0].map(|value| significant(value).to_string());
        assert_eq!(rounded, ["0.0123", "1230", "0"]);
    }

    #[test]
    fn numbers_alone_are_no_news() {
        let told =
            WorkerPoolStatus { reason: "5 worker-s".to_owned(), waiting_worker_seconds: 5.0, ..Default::default() };
        let numbers = WorkerPoolStatus { reason: "4 worker-s".to_owned(), waiting_worker_seconds: 4.0, ..told.clone() };
        let news = WorkerPoolStatus { last_job: 1, ..told.clone() };
        assert!(is_same_but_for_numbers(&told, &numbers));
        assert!(!is_same_but_for_numbers(&told, &news));
    }
}
