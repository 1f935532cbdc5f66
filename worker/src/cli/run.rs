//! `framefleet run`: detects and tracks in videos on this machine.

use super::chosen_model::{ChosenModel, Wish};
use super::device_flags::DeviceFlags;
use super::limits::LimitFlags;
use super::setting_flags::SettingFlags;
use super::{DONE, FAILED, INTERRUPTED, MISTAKE, print_error, say, status_before_job, status_of_end};
use crate::device;
use crate::error::{JobError, Result};
use crate::infer::{InferencePool, UnderWay};
use crate::interrupt::Stop;
use crate::job::{self, Finished, Workplace};
use crate::progress::Display;
use crate::report;
use crate::source::{Given, Places};
use crate::watchdog::Watchdog;
use clap::Args;
use framefleet_contract::ErrorCode;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::{ANNOTATED, TRACKS};
use framefleet_contract::outcome::{Failure, State};
use framefleet_contract::request::{ModelRef, Outputs, Request};
use framefleet_contract::volume::Volume;
use framefleet_models::Model;
use framefleet_native::process::end_process;
use metrics_exporter_prometheus::PrometheusHandle;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Detects and tracks objects in videos, and writes a folder of results for each.
///
/// Results are in OUT/jobs/ID/: tracks.parquet (every detection with its track), summary.json, outcome.json and,
/// with --annotate, annotated.mp4. Running the same command again does nothing for a job that is done, and goes on
/// with one that was cut off.
#[derive(Debug, Args)]
pub struct Run {
    /// Video files, or http:// and https:// URLs of servers that give parts of a file (range requests). A URL may have a
    /// user and a password, or a signature, which are shown nowhere. H.264, HEVC, VP9, AV1, MPEG-4, MPEG-2 or MJPEG in MP4, MOV, MKV, WebM, AVI or TS
    #[arg(required = true, value_name = "VIDEO")]
    videos: Vec<OsString>,

    /// A model of the model directory by its name, or the path of an .onnx file. NAME is the version that is pinned, or
    /// else the newest that is ready when a video begins; NAME@VERSION and a path stay what they are. May be left out
    /// where the directory holds just one
    #[arg(long, value_name = "NAME[@VERSION]|PATH")]
    model: Option<String>,

    /// The model directory: NAME.onnx, or NAME/VERSION/model.onnx
    #[arg(long, value_name = "DIR", env = "FRAMEFLEET_MODELS", default_value = "models/catalog")]
    models: PathBuf,

    /// Where results go. Needs a file system with hard links
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,

    /// Also make annotated.mp4: the video with boxes, names, track ids and trails
    #[arg(long)]
    annotate: bool,

    #[command(flatten)]
    settings: SettingFlags,

    /// Cut long videos into segments of at least this many seconds; what is finished survives a crash. Changes no result. What cannot be cut safely, and what is damaged, is one segment
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = positive)]
    segment_seconds: f64,

    /// The job's id, for one video: letters, digits, '.', '_' and '-'. Otherwise it follows from the video, the model
    /// and the settings
    #[arg(long, value_name = "ID")]
    job_id: Option<String>,

    #[command(flatten)]
    device: DeviceFlags,

    /// On the CPU: inference threads; all cores when left out. Changes no result
    #[arg(long, value_name = "N", value_parser = thread_count)]
    threads: Option<u32>,

    /// Print one line of JSON for each video to stdout, instead of progress and tables
    #[arg(long)]
    json: bool,

    /// Write the program's metrics in Prometheus' text format to this file at the end
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,

    // Last, since its heading holds for all that follow.
    #[command(flatten)]
    limits: LimitFlags,
}

impl Run {
    /// Runs the jobs one after the other and gives the exit status: the worst of them.
    pub fn execute(&self) -> u8 {
        let recorder = self.metrics.as_ref().map(|_| crate::metrics::recorder()?.install_recorder());
        crate::metrics::describe();
        framefleet_models::metrics::describe();
        let status = match self.prepare() {
            Ok(prepared) => self.run_jobs(prepared),
            Err(error) => {
                print_error(error.code(), &error.to_string());
                return status_before_job(&error);
            }
        };
        match recorder {
            Some(Ok(metrics)) => status.max(self.write_metrics(&metrics)),
            Some(Err(e)) => {
                print_error(ErrorCode::Internal, &format!("metrics cannot be recorded: {e}"));
                FAILED
            }
            None => status,
        }
    }

    /// Everything that can be wrong with the call is found here, before any job begins.
    fn prepare(&self) -> Result<Prepared> {
        let stop = Stop::on_signals().map_err(|e| JobError::BadRequest(format!("signals cannot be handled: {e}")))?;
        let job_id = self.job_id()?;
        self.check_metrics_path()?;
        let places = self.limits.places()?;
        let sources = self.videos.iter().map(|video| places.identify(video)).collect::<Result<Vec<_>>>()?;
        let settled = device::settle(self.device.device, self.device.gpu())?;
        let results = Volume::assume(&self.out)?;
        let cores = || std::thread::available_parallelism().map_or(1, |cores| (cores.get() as u32).min(MOST_THREADS));
        let threads = self.threads.unwrap_or_else(cores);
        let wish = Wish {
            model: self.model.as_deref(),
            directory: &self.models,
            results: &results,
            threads: threads as usize,
        };
        let model = ChosenModel::new(wish, &settled.runtime, &stop)?;
        let pool = settled.pool(threads as usize)?;
        let mut prepared = Prepared { sources, places, job_id, volume: results, model, pool, stop };
        if let Some(given) = prepared.sources.first() {
            self.request(given, prepared.job_id.as_ref(), &prepared.model.serving().checked().model)?;
        }
        // Last, so that a call which is mistaken makes no folder.
        prepared.volume = Volume::open(&self.out)?;
        let threads = prepared.pool.threads();
        tracing::info!(threads, device = settled.device(), runtime = settled.runtime.version(), "ready");
        Ok(prepared)
    }

    /// What is asked of a video, if the model can do it.
    fn request(&self, given: &Given, job_id: Option<&JobId>, model: &Model) -> Result<Request> {
        let settings = job::settings(&self.settings.asked(), &model.manifest.defaults)?;
        let model_ref = ModelRef { name: model.name.clone(), sha256: model.sha256.clone() };
        let outputs = Outputs { annotated: self.annotate };
        let request = Request::new(job_id.cloned(), given.source.clone(), model_ref, settings, outputs);
        job::check_classes(&request, &model.manifest)?;
        Ok(request)
    }

    fn job_id(&self) -> Result<Option<JobId>> {
        if self.job_id.is_some() && self.videos.len() > 1 {
            return Err(JobError::BadRequest("--job-id names one job; give one video, or leave it out".to_owned()));
        }
        self.job_id.as_ref().map(JobId::new).transpose().map_err(|e| JobError::BadRequest(e.to_string()))
    }

    fn run_jobs(&self, mut prepared: Prepared) -> u8 {
        let mut status = DONE;
        for given in std::mem::take(&mut prepared.sources) {
            status = status.max(self.run_job(&given, &mut prepared));
            if prepared.stop.is_asked() {
                break;
            }
        }
        status
    }

    /// Runs the job of one video and gives its exit status.
    fn run_job(&self, given: &Given, prepared: &mut Prepared) -> u8 {
        let request = match self.ready(given, prepared) {
            Ok(request) => request,
            Err(error) => {
                print_error(error.code(), &format!("{}: {error}", given.source.name()));
                if self.json {
                    let failure = Failure { code: error.code(), message: error.to_string() };
                    say(&serde_json::json!({ "source": given.source.shown(), "error": failure }).to_string());
                }
                return status_of(&error);
            }
        };
        let recorded = prepared.model.recorded_frames();
        let workplace = Workplace {
            volume: &prepared.volume,
            places: &prepared.places,
            source_url: given.url.as_ref(),
            serving: prepared.model.serving(),
            pool: &prepared.pool,
            recorded: recorded.as_ref(),
            segment_seconds: self.segment_seconds,
            limits: self.limits.limits(),
            progress: if self.json { &Display::Hidden } else { &Display::Visible },
            stop: &prepared.stop,
        };
        let _watchdog = self.watch(&request, prepared.pool.under_way());
        let result = job::run(&request, &workplace).and_then(|finished| self.tell(&request, &finished));
        result.unwrap_or_else(|error| {
            self.tell_error(&request, &error);
            status_of(&error)
        })
    }

    /// Turns to the model that the video is looked at with, and gives what is asked of it.
    fn ready(&self, given: &Given, prepared: &mut Prepared) -> Result<Request> {
        let Prepared { model, job_id, stop, .. } = prepared;
        let request = |model: &Model| self.request(given, job_id.as_ref(), model);
        model.turn_to_newest(|newest| request(newest).map(|_| ()), stop)?;
        model.store(stop)?;
        request(&model.serving().checked().model)
    }

    /// Prints how the job stands, and gives its exit status.
    fn tell(&self, request: &Request, finished: &Finished) -> Result<u8> {
        let summary = finished.folder.summary()?;
        if self.json {
            let line = serde_json::json!({
                "job_id": request.job_id,
                "folder": finished.folder.path(),
                "source": request.source.shown(),
                "was_finished": finished.was_finished,
                "outcome": finished.outcome,
                "summary": summary,
            });
            say(&line.to_string());
        }
        if let Some((code, message)) = job::failure(&finished.outcome) {
            let before = finished.folder.path();
            let before = format!(" (it failed before; remove {} to try again)", from_here(&before).display());
            print_error(code, &format!("{message}{}", if finished.was_finished { &before } else { "" }));
        }
        if finished.outcome.state != State::Succeeded {
            return Ok(FAILED);
        }
        if let Some(summary) = summary.filter(|_| !self.json) {
            let again = if finished.was_finished { ": finished before, nothing to do" } else { "" };
            say(&format!("{}{again}\n", request.source.name()));
            say(&format!("{}\n", report::table(&summary)));
            say(&format!("  {}", from_here(&finished.folder.path_of(TRACKS)).display()));
            if request.outputs.annotated {
                say(&format!("  {}", from_here(&finished.folder.path_of(ANNOTATED)).display()));
            }
        }
        Ok(DONE)
    }

    /// Ends the process when reading, decoding or a model does not come back, or the GPU is lost. The job stays open, and what is published stays.
    fn watch(&self, request: &Request, inference: UnderWay) -> Watchdog {
        let (request, json) = (request.clone(), self.json);
        let end = move |stall: JobError| {
            tell_open(&request, &stall, json);
            end_process(status_of_end(&stall).into())
        };
        Watchdog::start(self.limits.limits().stall_s, inference, end)
    }

    /// A job without an outcome: it stays open, or is somebody else's.
    fn tell_error(&self, request: &Request, error: &JobError) {
        tell_open(request, error, self.json);
    }

    /// What cannot be written at the end is said before hours of work.
    fn check_metrics_path(&self) -> Result<()> {
        let Some(path) = &self.metrics else { return Ok(()) };
        let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
        opened.map(|_| ()).map_err(|e| {
            JobError::BadRequest(format!("--metrics {} cannot be written: {e}; choose another file", path.display()))
        })
    }

    fn write_metrics(&self, metrics: &PrometheusHandle) -> u8 {
        let Some(path) = &self.metrics else { return DONE };
        match std::fs::write(path, metrics.render()) {
            Ok(()) => DONE,
            Err(e) => {
                print_error(ErrorCode::BadRequest, &format!("{} cannot be written: {e}", path.display()));
                FAILED
            }
        }
    }
}

/// What all jobs of a call share.
struct Prepared {
    sources: Vec<Given>,
    places: Places,
    job_id: Option<JobId>,
    volume: Volume,
    model: ChosenModel,
    pool: InferencePool,
    stop: Stop,
}

fn tell_open(request: &Request, error: &JobError, json: bool) {
    print_error(error.code(), &error.to_string());
    if json {
        let failure = Failure { code: error.code(), message: error.to_string() };
        say(&serde_json::json!({ "job_id": request.job_id, "source": request.source.shown(), "error": failure })
            .to_string());
    }
}

/// An error of a job that has no outcome.
fn status_of(error: &JobError) -> u8 {
    match error.code() {
        ErrorCode::Interrupted => INTERRUPTED,
        ErrorCode::JobConflict => MISTAKE,
        _ => FAILED,
    }
}

/// The path as one would type it here.
fn from_here(path: &Path) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

fn thread_count(text: &str) -> std::result::Result<u32, String> {
    match text.parse() {
        Ok(value) if (1..=MOST_THREADS).contains(&value) => Ok(value),
        _ => Err(format!("take a whole number from 1 to {MOST_THREADS}")),
    }
}

/// Each has a session of its own, of tens of MiB.
const MOST_THREADS: u32 = 256;

fn positive(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("take a number greater than 0".to_owned()),
    }
}
