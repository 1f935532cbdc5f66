//! The second step: segments are detected, in any order and by any number of workers.

use super::Job;
use crate::error::{JobError, Result};
use crate::infer::InferencePool;
use crate::interrupt::Stop;
use crate::pipeline::{self, Detected, Detection};
use crate::progress::{Display, Progress};
use framefleet_contract::plan::{Plan, Segment};
use framefleet_contract::request::Request;
use framefleet_models::{Manifest, RecordedFrames, Serving, Thresholds};
use framefleet_native::ffmpeg::limits::Limits;
use std::sync::Arc;

/// What detecting needs that does not change a job's result.
#[derive(Debug, Clone, Copy)]
pub struct Detecting<'a> {
    pub pool: &'a InferencePool,
    /// The job's model.
    pub serving: &'a Arc<Serving>,
    /// Takes pictures for the next version to be compared on.
    pub recorded: Option<&'a RecordedFrames>,
    pub limits: Limits,
    pub progress: &'a Display,
    pub stop: &'a Stop,
}

/// Detects these segments of a plan and publishes each.
///
/// # Errors
/// [`JobError::PlanRefuted`] where the plan does not hold: [`next_plan`](super::next_plan) takes its place.
pub fn detect(job: Job<'_>, plan: &Plan, segments: &[Segment], how: &Detecting<'_>) -> Result<Detected> {
    let Job { request, folder, video } = job;
    if segments.is_empty() {
        return Ok(Detected::default());
    }
    video.check_unchanged()?;
    let every = request.settings.every;
    let packets: u64 = segments.iter().map(|segment| segment.end - segment.start).sum();
    let name = request.source.name();
    let progress = Progress::new(how.progress, "detecting", &name, packets.div_ceil(every.into()));
    let detection = Detection {
        video: video.origin(),
        limits: how.limits,
        plan,
        folder,
        segments,
        serving: how.serving,
        thresholds: &thresholds(request, &how.serving.checked().model.manifest)?,
        recorded: how.recorded,
        every,
    };
    let detected = pipeline::detect(&detection, how.pool, &progress, how.stop)?;
    video.check_unchanged()?;
    Ok(detected)
}

/// Fails for a class that the model does not have, before a job begins.
pub fn check_classes(request: &Request, manifest: &Manifest) -> Result<()> {
    thresholds(request, manifest).map(|_| ())
}

fn thresholds(request: &Request, manifest: &Manifest) -> Result<Thresholds> {
    let class_names = &manifest.classes;
    let id_of = |name: &String| {
        let position = class_names.iter().position(|known| known == name);
        position.map(|id| id as i32).ok_or_else(|| {
            let known = class_names.join(", ");
            JobError::BadRequest(format!("model {} has no class {name:?}; it has: {known}", request.model.name))
        })
    };
    let classes = match &request.settings.classes {
        Some(names) => Some(names.iter().map(id_of).collect::<Result<Vec<i32>>>()?),
        None => None,
    };
    Ok(Thresholds {
        confidence: request.settings.confidence,
        iou: request.settings.iou,
        classes,
        max_detections: manifest.defaults.max_detections as usize,
    })
}
