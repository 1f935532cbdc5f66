//! What the scheduler measures, as `/metrics` shows it.

use crate::observe::State;
use crate::plan::PoolPlan;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const LEADS: &str = "framefleet_scheduler_leads";
const CYCLE: &str = "framefleet_scheduler_cycle_seconds";
const API_CALLS: &str = "framefleet_scheduler_api_calls_total";
const API_ERRORS: &str = "framefleet_scheduler_api_errors_total";
const WORKERS: &str = "framefleet_pool_workers";
const WORK: &str = "framefleet_pool_waiting_worker_seconds";
const ARRIVING: &str = "framefleet_pool_arriving_workers";
const HELD: &str = "framefleet_pool_held";

/// Cycles take milliseconds; one that takes seconds waits for the API server.
pub const BUCKETS_S: [f64; 9] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
const STATES: [&str; 5] = ["desired", "ready", "coming", "stuck", "busy"];

pub fn describe() {
    describe_gauge!(LEADS, "1 while this scheduler is the one that acts");
    describe_histogram!(CYCLE, Unit::Seconds, "From looking at all pools to having told all statuses");
    describe_counter!(API_CALLS, "Writes to the API server, and questions beside the watches");
    describe_counter!(
        API_ERRORS,
        "Writes that the API server refused or did not answer, by status; 0 without an answer"
    );
    describe_gauge!(WORKERS, "Workers of a pool, by state: desired, ready, coming, stuck, busy");
    describe_gauge!(WORK, Unit::Seconds, "Work that waits and is a pool's to do, in seconds of one of its workers");
    describe_gauge!(ARRIVING, "Work that comes, in workers that keep up with it");
    describe_gauge!(HELD, "1 while a pool is not changed, since something is not known or it is paused");
    counter!(API_CALLS).absolute(0);
    gauge!(LEADS).set(0.0);
}

pub fn cycle(time: Duration) {
    histogram!(CYCLE).record(time);
}

pub fn leads(is_so: bool) {
    gauge!(LEADS).set(f64::from(u8::from(is_so)));
}

pub fn api_call() {
    counter!(API_CALLS).increment(1);
}

pub fn api_error(status: u16) {
    counter!(API_ERRORS, "status" => status.to_string()).increment(1);
}

pub fn pool(name: &str, state: &State, plan: &PoolPlan) {
    let counts = [plan.desired, state.ready, state.coming, state.stuck, state.busy];
    for (which, count) in STATES.into_iter().zip(counts) {
        gauge!(WORKERS, "pool" => name.to_owned(), "state" => which).set(f64::from(count));
    }
    gauge!(WORK, "pool" => name.to_owned()).set(plan.work);
    gauge!(ARRIVING, "pool" => name.to_owned()).set(plan.arriving);
    gauge!(HELD, "pool" => name.to_owned()).set(f64::from(u8::from(plan.is_held())));
    known().insert(name.to_owned());
}

/// A pool that is gone has no workers: a recorder keeps what it was told last.
pub fn forget_pools<'a>(pools: impl Iterator<Item = &'a str>) {
    let there: BTreeSet<&str> = pools.collect();
    known().retain(|name| {
        let is_there = there.contains(name.as_str());
        if !is_there {
            for state in STATES {
                gauge!(WORKERS, "pool" => name.clone(), "state" => state).set(0.0);
            }
            for metric in [WORK, ARRIVING, HELD] {
                gauge!(metric, "pool" => name.clone()).set(0.0);
            }
        }
        is_there
    });
}

fn known() -> std::sync::MutexGuard<'static, BTreeSet<String>> {
    static KNOWN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
