//! Everything that can go wrong around pools: each fault is named in a condition, stops no worker, makes no Job twice, and is
//! got over without help once its cause is gone.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

#[path = "scheduler_faults/api_server.rs"]
mod api_server;
#[path = "scheduler_faults/capacity.rs"]
mod capacity;
#[path = "scheduler_faults/kafka.rs"]
mod kafka;
#[path = "scheduler_faults/leaders.rs"]
mod leaders;
#[path = "scheduler_faults/workers.rs"]
mod workers;

use framefleet_tests::scheduler::traffic::{SEGMENTS_FOR_THREE, Traffic};
use framefleet_tests::{Broker, Pools};
use serde_json::json;

/// A pool that needs three workers from the beginning, which has nodes for them.
fn three_are_needed() -> (Pools<'static>, Traffic) {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.add_nodes(1);
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    (pools, traffic)
}

/// There are three workers, all made by this one Job.
fn assert_one_job_for_three(pools: &Pools<'_>) {
    assert_eq!((pools.job_names(), pools.workers_asked_for()), (vec!["gpus-1".to_owned()], 3));
}
