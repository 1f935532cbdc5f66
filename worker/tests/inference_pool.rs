//! Several jobs and models at once on the threads of one pool.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "inference_pool/decoded_on_gpu.rs"]
mod decoded_on_gpu;
#[path = "inference_pool/on_device.rs"]
mod on_device;
#[path = "inference_pool/on_pretended_gpu.rs"]
mod on_pretended_gpu;
#[path = "inference_pool/pretended.rs"]
mod pretended;
#[path = "pretended_gpu/driver.rs"]
mod pretended_gpu;
#[path = "inference_pool/settled_on_gpu.rs"]
mod settled_on_gpu;

use framefleet_contract::job_folder::{JobFolder, TRACKS};
use framefleet_contract::request::{ModelRef, Outputs, Request, Settings, Source};
use framefleet_contract::tracker_settings::ByteTrackSettings;
use framefleet_contract::volume::Volume;
use framefleet_fetch::AddressRules;
use framefleet_models::check::{Checked, Report};
use framefleet_models::{Model, RecordedFrames, Runtime, Serving};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::pulse;
use framefleet_worker::error::{JobError, Result};
use framefleet_worker::infer::InferencePool;
use framefleet_worker::interrupt::Stop;
use framefleet_worker::job::{self, Finished, Workplace};
use framefleet_worker::pipeline::Detected;
use framefleet_worker::progress::Display;
use framefleet_worker::source::{self, Places, Roots};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Without one for the time of a packet.
fn limits() -> Limits {
    Limits { stall_s: 1e12, ..Limits::default() }
}

/// FFmpeg's options for a part of the sample that is soon looked through: 40 pictures, with something in each.
const SAMPLE: &str =
    concat!("-ss 4 -i ", env!("CARGO_MANIFEST_DIR"), "/../sample/street.mp4 -frames:v 40 -vf scale=320:180");
/// At least every 20 pictures a group begins, so that there are two segments in it.
const ENCODER: &str = "-c:v libx264 -threads 1 -g 20";
const SEGMENT_SECONDS: f64 = 0.8;

/// Two threads, and a folder of results.
struct Bench {
    root: TempDir,
    runtime: Runtime,
    pool: InferencePool,
    recorded: Option<RecordedFrames>,
}

impl Bench {
    fn new() -> Self {
        let runtime = Runtime::load().expect("./dev setup installs ONNX Runtime");
        Self { root: tempfile::tempdir().unwrap(), runtime, pool: InferencePool::start(2).unwrap(), recorded: None }
    }

    /// A model that was not tried out, so that it may be one that fails.
    fn serving(&self, onnx: &str) -> Arc<Serving> {
        let model = Model::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(onnx)).unwrap();
        let report = Report::untried(&model);
        Arc::new(Serving::new(&self.runtime, Checked { model, report }, None))
    }

    fn street(&self) -> Arc<Serving> {
        self.serving("models/catalog/street.onnx")
    }

    /// The part of the sample so many times over.
    fn video(&self, times: u32) -> PathBuf {
        let [once, video] = ["once".to_owned(), times.to_string()].map(|name| self.root.path().join(name + ".mp4"));
        let ffmpeg = |arguments: String| {
            let mut ffmpeg = Command::new("ffmpeg");
            ffmpeg.args(["-nostdin", "-v", "error", "-y"]).args(arguments.split(' '));
            assert!(ffmpeg.status().unwrap().success(), "{ffmpeg:?}");
        };
        ffmpeg(format!("{SAMPLE} {ENCODER} {}", once.display()));
        ffmpeg(format!("-stream_loop {} -i {} -c copy {}", times - 1, once.display(), video.display()));
        video
    }

    fn volume(&self, results: &str) -> Volume {
        Volume::open(&self.root.path().join(results)).unwrap()
    }

    /// A whole job.
    fn run(&self, results: &str, video: &Path, serving: &Arc<Serving>, stop: &Stop) -> Result<Finished> {
        let workplace = Workplace {
            volume: &self.volume(results),
            places: &places(),
            source_url: None,
            serving,
            pool: &self.pool,
            recorded: self.recorded.as_ref(),
            segment_seconds: SEGMENT_SECONDS,
            limits: limits(),
            progress: &Display::Hidden,
            stop,
        };
        job::run(&request(video, serving), &workplace)
    }

    /// The tracks of three jobs on one video.
    fn three_at_once(&self, video: &Path, serving: &Arc<Serving>) -> [Vec<u8>; 3] {
        thread::scope(|scope| {
            let jobs = ["a", "b", "c"]
                .map(|name| scope.spawn(move || tracks(&self.run(name, video, serving, &Stop::default()).unwrap())));
            jobs.map(|job| job.join().unwrap())
        })
    }

    fn assert_two_models_do_not_disturb_each_other(&self, video: &Path) {
        let models = [self.street(), self.serving("models/tests/graphs/v8.onnx")];
        let run = |results, model| tracks(&self.run(results, video, model, &Stop::default()).unwrap());
        let alone = models.each_ref().map(|model| run("alone", model));
        let together = thread::scope(|scope| {
            let jobs = models.each_ref().map(|model| scope.spawn(move || run("together", model)));
            jobs.map(|job| job.join().unwrap())
        });
        assert!(alone == together && alone[0] != alone[1]);
    }
}

fn places() -> Places {
    Places::new(Roots::default(), AddressRules::default(), limits())
}

fn request(video: &Path, serving: &Serving) -> Request {
    let tracker = ByteTrackSettings::default();
    let settings = Settings { confidence: 0.1, iou: 0.6, every: 1, classes: None, tracker };
    let model = &serving.checked().model;
    let model_ref = ModelRef { name: model.name.clone(), sha256: model.sha256.clone() };
    let source = Source::File(source::identify(video).unwrap());
    Request::new(None, source, model_ref, settings, Outputs::default())
}

fn tracks(finished: &Finished) -> Vec<u8> {
    std::fs::read(finished.folder.path_of(TRACKS)).unwrap()
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !condition() {
        assert!(Instant::now() < deadline, "{what} did not come to be");
        thread::yield_now();
    }
}

/// The steps one by one, as somebody takes them who detects some segments of a job.
struct Opened {
    request: Request,
    folder: JobFolder,
}

impl Opened {
    fn new(bench: &Bench, results: &str, video: &Path, serving: &Serving) -> Self {
        let request = request(video, serving);
        let folder = job::accept(&bench.volume(results), &request, None).unwrap().folder;
        Self { request, folder }
    }

    fn detect(&self, bench: &Bench, serving: &Arc<Serving>, segment_seconds: f64, stop: &Stop) -> Result<Detected> {
        let limits = limits();
        let video = &places().open(&self.request, &self.folder)?;
        let job = job::Job { request: &self.request, folder: &self.folder, video };
        let plan = job::plan(job, &job::Planning { segment_seconds, limits, stop })?;
        let missing = self.folder.missing_segments(&plan)?;
        let progress = &Display::Hidden;
        let how = job::Detecting { pool: &bench.pool, serving, recorded: None, limits, progress, stop };
        job::detect(job, &plan, &missing, &how)
    }
}

/// Does something while a call detects in a long video, as soon as it has its first segment. Gives how the call ended.
fn beside_a_long_call(
    bench: &Bench,
    serving: &Arc<Serving>,
    process: &Stop,
    beside: impl FnOnce(&Stop, &dyn Fn() -> bool),
) -> Result<Detected> {
    let opened = Opened::new(bench, "long", &bench.video(40), serving);
    let call = process.for_stages();
    thread::scope(|scope| {
        let running = scope.spawn(|| opened.detect(bench, serving, 1.0, &call));
        until("a segment", || opened.folder.has("segments/00000.parquet").unwrap());
        beside(&call, &|| running.is_finished());
        running.join().unwrap()
    })
}

#[test]
fn two_models_at_once_give_the_bytes_that_they_give_one_after_the_other() {
    let bench = Bench::new();
    bench.assert_two_models_do_not_disturb_each_other(&bench.video(2));
}

#[test]
fn a_model_that_fails_fails_its_own_job_alone() {
    let bench = Bench::new();
    let video = bench.video(2);
    let (street, lies) = (bench.street(), bench.serving("models/tests/graphs/v8_lies.onnx"));
    let stop = Stop::default();
    thread::scope(|scope| {
        let sound = scope.spawn(|| bench.run("sound", &video, &street, &stop));
        let opened = Opened::new(&bench, "failing", &video, &lies);
        let error = opened.detect(&bench, &lies, 1000.0, &stop).unwrap_err();
        assert!(matches!(error, JobError::Model(_)), "{error:?}");
        assert!(sound.join().unwrap().unwrap().outcome.error.is_none());
    });
    assert!(bench.run("after", &video, &street, &stop).is_ok(), "the threads go on");
}

#[test]
fn who_stops_a_call_stops_no_other() {
    let bench = Bench::new();
    let (street, short) = (bench.street(), bench.video(2));
    let process = Stop::default();
    let stopped = beside_a_long_call(&bench, &street, &process, |call, _| {
        thread::scope(|scope| {
            let other = scope.spawn(|| bench.run("other", &short, &street, &process));
            call.fail();
            assert!(other.join().unwrap().unwrap().outcome.error.is_none());
        });
    });
    assert!(matches!(stopped, Err(JobError::Interrupted)));
}

/// A job of a twentieth of the frames ends while the other is under way.
#[test]
fn a_long_job_does_not_keep_a_short_one_waiting() {
    let bench = Bench::new();
    let (street, short) = (bench.street(), bench.video(2));
    let process = Stop::default();
    let stopped = beside_a_long_call(&bench, &street, &process, |call, is_finished| {
        assert!(bench.run("short", &short, &street, &process).unwrap().outcome.error.is_none());
        assert!(!is_finished(), "the short job waited for the long one");
        call.fail();
    });
    assert!(stopped.is_err());
}

#[test]
fn a_call_tells_the_frames_and_seconds_of_its_own_model() {
    let bench = Bench::new();
    let video = bench.video(1);
    let street = bench.street();
    let opened = Opened::new(&bench, "told", &video, &street);
    let began = Instant::now();
    let detected = opened.detect(&bench, &street, 1000.0, &Stop::default()).unwrap();
    let thread_seconds = 2.0 * began.elapsed().as_secs_f64();
    let infer = detected.stages["infer"];
    let parts = detected.infer_parts.unwrap();
    assert_eq!(detected.inferred.frames, opened.folder.segment_info(0).unwrap().inferred);
    assert!(detected.inferred.busy_s >= parts.preprocess_s + parts.model_s + parts.postprocess_s);
    let told = infer.busy_s + infer.starved_s + infer.blocked_s;
    assert!(told <= thread_seconds && told > 0.5 * thread_seconds, "{told} of {thread_seconds} s");
    assert_eq!(infer.threads, 2);
}

/// Time passes for all calls of this process: the limits of the other tests are too long for that to end any.
#[test]
fn a_frame_that_is_inside_a_model_for_a_minute_is_told_of() {
    let bench = Bench::new();
    let (video, street) = (bench.video(40), bench.street());
    let under_way = bench.pool.under_way();
    pulse::advance(61_000);
    assert!(under_way.stalled(0.5).is_none(), "nobody is inside");
    let stop = Stop::default();
    thread::scope(|scope| {
        let running = scope.spawn(|| bench.run("stalled", &video, &street, &stop));
        let mut stalled = None;
        until("a stall", || {
            pulse::advance(61_000);
            stalled = under_way.stalled(0.5);
            stalled.is_some()
        });
        stop.fail();
        assert!(running.join().unwrap().is_err());
        assert!(matches!(stalled, Some(JobError::InferenceStalled { model, .. }) if model == "street"));
    });
}

#[test]
fn sessions_go_when_nobody_wants_their_model() {
    let bench = Bench::new();
    let video = bench.video(1);
    let street = bench.street();
    bench.run("first", &video, &street, &Stop::default()).unwrap();
    let gone: Weak<Serving> = Arc::downgrade(&street);
    drop(street);
    until("an end of all sessions", || gone.upgrade().is_none());
}
