use super::{CheckedFile, Confinement, Order, Report, SeenTensor, confine, refusal::Refusal};
use crate::{Detector, Model, ModelError, Runtime, Thresholds, known_picture::KnownPicture, model, onnx::Value};
use framefleet_contract::identity::Sha256;
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
    let (model, header) = Model::recognise(order.place.name.clone(), &place, &order.place.toml)?;
    let start = Instant::now();
    let mut detector = Detector::new(&runtime, &model)?;
    let load_s = start.elapsed().as_secs_f64();
    let seen = inspect(&mut detector, &model)?;
    Ok(Report {
        sha256: model.sha256.clone(),
        files: files_of(&model),
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

/// Runs that are timed.
const RUNS: usize = 5;

/// Puts the known picture through: first to look at every value that comes out, then to measure.
fn inspect(detector: &mut Detector, model: &Model) -> Result<Seen, ModelError> {
    let known = KnownPicture::new(model.manifest.warm_up);
    let seen = detector.inspect(&known.picture()).map_err(as_invalid)?;
    let names = model.manifest.outputs.iter().cloned();
    let outputs = names.zip(&seen).map(|(name, seen)| SeenTensor {
        name,
        element: seen.element.to_string(),
        shape: format!("{:?}", seen.shape).replace(' ', ""),
    });
    let thresholds = Thresholds::from(&model.manifest.defaults);
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let start = Instant::now();
        detector.detect(&known.picture(), &thresholds).map_err(as_invalid)?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(Seen { outputs: outputs.collect(), frame_s: times[RUNS / 2] })
}

/// A model that fails at its first picture is not usable, whatever the reason.
fn as_invalid(error: ModelError) -> ModelError {
    match error {
        ModelError::InferenceFailed { model, problem } => ModelError::Invalid { model, problem },
        other => other,
    }
}

/// The ONNX file, which is first, and what is kept beside it. What a `model.toml` says is in the manifest.
fn files_of(model: &Model) -> Vec<CheckedFile> {
    let onnx = ("model.onnx", &**model.bytes());
    let external = model.external().iter().map(|(name, bytes)| (name.as_str(), &**bytes));
    let file = |(name, bytes): (&str, &[u8])| CheckedFile {
        name: name.to_owned(),
        bytes: bytes.len() as u64,
        sha256: Sha256::of(bytes),
    };
    std::iter::once(onnx).chain(external).map(file).collect()
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
