//! What a job counted and how fast it was: `summary.json`. Unlike the tracks, it differs from run to run.

use crate::identity::JobId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub version: u32,
    pub job_id: JobId,
    pub frames: FrameCounts,
    #[serde(default)]
    pub decoded_on: DecodedFrames,
    pub detections: u64,
    /// Detections that a track took.
    pub tracked: u64,
    pub tracks: u64,
    /// By class name, of the classes that were seen.
    pub classes: BTreeMap<String, ClassCounts>,
    pub speed: Speed,
    /// Where the last process of this job spent its time.
    pub stages: BTreeMap<String, StageTime>,
    /// What the busy seconds of `infer` are made of; absent where nothing was inferred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infer_parts: Option<InferParts>,
    /// The stage that the others waited for, and what would raise the speed.
    pub limited_by: String,
    pub segments: SegmentCounts,
    /// `cpu`, or the GPU as the driver calls it; all of them with commas between where segments differ.
    pub device: String,
    pub threads: u32,
    pub host: String,
    /// RFC 3339, UTC: when this process took the job up and when it was done.
    pub started: String,
    pub finished: String,
    pub program: String,
}

/// The frame ledger: `decoded = inferred + skipped`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameCounts {
    /// Video packets in the file.
    pub packets: u64,
    pub decoded: u64,
    /// Packets at which the decoder found damage.
    pub damaged: u64,
    /// Packets that announced a frame, where none came out: damaged ones, those before the first keyframe, fields.
    #[serde(default)]
    pub lost: u64,
    pub inferred: u64,
    /// Left out because of `every`.
    pub skipped: u64,
    /// Always 0 for a file: video on demand is lossless.
    pub dropped: u64,
}

/// The decoded frames of [`FrameCounts`], by where they were decoded: segments of one video may be decoded differently.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecodedFrames {
    pub nvdec: u64,
    pub software: u64,
    /// Why NVDEC did not decode the first segment that a worker with a GPU decoded in software.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_because: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    pub detections: u64,
    pub tracks: u64,
}

/// Of the last process only: a resumed job has lost the time of the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// From taking the job up until its tracks were published.
    pub seconds: f64,
    pub frames_decoded: u64,
    pub frames_per_second: f64,
    /// Seconds of video per second.
    pub times_real_time: f64,
    /// Seconds from taking the job up until the first frame was detected; absent where all was detected before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_detection_s: Option<f64>,
}

/// Seconds summed over the threads of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StageTime {
    pub threads: u32,
    pub busy_s: f64,
    /// Waiting for the stage before it.
    pub starved_s: f64,
    /// Waiting for the stage after it.
    pub blocked_s: f64,
}

/// Seconds summed over the inference threads; of a GPU, those of its own work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct InferParts {
    pub preprocess_s: f64,
    pub model_s: f64,
    pub postprocess_s: f64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentCounts {
    pub total: u32,
    /// Found published when this process took the job up.
    pub found: u32,
}
