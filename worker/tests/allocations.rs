//! A frame costs no allocation by Rust code once the pipeline runs. Rows do, some thousands at a time: Parquet's batches.

#![expect(clippy::unwrap_used, reason = "tests")]

use framefleet_contract::request::{ModelRef, Outputs, Request, Settings};
use framefleet_contract::tracker_settings::ByteTrackSettings;
use framefleet_contract::volume::Volume;
use framefleet_fetch::AddressRules;
use framefleet_models::check::{Check, Limits as CheckLimits, ModelPlace, Sandbox};
use framefleet_models::{Runtime, Serving};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_worker::cli::models::CHILD;
use framefleet_worker::infer::InferencePool;
use framefleet_worker::interrupt::Stop;
use framefleet_worker::job::{self, Workplace};
use framefleet_worker::progress::Display;
use framefleet_worker::source::{Places, Roots};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The sample so many times over.
fn looped(folder: &Path, times: u32) -> PathBuf {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample/street.mp4");
    let video = folder.join(format!("{times}.mp4"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-stream_loop", &(times - 1).to_string(), "-i"]).arg(sample);
    assert!(ffmpeg.args(["-c", "copy"]).arg(&video).status().unwrap().success());
    video
}

/// Frames, and allocations by Rust code, of a whole job.
fn job(folder: &Path, times: u32, confidence: f32, pool: &InferencePool, serving: &Arc<Serving>) -> (u64, usize) {
    let tracker = ByteTrackSettings::default();
    let settings = Settings { confidence, iou: 0.6, every: 1, classes: None, tracker };
    let model = &serving.checked().model;
    let model_ref = ModelRef { name: model.name.clone(), sha256: model.sha256.clone() };
    let places = Places::new(Roots::default(), AddressRules::default(), Limits::default());
    let given = places.identify(looped(folder, times).as_os_str()).unwrap();
    let request = Request::new(None, given.source, model_ref, settings, Outputs::default());
    let volume = Volume::open(&folder.join("out")).unwrap();
    let stop = Stop::default();
    let workplace = Workplace {
        volume: &volume,
        places: &places,
        source_url: given.url.as_ref(),
        serving,
        pool,
        recorded: None,
        segment_seconds: 1000.0,
        limits: Limits::default(),
        progress: &Display::Hidden,
        stop: &stop,
    };
    let region = Region::new(ALLOCATOR);
    let finished = job::run(&request, &workplace).unwrap();
    let allocations = region.change().allocations + region.change().reallocations;
    (finished.folder.summary().unwrap().unwrap().frames.decoded, allocations)
}

#[test]
fn a_frame_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let onnx = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/catalog/street.onnx");
    let toml = onnx.with_extension("toml");
    let place = ModelPlace { name: "street".to_owned(), version: None, onnx, toml };
    let program = env!("CARGO_BIN_EXE_framefleet").into();
    let sandbox = Sandbox { program, arguments: vec![CHILD.into()], limits: CheckLimits::default() };
    let checked = sandbox.check(&place, &|| false).unwrap();
    let serving = Arc::new(Serving::new(&Runtime::load().unwrap(), checked, None));
    let pool = InferencePool::start(2).unwrap();
    job(folder.path(), 1, 0.1, &pool, &serving);
    let per_frame = |confidence| {
        let (few_frames, few) = job(folder.path(), 1, confidence, &pool, &serving);
        let (many_frames, many) = job(folder.path(), 4, confidence, &pool, &serving);
        println!("from {confidence} on: {few} in {few_frames} frames, {many} in {many_frames}");
        (many as f64 - few as f64) / (many_frames - few_frames) as f64
    };
    let [without_rows, with_rows] = [per_frame(1.0), per_frame(0.2)];
    assert!(without_rows < 0.1, "{without_rows:.2} allocations a frame");
    assert!(with_rows < 2.0, "{with_rows:.2} allocations a frame of about 15 rows");
}
