//! What the scheduler says of a pool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Written by the scheduler alone.
#[derive(KubeSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct WorkerPoolStatus {
    /// The generation of the specification that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Progressing, Degraded, KafkaAvailable, CapacityAvailable, DeadlineAtRisk, DrainTargetImpossible, Paused.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    #[serde(default)]
    pub workers: Workers,
    /// Work that waits and is this pool's to do, in seconds of one of its workers.
    #[serde(default)]
    pub waiting_worker_seconds: f64,
    /// Work that comes, in worker-seconds a second: the workers that keep up with it.
    #[serde(default)]
    pub arriving_workers: f64,
    /// Why there are as many workers as there are, with the numbers.
    #[serde(default)]
    pub reason: String,
    /// The time from a worker's creation until it was ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<ColdStart>,
    /// What a frame of each model costs one worker of this pool, as its workers measured it.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["model".into()]))]
    pub models: Vec<ModelCost>,
    /// The last decisions that changed something, newest first.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub decisions: Vec<Decision>,
    /// The number of the last Job that was made.
    #[serde(default)]
    pub last_job: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workers {
    /// As many as the work needs.
    #[serde(default)]
    pub desired: u32,
    /// Those that can work.
    #[serde(default)]
    pub ready: u32,
    /// Those that were asked for and are not ready.
    #[serde(default)]
    pub pending: u32,
    /// Those that have work in hand.
    #[serde(default)]
    pub busy: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ColdStart {
    /// Nine in ten of the last starts took no longer.
    pub seconds: f64,
    /// Of how many starts, 50 at most; 0: it is the estimate of the specification.
    pub samples: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelCost {
    /// The sha256 of the model, or plan or finish: what a message of these roles costs.
    #[schemars(length(max = 64))]
    pub model: String,
    /// Seconds of one worker for each frame, or for each message.
    pub worker_seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    pub time: Time,
    /// Started or stopped, and why.
    pub what: String,
}
