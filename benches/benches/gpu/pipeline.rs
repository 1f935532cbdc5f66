//! The pipeline: as many jobs at once as there are sources, which share the device's one thread. Each decodes, infers and
//! writes its segments; probing comes before the clock starts, and tracking after it has stopped.

use crate::Failure;
use crate::card::Card;
use crate::counts;
use crate::infer::{beside_the_model, thresholds};
use crate::window::{self, Window};
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::plan::Plan;
use framefleet_contract::request::{ModelRef, Outputs, Request, Settings, Source};
use framefleet_contract::tracker_settings::ByteTrackSettings;
use framefleet_contract::volume::Volume;
use framefleet_fetch::AddressRules;
use framefleet_models::{Serving, Thresholds};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_worker::infer::{InferencePool, OnDevice};
use framefleet_worker::interrupt::Stop;
use framefleet_worker::job::{self, Accepted, Job, Planning};
use framefleet_worker::pipeline::{self, Detected, Detection};
use framefleet_worker::progress::{Display, Progress};
use framefleet_worker::source::{self, Places, Roots, Video};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

/// What all sources together came to.
#[derive(Debug)]
pub struct Run {
    pub window: Window,
    /// Of the device's time, the share before and after the model.
    pub beside_the_model: f64,
    /// Of the frames, the share that NVDEC did not decode: 0, or the measurement is of something else.
    pub software_share: f64,
    /// How often there was a batch of so many frames.
    pub batches: BTreeMap<u32, u64>,
}

/// A job that is planned.
struct Planned {
    folder: JobFolder,
    video: Video,
    plan: Plan,
}

/// Longer than any clip: a source is one segment, and opens one decoder.
const SEGMENT_S: f64 = 1e6;

pub fn run(card: &Card, serving: &Arc<Serving>, video: &Path, sources: usize, frames: u64) -> Result<Run, Failure> {
    let results = tempfile::tempdir()?;
    let volume = Volume::open(results.path())?;
    let jobs = (0..sources).map(|source| planned(&volume, serving, video, source)).collect::<Result<Vec<_>, _>>()?;
    let pool =
        InferencePool::on_device(OnDevice { device: Arc::clone(&card.device), hardware: card.hardware.clone() })?;
    serving.warm(1, None)?;
    counts::reset();
    let thresholds = &thresholds(serving);
    let detect = |job: &Planned| detect(serving, &pool, job, thresholds);
    let all = || {
        thread::scope(|scope| {
            let calls: Vec<_> = jobs.iter().map(|job| scope.spawn(|| detect(job))).collect();
            calls.into_iter().map(|call| call.join().map_err(|_| "a source panicked")?).collect::<Result<Vec<_>, _>>()
        })
    };
    let (detected, window) = window::over(card, frames * sources as u64, &counts::inferred, all)?;
    let parts = detected.iter().filter_map(|detected| detected.infer_parts);
    let [preprocess, model, postprocess] = parts.fold([0.0; 3], |sum, parts| {
        [sum[0] + parts.preprocess_s, sum[1] + parts.model_s, sum[2] + parts.postprocess_s]
    });
    Ok(Run {
        window,
        beside_the_model: beside_the_model(preprocess, model, postprocess),
        software_share: counts::software_share(),
        batches: counts::batches(),
    })
}

fn planned(volume: &Volume, serving: &Serving, video: &Path, source: usize) -> Result<Planned, Failure> {
    let model = &serving.checked().model;
    let defaults = &model.manifest.defaults;
    let tracker = ByteTrackSettings::default();
    let settings = Settings { confidence: defaults.confidence, iou: defaults.iou, every: 1, classes: None, tracker };
    let model = ModelRef { name: model.name.clone(), sha256: model.sha256.clone() };
    let id = JobId::new(format!("source-{source}"))?;
    let file = Source::File(source::identify(video)?);
    let request = Request::new(Some(id), file, model, settings, Outputs::default());
    let Accepted { folder, .. } = job::accept(volume, &request, None)?;
    let limits = Limits::default();
    let video = Places::new(Roots::default(), AddressRules::default(), limits).open(&request, &folder)?;
    let job = Job { request: &request, folder: &folder, video: &video };
    let plan = job::plan(job, &Planning { segment_seconds: SEGMENT_S, limits, stop: &Stop::default() })?;
    Ok(Planned { folder, video, plan })
}

fn detect(
    serving: &Arc<Serving>,
    pool: &InferencePool,
    job: &Planned,
    thresholds: &Thresholds,
) -> Result<Detected, Failure> {
    let work = Detection {
        video: job.video.origin(),
        limits: Limits::default(),
        plan: &job.plan,
        folder: &job.folder,
        segments: &job.plan.segments,
        serving,
        thresholds,
        recorded: None,
        every: 1,
    };
    let progress = Progress::new(&Display::Hidden, "detecting", "a source", 0);
    Ok(pipeline::detect(&work, pool, &progress, &Stop::default())?)
}
