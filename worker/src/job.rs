//! One job from its request to its outcome, each step skipped that an earlier process has done.

use crate::error::{JobError, Result};
use crate::finish::{self, Tracking};
use crate::interrupt::Stop;
use crate::pipeline::{self, Detected, Detection};
use crate::probe::probe;
use crate::progress::{Display, Progress};
use crate::render::{self, Rendering};
use crate::source::{Places, Video};
use crate::{segment, summarise};
use framefleet_contract::detection_file::SegmentInfo;
use framefleet_contract::job_folder::{ANNOTATED, JobFolder, SUMMARY, TRACKS};
use framefleet_contract::outcome::{Failure, Outcome, PublishedFile, State};
use framefleet_contract::plan::{Plan, Segment};
use framefleet_contract::request::{Request, VERSION};
use framefleet_contract::source_url::SourceUrl;
use framefleet_contract::volume::{Put, Volume};
use framefleet_contract::{Disposition, ErrorCode};
use framefleet_models::check::Checked;
use framefleet_models::{Lease, Manifest, Model, RecordedFrames, Thresholds, store};
use framefleet_native::ffmpeg::limits::Limits;
use std::time::{Instant, SystemTime};

/// What a job needs that does not change its result.
#[derive(Debug)]
pub struct Workplace<'a> {
    pub volume: &'a Volume,
    /// Where videos may come from.
    pub places: &'a Places,
    /// The source's URL, of whoever submits the job; the others find it in the job's folder.
    pub source_url: Option<&'a SourceUrl>,
    /// The model, which is in the results already, and what was seen when it was tried out.
    pub checked: &'a Checked,
    /// A session of it for each inference thread.
    pub detectors: &'a mut [Lease],
    /// Takes pictures for the next version to be compared on.
    pub recorded: Option<&'a RecordedFrames>,
    /// Least length of a segment.
    pub segment_seconds: f64,
    pub limits: Limits,
    pub progress: Display,
    pub stop: &'a Stop,
}

/// What every step works on.
#[derive(Debug, Clone, Copy)]
struct Job<'a> {
    request: &'a Request,
    folder: &'a JobFolder,
    video: &'a Video,
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
pub fn run(request: &Request, workplace: &mut Workplace<'_>) -> Result<Finished> {
    let folder = JobFolder::new(workplace.volume, &request.job_id);
    let accepted = folder.accept(request)?;
    if let Some(url) = workplace.source_url {
        folder.put_source_url(url)?;
    }
    store::sweep(workplace.volume, &workplace.checked.model.sha256)?;
    if let Some(outcome) = folder.outcome()? {
        folder.verify(&outcome)?;
        return Ok(Finished { folder, outcome, was_finished: true });
    }
    if accepted == Put::AlreadyThere {
        tracing::info!(job = %request.job_id, "taking up an unfinished job");
    }
    let video = workplace.places.open(request, &folder)?;
    let job = Job { request, folder: &folder, video: &video };
    let outcome = match work(job, workplace) {
        Ok(outcome) => outcome,
        Err(error) if error.disposition() == Disposition::DeadLetter => failed(request, &folder, &error)?,
        Err(error) => return Err(error),
    };
    let outcome = folder.put_outcome(&outcome)?;
    Ok(Finished { folder, outcome, was_finished: false })
}

/// With what the job has by then: a video that cannot be drawn still has its tracks.
fn failed(request: &Request, folder: &JobFolder, error: &JobError) -> Result<Outcome> {
    let tracks = if folder.has(TRACKS)? { Some(tracks_file(folder)?) } else { None };
    let failure = Failure { code: error.code(), message: error.to_string() };
    Ok(Outcome {
        version: VERSION,
        job_id: request.job_id.clone(),
        state: State::Failed,
        error: Some(failure),
        files: tracks.into_iter().collect(),
    })
}

fn tracks_file(folder: &JobFolder) -> Result<PublishedFile> {
    let mut rows = 0;
    for batch in folder.track_rows()? {
        rows += batch?.len() as u64;
    }
    Ok(folder.published(TRACKS, Some(rows))?)
}

fn work(job: Job<'_>, workplace: &mut Workplace<'_>) -> Result<Outcome> {
    let Job { request, folder, video } = job;
    let (started, clock) = (SystemTime::now(), Instant::now());
    let class_names = &workplace.checked.model.manifest.classes;
    let Segments { plan, missing, infos, detected } = detect(job, workplace)?;
    let Detected { mut stages, infer_parts, first_detection } = detected;
    refuse_mostly_damaged(request, &plan, &infos)?;
    let every = request.settings.every;

    let tracking = Instant::now();
    if !folder.has(TRACKS)? {
        finish::track(&Tracking { request, plan: &plan, folder, class_names }, &infos, workplace.stop)?;
    }
    let counts = finish::count(folder, class_names)?;
    stages.insert("track".to_owned(), summarise::alone(tracking));
    let seconds = clock.elapsed().as_secs_f64();

    if request.outputs.annotated && !folder.has(ANNOTATED)? {
        let drawing = Instant::now();
        let name = request.source.name();
        let progress = Progress::new(workplace.progress, "drawing", &name, plan.video.packets);
        let rendering =
            Rendering { video: video.origin(), limits: workplace.limits, plan: &plan, folder, class_names, every };
        render::render(&rendering, &progress, workplace.stop)?;
        stages.insert("draw".to_owned(), summarise::alone(drawing));
    }
    let summary = summarise::Facts {
        request,
        plan: &plan,
        infos: &infos,
        counts: &counts,
        missing: &missing,
        stages,
        infer_parts,
        started,
        seconds,
        threads: workplace.detectors.len() as u32,
        first_detection_s: first_detection.map(|at| at.duration_since(clock).as_secs_f64()),
    };
    folder.put_summary(&summary.into_summary())?;
    succeeded(request, folder)
}

/// All segments of a job, published.
struct Segments {
    plan: Plan,
    infos: Vec<SegmentInfo>,
    /// Those that this process detected.
    missing: Vec<Segment>,
    detected: Detected,
}

/// Detects the segments that are missing. A plan that turns out not to give what the whole video gives is replaced by
/// the next one.
fn detect(job: Job<'_>, workplace: &mut Workplace<'_>) -> Result<Segments> {
    let Job { request, folder, .. } = job;
    let mut plan = plan(job, workplace)?;
    loop {
        let refuted_because = match detect_missing(job, workplace, &plan) {
            Ok((missing, detected)) => {
                let infos = infos(folder, &plan)?;
                match finish::refuted_cut(&infos) {
                    None => return Ok(Segments { plan, infos, missing, detected }),
                    Some(reason) => reason,
                }
            }
            Err(JobError::PlanRefuted { reason }) => reason,
            Err(error) => return Err(error),
        };
        tracing::info!(job = %request.job_id, "decoding the whole video in order: {refuted_because}");
        plan = folder.put_next_plan(&plan.next(refuted_because))?;
    }
}

fn detect_missing(job: Job<'_>, workplace: &mut Workplace<'_>, plan: &Plan) -> Result<(Vec<Segment>, Detected)> {
    let Job { request, folder, video } = job;
    let missing = folder.missing_segments(plan)?;
    if missing.is_empty() {
        return Ok((missing, Detected::default()));
    }
    video.check_unchanged()?;
    let class_names = &workplace.checked.model.manifest.classes;
    let every = request.settings.every;
    let packets: u64 = missing.iter().map(|segment| segment.end - segment.start).sum();
    let name = request.source.name();
    let progress = Progress::new(workplace.progress, "detecting", &name, packets.div_ceil(every.into()));
    let detection = Detection {
        video: video.origin(),
        limits: workplace.limits,
        plan,
        folder,
        segments: &missing,
        class_names,
        recorded: workplace.recorded,
        thresholds: &thresholds(request, &workplace.checked.model.manifest)?,
        every,
    };
    let detected = pipeline::detect(&detection, workplace.detectors, &progress, workplace.stop)?;
    video.check_unchanged()?;
    Ok((missing, detected))
}

/// The stored plan, or a new one.
fn plan(job: Job<'_>, workplace: &Workplace<'_>) -> Result<Plan> {
    let Job { request, folder, video } = job;
    if let Some(plan) = folder.plan()? {
        return Ok(plan);
    }
    let probe = folder.put_packets(|push| {
        let probe = probe(video.origin(), workplace.limits, workplace.stop, push)?;
        video.check_unchanged().map(|()| probe)
    })?;
    let plan = segment::plan(&probe, &request.model, workplace.segment_seconds);
    Ok(folder.put_plan(&plan)?)
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

/// Fails for a class that the model does not have, before a job begins.
pub fn check_classes(request: &Request, model: &Model) -> Result<()> {
    thresholds(request, &model.manifest).map(|_| ())
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

fn succeeded(request: &Request, folder: &JobFolder) -> Result<Outcome> {
    let mut files = vec![tracks_file(folder)?, folder.published(SUMMARY, None)?];
    if request.outputs.annotated {
        files.push(folder.published(ANNOTATED, None)?);
    }
    Ok(Outcome { version: VERSION, job_id: request.job_id.clone(), state: State::Succeeded, error: None, files })
}

/// The code of a failed outcome.
pub fn failure(outcome: &Outcome) -> Option<(ErrorCode, &str)> {
    outcome.error.as_ref().map(|failure| (failure.code, failure.message.as_str()))
}
