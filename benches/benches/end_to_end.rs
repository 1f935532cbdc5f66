//! The whole pipeline against what the machine could give, all parts measured in one run.
//!
//! Parts are measured with every core at work on that part alone. If the pipeline lost nothing, a frame would cost the
//! sum of its parts, so the limit is 1 / (1/decode + 1/preprocess + 1/infer + 1/postprocess).
//!
//! `cargo bench -p framefleet-benches --bench end_to_end [-- VIDEO MODEL [REPEATS]]`; without arguments, the sample.

use framefleet_contract::plan::Video;
use framefleet_contract::request::{ModelRef, Outputs, Request, Settings};
use framefleet_contract::tracker_settings::ByteTrackSettings;
use framefleet_contract::volume::Volume;
use framefleet_models::{Detector, Model, Runtime, Thresholds};
use framefleet_native::ffmpeg::decode::{Decoder, Frame, Received};
use framefleet_native::ffmpeg::demux::Demuxer;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_worker::interrupt::Stop;
use framefleet_worker::job::{self, Workplace};
use framefleet_worker::probe::{display_of, probe};
use framefleet_worker::progress::Display;
use framefleet_worker::source;
use std::path::{Path, PathBuf};
use std::time::Instant;

const DEFAULT_REPEATS: usize = 5;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path_or = |i: usize, default: &str| arguments.get(i).map_or_else(|| repository.join(default), PathBuf::from);
    let bench = Bench::new(&path_or(0, "sample/street.mp4"), &path_or(1, "models/catalog/street.onnx"));
    let repeats = arguments.get(2).and_then(|n| n.parse().ok()).unwrap_or(DEFAULT_REPEATS);
    bench.report(repeats);
}

struct Bench {
    path: PathBuf,
    video: Video,
    runtime: Runtime,
    model: Model,
    cores: usize,
}

/// Frames per second of each part, all cores together.
#[derive(Default)]
struct Rates {
    decode: Vec<f64>,
    preprocess: Vec<f64>,
    infer: Vec<f64>,
    postprocess: Vec<f64>,
    end_to_end: Vec<f64>,
}

impl Bench {
    fn new(path: &Path, model: &Path) -> Self {
        let video = probe(path, Limits::default(), &Stop::default()).expect("the video can be read").video;
        let runtime = Runtime::load().expect("ONNX Runtime is installed: ./dev setup");
        let model = Model::open(model).expect("the model can be read");
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        Self { path: path.to_owned(), video, runtime, model, cores }
    }

    fn report(&self, repeats: usize) {
        let mut rates = Rates::default();
        let frames = self.frames();
        for _ in 0..repeats {
            rates.decode.push(self.decode());
            let [preprocess, infer, postprocess] = self.detect(&frames);
            rates.preprocess.push(preprocess);
            rates.infer.push(infer);
            rates.postprocess.push(postprocess);
            rates.end_to_end.push(self.end_to_end());
        }
        let parts = [&rates.decode, &rates.preprocess, &rates.infer, &rates.postprocess];
        let limit = 1.0 / parts.map(|part| 1.0 / median(part)).iter().sum::<f64>();
        println!(
            "{}x{} {}, {}, {} cores, median of {repeats}",
            self.video.width, self.video.height, self.video.codec, self.model.name, self.cores
        );
        println!("| part | frames/s |\n|---|---|");
        let names = ["decode", "preprocess", "infer", "postprocess"];
        for (name, part) in names.iter().zip(parts) {
            println!("| {name} only | {:.0} |", median(part));
        }
        println!("| limit | {limit:.1} |");
        let end_to_end = median(&rates.end_to_end);
        println!("| **end to end** | **{end_to_end:.1}**, {:.2} of the limit |", end_to_end / limit);
    }

    /// Up to 50 frames to detect in, spread over nothing in particular: the first ones.
    fn frames(&self) -> Vec<Frame> {
        let mut frames = Vec::new();
        self.for_each_frame(&mut |frame| {
            frames.push(frame);
            frames.len() < 50
        });
        frames
    }

    /// As many decoders as cores, each over the whole video.
    fn decode(&self) -> f64 {
        let start = Instant::now();
        let frames: usize = std::thread::scope(|scope| {
            let count = || {
                let mut frames = 0;
                self.for_each_frame(&mut |_| {
                    frames += 1;
                    true
                });
                frames
            };
            let threads: Vec<_> = (0..self.cores).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().expect("decoding does not panic")).sum()
        });
        frames as f64 / start.elapsed().as_secs_f64()
    }

    /// As many detectors as cores, each over the same frames: rates of preprocessing, inference and the rest.
    fn detect(&self, frames: &[Frame]) -> [f64; 3] {
        let seconds: Vec<[f64; 3]> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.cores).map(|_| scope.spawn(|| self.detect_on_one_core(frames))).collect();
            threads.into_iter().map(|thread| thread.join().expect("detecting does not panic")).collect()
        });
        let rate = |part: usize| seconds.iter().map(|seconds| frames.len() as f64 / seconds[part]).sum();
        [rate(0), rate(1), rate(2)]
    }

    fn detect_on_one_core(&self, frames: &[Frame]) -> [f64; 3] {
        let mut detector = Detector::new(&self.runtime, &self.model).expect("the model loads");
        let thresholds = Thresholds { confidence: 0.1, iou: 0.6, classes: None, max_detections: 300 };
        detector.detect(&frames[0].picture(), &thresholds).expect("the first picture, which also warms up");
        let mut seconds = [0.0; 3];
        for frame in frames {
            detector.detect(&frame.picture(), &thresholds).expect("the model runs");
            let times = detector.last_times();
            for (sum, time) in seconds.iter_mut().zip([times.preprocess, times.infer, times.postprocess]) {
                *sum += time;
            }
        }
        seconds
    }

    /// A whole job into a new folder, as `framefleet run` does it.
    fn end_to_end(&self) -> f64 {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let volume = Volume::open(folder.path()).expect("the folder can be written");
        let detectors = (0..self.cores).map(|_| Detector::new(&self.runtime, &self.model));
        let mut detectors: Vec<Detector> = detectors.collect::<Result<_, _>>().expect("the model loads");
        let tracker = ByteTrackSettings::default();
        let settings = Settings { confidence: 0.1, iou: 0.6, every: 1, classes: None, tracker };
        let model = ModelRef { name: self.model.name.clone(), sha256: self.model.sha256.clone() };
        let source = source::identify(&self.path).expect("the video is a file");
        let request = Request::new(None, source, model, settings, Outputs::default());
        let mut workplace = Workplace {
            volume: &volume,
            model: &self.model,
            detectors: &mut detectors,
            segment_seconds: 60.0,
            limits: Limits::default(),
            progress: Display::Hidden,
            stop: &Stop::default(),
        };
        let finished = job::run(&request, &mut workplace).expect("the job runs");
        let summary = finished.folder.summary().expect("the summary can be read").expect("a finished job has one");
        summary.speed.frames_per_second
    }

    fn for_each_frame(&self, sink: &mut dyn FnMut(Frame) -> bool) {
        let mut demuxer = Demuxer::open(&self.path, Limits::default()).expect("the video opens");
        let mut decoder = Decoder::open(&demuxer, display_of(&self.video), 1).expect("its codec has a decoder");
        while let Some(packet) = demuxer.next_packet().expect("the video can be read") {
            decoder.send_as_is(&packet).expect("packets can be sent");
            if !drain(&mut decoder, sink) {
                return;
            }
        }
        decoder.send_end().expect("the decoder ends");
        drain(&mut decoder, sink);
    }
}

fn drain(decoder: &mut Decoder, sink: &mut dyn FnMut(Frame) -> bool) -> bool {
    loop {
        match decoder.receive().expect("frames can be received") {
            Received::Frame(frame) => {
                if !sink(frame) {
                    return false;
                }
            }
            Received::Damaged => {}
            Received::Nothing => return true,
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
