//! One job from its request to its outcome: its steps, and [`run`], which takes them all in one process.
//!
//! ```text
//! accept ─► plan ─► detect, any number of segments at a time ─► conclude ─► outcome
//!            ▲                │ refuted                            │ refuted
//!            └── next_plan ◄──┴────────────────────────────────────┘
//! ```
//!
//! Each step skips what an earlier process has done, needs only what lies in the job's folder, and may be taken by another
//! process than the one before.

mod conclude;
mod detect;
mod plan;
mod settings;

pub use conclude::{Concluded, Concluding, DoneHere, conclude, fail};
pub use detect::{Detecting, check_classes, detect};
pub use plan::{Accepted, Planning, accept, next_plan, plan};
pub use settings::settings;

use crate::error::{JobError, Result};
use crate::infer::InferencePool;
use crate::interrupt::Stop;
use crate::progress::Display;
use crate::source::{Places, Video};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::outcome::Outcome;
use framefleet_contract::request::Request;
use framefleet_contract::source_url::SourceUrl;
use framefleet_contract::volume::Volume;
use framefleet_contract::{Disposition, ErrorCode};
use framefleet_models::{RecordedFrames, Serving};
use framefleet_native::ffmpeg::limits::Limits;
use std::sync::Arc;

/// What every step works on.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    pub request: &'a Request,
    pub folder: &'a JobFolder,
    /// Opened from what the folder holds: [`Places::open`].
    pub video: &'a Video,
}

/// What a job needs in one process that does not change its result.
#[derive(Debug, Clone, Copy)]
pub struct Workplace<'a> {
    pub volume: &'a Volume,
    /// Where videos may come from.
    pub places: &'a Places,
    /// The source's URL, of whoever submits the job; the others find it in the job's folder.
    pub source_url: Option<&'a SourceUrl>,
    /// The model, which is in the results already.
    pub serving: &'a Arc<Serving>,
    pub pool: &'a InferencePool,
    /// Takes pictures for the next version to be compared on.
    pub recorded: Option<&'a RecordedFrames>,
    /// Least length of a segment.
    pub segment_seconds: f64,
    pub limits: Limits,
    pub progress: &'a Display,
    pub stop: &'a Stop,
}

/// How a job stands after [`run`].
#[derive(Debug)]
pub struct Finished {
    pub folder: JobFolder,
    pub outcome: Outcome,
    /// Whether it had ended before, so that nothing was done.
    pub was_finished: bool,
}

/// Takes the job on and brings it to its end. An error that can never go away ends it `failed`; after any other error
/// the job stays open, and the same call goes on with it.
///
/// # Errors
/// Whatever keeps the job from an outcome: a conflict with another request, a full volume, a signal.
pub fn run(request: &Request, workplace: &Workplace<'_>) -> Result<Finished> {
    let Accepted { folder, outcome } = accept(workplace.volume, request, workplace.source_url)?;
    if let Some(outcome) = outcome {
        return Ok(Finished { folder, outcome, was_finished: true });
    }
    let video = workplace.places.open(request, &folder)?;
    let job = Job { request, folder: &folder, video: &video };
    let outcome = match work(job, workplace) {
        Ok(outcome) => outcome,
        Err(error) if error.disposition() == Disposition::DeadLetter => fail(&folder, &request.job_id, None, &error)?,
        Err(error) => return Err(error),
    };
    Ok(Finished { folder, outcome, was_finished: false })
}

/// Detects the segments that are missing, and concludes. A plan that turns out not to give what the whole video gives is
/// replaced by the next one.
fn work(job: Job<'_>, workplace: &Workplace<'_>) -> Result<Outcome> {
    let &Workplace { serving, pool, recorded, segment_seconds, limits, progress, stop, .. } = workplace;
    let class_names = &serving.checked().model.manifest.classes;
    let detecting = Detecting { pool, serving, recorded, limits, progress, stop };
    let begun = DoneHere::beginning_now(pool.threads());
    let mut plan = plan(job, &Planning { segment_seconds, limits, stop })?;
    loop {
        let segments = job.folder.missing_segments(&plan)?;
        let detected = match detect(job, &plan, &segments, &detecting) {
            Ok(detected) => detected,
            Err(JobError::PlanRefuted { reason }) => {
                plan = next_plan(job, &plan, reason)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let here = DoneHere { segments, detected, ..begun };
        match conclude(job, &plan, here, &Concluding { class_names, limits, progress, stop })? {
            Concluded::Ended(outcome) => return Ok(outcome),
            Concluded::Refuted(next) => plan = next,
        }
    }
}

/// The code of a failed outcome.
pub fn failure(outcome: &Outcome) -> Option<(ErrorCode, &str)> {
    outcome.error.as_ref().map(|failure| (failure.code, failure.message.as_str()))
}
