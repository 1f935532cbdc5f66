//! The life of pools from day to day: they grow, shrink, change and go, and cost the API server little.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

#[path = "scheduler_life/deployments.rs"]
mod deployments;
#[path = "scheduler_life/jobs.rs"]
mod jobs;
#[path = "scheduler_life/watching.rs"]
mod watching;

use framefleet_tests::Pools;
use framefleet_tests::scheduler::traffic::Traffic;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;

/// A namespace with nodes, and a fleet without work.
fn place() -> (Pools<'static>, Traffic) {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&framefleet_tests::Broker::shared().bootstrap());
    pools.add_nodes(2);
    (pools, traffic)
}

/// The names of all pods of a pool that are not about to end.
fn pods_of(pools: &Pools<'_>, pool: &str) -> Vec<String> {
    let pods = pools.objects::<Pod>().labelled(&format!("framefleet.dev/pool={pool}"));
    let is_there = |pod: &Pod| pod.metadata.deletion_timestamp.is_none();
    pods.into_iter().filter(is_there).map(|pod| pod.name_any()).collect()
}

/// As workers of Jobs do that have had no work for long enough.
fn leave(pools: &Pools<'_>) {
    for pod in pools.pods() {
        let annotation = json!({(framefleet_tests::cluster::kwok::COMPLETES_AFTER): "0s"});
        pools.objects::<Pod>().merge(&pod.name_any(), &json!({"metadata": {"annotations": annotation}}));
    }
}
