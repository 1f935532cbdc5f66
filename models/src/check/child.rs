use super::{
    CheckedFile, Confinement, Order, Report, SeenTensor, confine, known_picture::KnownPicture, refusal::Refusal,
};
use crate::{
    Detector, Model, ModelError, Runtime, Thresholds, model,
    onnx::{Header, Value},
};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, Write},
    process::ExitCode,
    time::Instant,
};

/// What a child says, once, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    Ok(Box<Report>),
    Error(Refusal),
}

/// What the child of [`super::Sandbox`] does: its arguments are those of an [`Order`], its answer is one JSON
/// document on standard output. To be called first thing in `main`, while there is one thread.
pub fn child(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(order) = Order::from_arguments(arguments) else {
        eprintln!("this is for the program's own use: it is told what to check by the process that starts it");
        return ExitCode::from(2);
    };
    if !die_with(order.parent) {
        return ExitCode::FAILURE;
    }
    let answer = match examine(&order) {
        Ok(report) => Answer::Ok(Box::new(report)),
        Err(error) => Answer::Error(error.into()),
    };
    match say(&answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the report cannot be handed over: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Ties this process to the one that started it: it is killed when the thread that did ends. False where that
/// process is gone already.
#[doc(hidden)]
pub fn die_with(parent: u32) -> bool {
    // Where memory runs out, this process goes first. It is a wish, and without /proc it stays one.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let tied = set_parent_process_death_signal(Some(Signal::KILL)).is_ok();
    let starter = getppid().map(|pid| pid.as_raw_nonzero().get().unsigned_abs());
    tied && starter == Some(parent)
}

fn say(answer: &Answer) -> io::Result<()> {
    let document = serde_json::to_vec(answer)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&document)?;
    stdout.flush()
}

fn examine(order: &Order) -> Result<Report, ModelError> {
    let place = model::place_within(&order.folder, &order.place.onnx)?;
    let runtime = Runtime::load()?;
    let mut memory = Memory::open();
    let confinement = confine(&order.folder, &order.limits);
    // From here on nothing is trusted, least of all what is read.
    let before = memory.bytes("VmRSS:");
    let bytes = model::read(&place)?;
    let length = bytes.len() as u64;
    let shown = order.place.onnx.display().to_string();
    let (model, header) = Model::recognise(order.place.name.clone(), &shown, bytes)?;
    let start = Instant::now();
    let mut detector = Detector::new(&runtime, &model)?;
    let load_s = start.elapsed().as_secs_f64();
    let seen = inspect(&mut detector, &model, &header)?;
    let name = order.place.onnx.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Report {
        sha256: model.sha256.clone(),
        files: vec![CheckedFile { name, bytes: length, sha256: model.sha256.clone() }],
        manifest: model.manifest,
        inputs: header.inputs.iter().map(SeenTensor::from).collect(),
        outputs: seen.outputs,
        load_s,
        frame_s: seen.frame_s,
        memory_bytes: memory.bytes("VmHWM:").saturating_sub(before),
        confinement: describe(&confinement),
        runtime: format!("onnxruntime {}", runtime.version()),
    })
}

struct Seen {
    outputs: Vec<SeenTensor>,
    frame_s: f64,
}

/// Runs that are timed, after one that is not.
const RUNS: usize = 5;

/// Puts the known picture through. The detector itself refuses outputs of another shape than the head reads; what it
/// shows of their values are the detections, so these are what is looked at.
fn inspect(detector: &mut Detector, model: &Model, header: &Header) -> Result<Seen, ModelError> {
    let known = KnownPicture::new();
    // Everything is wanted, so that no value hides below a threshold.
    let thresholds = Thresholds {
        confidence: f32::MIN_POSITIVE,
        iou: model.manifest.defaults.iou,
        classes: None,
        max_detections: model.manifest.defaults.max_detections as usize,
    };
    let mut times = Vec::with_capacity(RUNS);
    for run in 0..=RUNS {
        let start = Instant::now();
        let detections = detector.detect(&known.picture(), &thresholds).map_err(|error| match error {
            ModelError::InferenceFailed { model, problem } => ModelError::Invalid { model, problem },
            other => other,
        })?;
        if run > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
        let finite = |values: [f32; 5]| values.iter().all(|value| value.is_finite());
        if !detections.iter().all(|found| finite([found.score, found.x1, found.y1, found.x2, found.y2])) {
            let problem = "its output for the known picture has values that are no numbers".to_owned();
            return Err(ModelError::Invalid { model: model.name.clone(), problem });
        }
    }
    times.sort_by(f64::total_cmp);
    Ok(Seen { outputs: header.outputs.iter().map(SeenTensor::from).collect(), frame_s: times[RUNS / 2] })
}

impl From<&Value> for SeenTensor {
    fn from(value: &Value) -> Self {
        Self { name: value.name.clone(), element: value.element.describe(), shape: value.describe_shape() }
    }
}

fn describe(confinement: &Confinement) -> Vec<String> {
    confinement.parts.iter().map(ToString::to_string).collect()
}

/// This process's memory, by a file that stays readable when no other can be opened.
struct Memory(Option<File>);

impl Memory {
    fn open() -> Self {
        Self(File::open("/proc/self/status").ok())
    }

    /// 0 where there is no such file.
    fn bytes(&mut self, key: &str) -> u64 {
        let mut text = String::new();
        let read = self.0.as_mut().and_then(|file| {
            file.rewind().ok()?;
            file.read_to_string(&mut text).ok()
        });
        read.and_then(|_| status_bytes(&text, key)).unwrap_or(0)
    }
}

/// A value of `/proc/<pid>/status`, which has them in kB.
pub fn status_bytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
