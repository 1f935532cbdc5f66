//! The last step: from published segments to the job's outcome. Needs no model but the names of its classes.

use super::{Job, next_plan};
use crate::error::{JobError, Result};
use crate::finish::{self, Tracking};
use crate::interrupt::Stop;
use crate::pipeline::Detected;
use crate::progress::{Display, Progress};
use crate::render::{self, Rendering};
use crate::summarise;
use framefleet_contract::detection_file::SegmentInfo;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::{ANNOTATED, JobFolder, SUMMARY, TRACKS};
use framefleet_contract::outcome::{Failure, Outcome, PublishedFile, State};
use framefleet_contract::plan::{Plan, Segment};
use framefleet_contract::request::{Request, VERSION};
use framefleet_native::ffmpeg::limits::Limits;
use std::time::{Instant, SystemTime};

/// What concluding needs that does not change a job's result.
#[derive(Debug, Clone, Copy)]
pub struct Concluding<'a> {
    /// As the model that the job was planned with has them.
    pub class_names: &'a [String],
    pub limits: Limits,
    pub progress: &'a Display,
    pub stop: &'a Stop,
}

/// What this process did for the job, for the summary: speeds are of one process.
#[derive(Debug)]
pub struct DoneHere {
    /// When it took the job up.
    pub started: SystemTime,
    pub clock: Instant,
    /// The segments that it detected; none where other workers did.
    pub segments: Vec<Segment>,
    pub detected: Detected,
    /// Inference threads that it has.
    pub threads: u32,
}

/// How a job stands when all segments of a plan are published.
#[derive(Debug)]
pub enum Concluded {
    /// It has ended, with the outcome that counts.
    Ended(Outcome),
    /// What came out of the segments does not fit together: this plan takes the place of theirs.
    Refuted(Plan),
}

impl DoneHere {
    /// Nothing so far.
    pub fn beginning_now(threads: u32) -> Self {
        let (started, clock) = (SystemTime::now(), Instant::now());
        Self { started, clock, segments: Vec::new(), detected: Detected::default(), threads }
    }
}

/// Tracks over all segments of the plan, which must be published, draws where that is asked for, and ends the job.
///
/// # Errors
/// One that can never go away is for [`fail`]; after any other the same call goes on.
pub fn conclude(job: Job<'_>, plan: &Plan, here: DoneHere, how: &Concluding<'_>) -> Result<Concluded> {
    let Job { request, folder, .. } = job;
    let infos = infos(folder, plan)?;
    if let Some(reason) = finish::refuted_cut(&infos) {
        return next_plan(job, plan, reason).map(Concluded::Refuted);
    }
    refuse_mostly_damaged(request, plan, &infos)?;

    let DoneHere { started, clock, segments, detected, threads } = here;
    let Detected { mut stages, infer_parts, first_detection, .. } = detected;
    let tracking = Instant::now();
    if !folder.has(TRACKS)? {
        let tracked = Tracking { request, plan, folder, class_names: how.class_names };
        finish::track(&tracked, &infos, how.stop)?;
    }
    let counts = finish::count(folder, how.class_names)?;
    stages.insert("track".to_owned(), summarise::alone(tracking));
    let seconds = clock.elapsed().as_secs_f64();
    if request.outputs.annotated && !folder.has(ANNOTATED)? {
        let drawing = Instant::now();
        draw(job, plan, how)?;
        stages.insert("draw".to_owned(), summarise::alone(drawing));
    }
    let summary = summarise::Facts {
        request,
        plan,
        infos: &infos,
        counts: &counts,
        missing: &segments,
        stages,
        infer_parts,
        started,
        seconds,
        threads,
        first_detection_s: first_detection.map(|at| at.duration_since(clock).as_secs_f64()),
    };
    folder.put_summary(&summary.into_summary())?;
    Ok(Concluded::Ended(folder.put_outcome(&succeeded(job)?)?))
}

/// Ends the job as failed, with what it has by then: a video that cannot be drawn still has its tracks. Gives the outcome
/// that counts.
pub fn fail(folder: &JobFolder, job_id: &JobId, request_sha256: Option<Sha256>, error: &JobError) -> Result<Outcome> {
    let tracks = if folder.has(TRACKS)? { Some(tracks_file(folder)?) } else { None };
    let failure = Failure { code: error.code(), message: error.to_string().chars().take(LONGEST_MESSAGE).collect() };
    let outcome = Outcome {
        version: VERSION,
        job_id: job_id.clone(),
        state: State::Failed,
        error: Some(failure),
        files: tracks.into_iter().collect(),
        request_sha256,
    };
    Ok(folder.put_outcome(&outcome)?)
}

/// # Errors
/// A segment with more frames than its video can have: whatever follows would not end.
fn infos(folder: &JobFolder, plan: &Plan) -> Result<Vec<SegmentInfo>> {
    let most_frames = plan.video.packets.saturating_mul(MOST_FRAMES_OF_A_PACKET);
    let info = |segment: &Segment| {
        let info = folder.segment_info(segment.index)?;
        let fits = info.decoded <= most_frames && u64::try_from(info.end_frame).is_ok_and(|end| end <= most_frames);
        if fits {
            Ok(info)
        } else {
            Err(folder.damaged_segment(segment.index, "it has more frames than the video").into())
        }
    };
    plan.segments.iter().map(info).collect()
}

/// It names a file, and perhaps what FFmpeg said.
const LONGEST_MESSAGE: usize = 8000;

/// One, where the demuxer parts the stream rightly.
const MOST_FRAMES_OF_A_PACKET: u64 = 4;

/// More than half of the packets, or nothing to look at: whatever came out of it is no result.
fn refuse_mostly_damaged(request: &Request, plan: &Plan, infos: &[SegmentInfo]) -> Result<()> {
    let decoded: u64 = infos.iter().map(|info| info.decoded).sum();
    let damaged: u64 = infos.iter().map(|info| info.damaged).sum();
    let packets = plan.video.packets;
    if decoded == 0 || damaged * 2 > packets {
        let path = request.source.shown().to_owned();
        return Err(JobError::TooDamaged { path, damaged: damaged.max(packets - decoded.min(packets)), packets });
    }
    Ok(())
}

fn draw(job: Job<'_>, plan: &Plan, how: &Concluding<'_>) -> Result<()> {
    let Job { request, folder, video } = job;
    let name = request.source.name();
    let progress = Progress::new(how.progress, "drawing", &name, plan.video.packets);
    let rendering = Rendering {
        video: video.origin(),
        limits: how.limits,
        plan,
        folder,
        class_names: how.class_names,
        every: request.settings.every,
    };
    render::render(&rendering, &progress, how.stop)
}

fn succeeded(job: Job<'_>) -> Result<Outcome> {
    let Job { request, folder, .. } = job;
    let mut files = vec![tracks_file(folder)?, folder.published(SUMMARY, None)?];
    if request.outputs.annotated {
        files.push(folder.published(ANNOTATED, None)?);
    }
    Ok(Outcome {
        version: VERSION,
        job_id: request.job_id.clone(),
        state: State::Succeeded,
        error: None,
        files,
        request_sha256: request_sha256(request),
    })
}

/// Of what a client sent to a fleet.
fn request_sha256(request: &Request) -> Option<Sha256> {
    request.submitted.as_ref().map(|submitted| submitted.sha256.clone())
}

fn tracks_file(folder: &JobFolder) -> Result<PublishedFile> {
    let mut rows = 0;
    for batch in folder.track_rows()? {
        rows += batch?.len() as u64;
    }
    Ok(folder.published(TRACKS, Some(rows))?)
}
