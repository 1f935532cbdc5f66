//! The first step: a job is taken on, and its video is cut into segments.

use super::Job;
use crate::error::Result;
use crate::interrupt::Stop;
use crate::probe::probe;
use crate::segment;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::outcome::Outcome;
use framefleet_contract::plan::Plan;
use framefleet_contract::request::Request;
use framefleet_contract::source_url::SourceUrl;
use framefleet_contract::volume::{Put, Volume};
use framefleet_models::store;
use framefleet_native::ffmpeg::limits::Limits;

/// A job that has its folder.
#[derive(Debug)]
pub struct Accepted {
    pub folder: JobFolder,
    /// How it ended before, checked against what is there: nothing is left to do.
    pub outcome: Option<Outcome>,
}

/// What planning needs that does not change a job's result.
#[derive(Debug, Clone, Copy)]
pub struct Planning<'a> {
    /// Least length of a segment.
    pub segment_seconds: f64,
    pub limits: Limits,
    pub stop: &'a Stop,
}

/// Takes the job on. `url` is the source's, of whoever submits it; the others find it in the folder.
///
/// # Errors
/// A conflict with another request of the same id, or a result that is not as it was published.
pub fn accept(volume: &Volume, request: &Request, url: Option<&SourceUrl>) -> Result<Accepted> {
    let folder = JobFolder::new(volume, &request.job_id);
    let accepted = folder.accept(request)?;
    if let Some(url) = url {
        folder.put_source_url(url)?;
    }
    store::sweep(volume, &request.model.sha256)?;
    let outcome = folder.outcome()?;
    if let Some(outcome) = &outcome {
        folder.verify(outcome)?;
    } else if accepted == Put::AlreadyThere {
        tracing::info!(job = %request.job_id, "taking up an unfinished job");
    }
    Ok(Accepted { folder, outcome })
}

/// The stored plan, or a new one.
pub fn plan(job: Job<'_>, how: &Planning<'_>) -> Result<Plan> {
    let Job { request, folder, video } = job;
    if let Some(plan) = folder.plan()? {
        return Ok(plan);
    }
    let probe = folder.put_packets(|push| {
        let probe = probe(video.origin(), how.limits, how.stop, push)?;
        video.check_unchanged().map(|()| probe)
    })?;
    let plan = segment::plan(&probe, &request.model, how.segment_seconds);
    Ok(folder.put_plan(&plan)?)
}

/// The plan that takes the place of a refuted one.
pub fn next_plan(job: Job<'_>, refuted: &Plan, because: String) -> Result<Plan> {
    tracing::info!(job = %job.request.job_id, "decoding the whole video in order: {because}");
    Ok(job.folder.put_next_plan(&refuted.next(because))?)
}
