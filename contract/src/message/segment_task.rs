//! A segment that waits to be detected: a message of `segments.<queue>`.

use super::OfJob;
use crate::identity::JobId;
use crate::request::{ModelRef, VERSION};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The key is the job's id; the partition is chosen so that workers get equal parts of the work that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "FrameFleet: a message of the topics segments.<queue>")]
pub struct SegmentTask {
    /// 1 today. Whoever reads ignores what a later version adds.
    pub version: u32,
    pub job_id: JobId,
    /// Of the job's plan.
    pub segment: u32,
    /// The lane in which it waits.
    pub queue: String,
    pub model: ModelRef,
    /// Frames to infer: with the model's seconds per frame, how much work it is.
    pub frames: u64,
    /// When the job's result is needed, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Memory that loading and running the model took when it was tried out, bytes; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// A header of the message: `frames` in decimal digits, so that work can be summed up without reading the messages.
pub const FRAMES_HEADER: &str = "framefleet-frames";
/// A header of the message: the model's sha256.
pub const MODEL_HEADER: &str = "framefleet-model";

impl SegmentTask {
    /// Frames and the model follow from the job's plan.
    pub fn new(job_id: JobId, segment: u32, queue: String, model: ModelRef, frames: u64) -> Self {
        Self { version: VERSION, job_id, segment, queue, model, frames, deadline: None, memory_bytes: None }
    }
}

impl OfJob for SegmentTask {
    fn job_id(&self) -> &JobId {
        &self.job_id
    }
}
