//! What a worker says of itself every few seconds: a message of `workers`, which is compacted.

use crate::identity::JobId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key is the worker's id. A worker that leaves takes it back by a message without a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "FrameFleet: a message of the topic workers")]
pub struct Heartbeat {
    /// 1 today. Whoever reads ignores what a later version adds.
    pub version: u32,
    /// Unlike that of every other process, now and before.
    pub worker_id: String,
    /// The name of its machine or container; in a pool, of its pod.
    pub host: String,
    /// The pool that it belongs to, as `namespace/name`, where a scheduler started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// The program and its version.
    pub program: String,
    pub state: WorkerState,
    /// What it does: `plan`, `detect`, `finish`.
    pub roles: Vec<String>,
    /// The queues that it serves, with their weights.
    #[serde(default)]
    pub queues: BTreeMap<String, u32>,
    /// What its models run on: `cpu`.
    pub device: String,
    /// Segments that it works on at once, at most.
    pub slots: u32,
    /// The work in hand.
    #[serde(default)]
    pub in_flight: Vec<InFlight>,
    /// Seconds for which one inference thread is busy with a frame, by the model's sha256: the mean of what it measured.
    #[serde(default)]
    pub busy_seconds_per_frame: BTreeMap<String, f64>,
    /// Inference threads.
    pub threads: u32,
    /// RFC 3339, UTC.
    pub started: String,
    /// RFC 3339, UTC, by the clock of its machine.
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
    #[schemars(skip)]
    Unknown,
}

/// A piece of work in hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InFlight {
    pub job_id: JobId,
    /// `plan`, `finish`, or the number of a segment.
    pub step: String,
    /// Of a segment, the frames that are done.
    #[serde(default)]
    pub frames_done: u64,
    /// Of how many; 0 where frames are not counted.
    #[serde(default)]
    pub frames: u64,
}
