//! A frame costs no allocation once the pipeline runs.

#![expect(clippy::unwrap_used, reason = "tests")]

use framefleet_contract::request::{ModelRef, Outputs, Request, Settings};
use framefleet_contract::tracker_settings::ByteTrackSettings;
use framefleet_contract::volume::Volume;
use framefleet_models::{Detector, Model, Runtime};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_worker::interrupt::Stop;
use framefleet_worker::job::{self, Workplace};
use framefleet_worker::progress::Display;
use framefleet_worker::source;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::path::{Path, PathBuf};
use std::process::Command;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The sample so many times over.
fn looped(folder: &Path, times: u32) -> PathBuf {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sample/street.mp4");
    let video = folder.join(format!("{times}.mp4"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-stream_loop", &(times - 1).to_string(), "-i"]).arg(sample);
    assert!(ffmpeg.args(["-c", "copy"]).arg(&video).status().unwrap().success());
    video
}

/// Frames, and allocations by Rust code, of a whole job.
fn job(folder: &Path, times: u32, detectors: &mut [Detector], model: &Model) -> (u64, usize) {
    let tracker = ByteTrackSettings::default();
    let settings = Settings { confidence: 0.1, iou: 0.6, every: 1, classes: None, tracker };
    let model_ref = ModelRef { name: model.name.clone(), sha256: model.sha256.clone() };
    let source = source::identify(&looped(folder, times)).unwrap();
    let request = Request::new(None, source, model_ref, settings, Outputs::default());
    let volume = Volume::open(&folder.join("out")).unwrap();
    let stop = Stop::default();
    let mut workplace = Workplace {
        volume: &volume,
        model,
        detectors,
        segment_seconds: 1000.0,
        limits: Limits::default(),
        progress: Display::Hidden,
        stop: &stop,
    };
    let region = Region::new(ALLOCATOR);
    let finished = job::run(&request, &mut workplace).unwrap();
    let allocations = region.change().allocations + region.change().reallocations;
    (finished.folder.summary().unwrap().unwrap().frames.decoded, allocations)
}

#[test]
fn a_frame_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/catalog/street.onnx")).unwrap();
    let runtime = Runtime::load().unwrap();
    let mut detectors = vec![Detector::new(&runtime, &model).unwrap(), Detector::new(&runtime, &model).unwrap()];
    job(folder.path(), 1, &mut detectors, &model);
    let (few_frames, few) = job(folder.path(), 2, &mut detectors, &model);
    let (many_frames, many) = job(folder.path(), 6, &mut detectors, &model);
    let per_frame = (many as f64 - few as f64) / (many_frames - few_frames) as f64;
    println!("{few} in {few_frames}, {many} in {many_frames}: {per_frame:.2}");
    assert!(per_frame < 0.5, "{per_frame:.2} allocations a frame");
}
