//! What a worker says of itself every few seconds: a message of `workers`, which is compacted.

use crate::identity::JobId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key is the worker's id. A worker that leaves takes it back by a message without a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    pub version: u32,
    pub worker_id: String,
    pub host: String,
    /// The program and its version.
    pub program: String,
    pub state: WorkerState,
    pub roles: Vec<String>,
    /// The queues that it serves, with their weights.
    #[serde(default)]
    pub queues: BTreeMap<String, u32>,
    pub device: String,
    /// Segments that it works on at once, at most.
    pub slots: u32,
    #[serde(default)]
    pub in_flight: Vec<InFlight>,
    /// Seconds for which one inference thread is busy with a frame, by the model's sha256: the mean of what it measured.
    #[serde(default)]
    pub busy_seconds_per_frame: BTreeMap<String, f64>,
    /// Inference threads.
    pub threads: u32,
    /// RFC 3339, UTC.
    pub started: String,
    pub sent: String,
    /// Until the next one, at most.
    pub interval_s: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkerState {
    Ready,
    /// It takes no work, since its volume is full or fails.
    Paused,
    /// It finishes what it has and leaves.
    Draining,
    #[serde(other)]
    Unknown,
}

/// A piece of work in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InFlight {
    pub job_id: JobId,
    /// `plan`, `finish`, or the number of a segment.
    pub step: String,
    #[serde(default)]
    pub frames_done: u64,
    #[serde(default)]
    pub frames: u64,
}
