//! `framefleet models`: what is in the model directory, what a model is, and which version counts.

use super::chosen_model::place_of;
use super::drawn;
use super::{DONE, FAILED, print_error, say, status_before_job};
use crate::error::{JobError, Result};
use crate::report::{plain_table, trimmed};
use clap::{Args, Subcommand};
use framefleet_contract::ErrorCode;
use framefleet_contract::volume::Volume;
use framefleet_models::check::{Check, Checked, Limits, Report, Sandbox, SeenTensor};
use framefleet_models::directory::State;
use framefleet_models::pins::PinError;
use framefleet_models::{Follow, ModelDirectory, ModelError, ModelStatus, Runtime, pins};
use std::ffi::OsString;
use std::io::{Write, stderr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Shows the model directory, tries models out, and holds a model at a version.
#[derive(Debug, Args)]
pub struct Models {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists every model of the directory with its state; what was refused is listed with the reason
    List(List),
    /// Tries a model out in a process without rights, and tells all that is known of it
    Check(CheckOne),
    /// Holds a model at a version, whatever is newer
    Pin(Pin),
    /// Lets the newest version be used again
    Unpin(Unpin),
}

#[derive(Debug, Args)]
struct Places {
    /// The model directory: NAME.onnx, or NAME/VERSION/model.onnx
    #[arg(long, value_name = "DIR", env = "FRAMEFLEET_MODELS", default_value = "models/catalog")]
    models: PathBuf,

    /// Where results go; pins are kept there, since the model directory may be read-only
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    places: Places,

    /// Print one line of JSON for each model instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CheckOne {
    /// An ONNX file; NAME.toml beside NAME.onnx overrides what is recognised
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// Draw what the model sees in this picture, or in the first frame of this video, into a PNG file
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,

    /// The PNG file that --image makes
    #[arg(long, value_name = "FILE", default_value = "detections.png", requires = "image")]
    drawn: PathBuf,

    /// Print the whole report as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Pin {
    name: String,
    version: String,
    #[command(flatten)]
    places: Places,
}

#[derive(Debug, Args)]
struct Unpin {
    name: String,

    /// Where results go; pins are kept there
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
}

/// The first argument of the process in which a model is tried out. Nobody types it.
pub const CHILD: &str = "check-model-in-this-process";

/// Between two looks at how the models stand.
const LOOK: Duration = Duration::from_secs(2);
/// Files that somebody copies are waited for no longer, where nothing else happens.
const LONGEST_COPY: Duration = Duration::from_secs(10);

impl Models {
    pub fn execute(&self) -> u8 {
        let done = match &self.command {
            Command::List(list) => list.execute(),
            Command::Check(check) => return check.execute(),
            Command::Pin(pin) => pin.execute(),
            Command::Unpin(unpin) => unpin.execute(),
        };
        done.unwrap_or_else(|error| {
            print_error(error.code(), &error.to_string());
            status_before_job(&error)
        })
    }
}

/// This program as the child that tries a model out.
pub fn sandbox() -> Result<Sandbox> {
    let program = std::env::current_exe()
        .map_err(|e| JobError::BadRequest(format!("the program's own file is not known: {e}; call it by its path")))?;
    Ok(Sandbox { program, arguments: vec![OsString::from(CHILD)], limits: Limits::default() })
}

/// Follows a model directory.
pub fn start(follow: Follow, runtime: &Runtime) -> Result<ModelDirectory> {
    ModelDirectory::start(follow, sandbox()?, runtime)
        .map_err(|e| JobError::BadRequest(format!("no thread for the model directory: {e}; end other programs")))
}

impl List {
    fn execute(&self) -> Result<u8> {
        let results = Some(Volume::assume(&self.places.out)?);
        let follow = Follow { results, ..Follow::new(&self.places.models) };
        let directory = start(follow, &Runtime::load()?)?;
        let models = settled(&directory)?;
        if self.json {
            for model in &models {
                say(&serde_json::to_string(model).expect("names and numbers become JSON"));
            }
        } else if models.is_empty() {
            say(&format!("no model in {}; put NAME.onnx into it", self.places.models.display()));
        } else {
            say(&table(&models));
        }
        Ok(DONE)
    }
}

/// Waits until all that can be tried out was, and says so where it takes longer.
fn settled(directory: &ModelDirectory) -> Result<Vec<ModelStatus>> {
    let (mut models, mut changed, mut told) = (directory.snapshot(), Instant::now(), false);
    loop {
        let now = directory.wait_until_checked(LOOK)?;
        let left = now.iter().filter(|model| matches!(model.state, State::Waiting | State::Checking)).count();
        if now != models || now.iter().any(|model| model.state == State::Checking) {
            changed = Instant::now();
        }
        if left == 0 || changed.elapsed() >= LONGEST_COPY {
            return Ok(now);
        }
        if !told {
            let _ = writeln!(stderr(), "waiting for models that are being tried out or copied ({left} so far)");
            told = true;
        }
        models = now;
    }
}

fn table(models: &[ModelStatus]) -> String {
    let mut table = plain_table();
    table.set_header(vec!["model", "version", "state", "in use", "head", "sha256"]);
    for model in models {
        let in_use = match (model.serving, model.pinned) {
            (true, true) => "yes, pinned",
            (true, false) => "yes",
            (false, true) => "pinned, not ready",
            (false, false) => "",
        };
        let head = model.family.map_or_else(String::new, |family| plain(&family));
        let sha256 = model.sha256.as_ref().map_or("", |sha256| &sha256.as_str()[..12]);
        let version = model.version.clone().unwrap_or_default();
        table.add_row(vec![model.name.as_str(), &version, state(&model.state), in_use, &head, sha256]);
    }
    let reasons = models.iter().filter_map(|model| match &model.state {
        State::Refused { code, reason } => Some(format!("\n\n{code}: {reason}")),
        _ => model.comparison.as_ref().map(|comparison| format!("\n\n{}: {comparison}", model.name)),
    });
    let text = trimmed(&table) + &reasons.collect::<String>();
    // A file's name may hold escape sequences, which are not for the terminal.
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

fn state(state: &State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Checking => "checking",
        State::Ready => "ready",
        State::Refused { .. } => "refused",
        State::Retired => "retired",
    }
}

impl CheckOne {
    fn execute(&self) -> u8 {
        match self.check() {
            Ok(checked) => {
                if self.json {
                    let report = serde_json::to_string_pretty(&checked.report);
                    say(&report.expect("names and numbers become JSON"));
                } else {
                    say(&describe(&checked.report));
                }
                self.draw(&checked)
            }
            Err(error) => {
                print_error(error.code(), &error.to_string());
                match &error {
                    _ if self.json => {
                        let failure = serde_json::json!({ "code": error.code(), "message": error.to_string() });
                        say(&serde_json::json!({ "error": failure }).to_string());
                    }
                    JobError::Model(ModelError::Unrecognised { seen, .. }) => say(&skeleton(seen)),
                    _ => {}
                }
                if error.code() == ErrorCode::ModelNotFound { status_before_job(&error) } else { FAILED }
            }
        }
    }

    fn check(&self) -> Result<Checked> {
        Ok(sandbox()?.check(&place_of(&self.path), &|| false)?)
    }

    fn draw(&self, checked: &Checked) -> u8 {
        let Some(image) = &self.image else { return DONE };
        match drawn::draw(checked, image, &self.drawn) {
            Ok(boxes) => {
                if !self.json {
                    say(&format!("\n  {} ({boxes} boxes)", self.drawn.display()));
                }
                DONE
            }
            Err(error) => {
                print_error(error.code(), &error.to_string());
                FAILED
            }
        }
    }
}

fn describe(report: &Report) -> String {
    let manifest = &report.manifest;
    let preprocessing = &manifest.preprocessing;
    let tensors = |tensors: &[SeenTensor]| {
        let shown = tensors.iter().map(|tensor| format!("{} {} {}", tensor.name, tensor.element, tensor.shape));
        shown.collect::<Vec<_>>().join(", ")
    };
    let scaling = format!("x {:.6}, mean {:?}, std {:?}", preprocessing.scale, preprocessing.mean, preprocessing.std);
    let mut table = plain_table();
    for (name, value) in [
        ("head", plain(&manifest.head)),
        ("because", manifest.reason.clone()),
        ("inputs", tensors(&report.inputs)),
        ("outputs", tensors(&report.outputs)),
        ("classes", classes(&manifest.classes)),
        ("colour", plain(&preprocessing.colour)),
        ("values", scaling),
        ("resize", format!("{}, padding {}", plain(&preprocessing.resize), preprocessing.pad)),
        ("speed", format!("{:.1} ms a frame on one thread", report.frame_s * 1e3)),
        ("loading", format!("{:.0} ms", report.load_s * 1e3)),
        ("memory", format!("{:.0} MiB for a session", report.memory_bytes as f64 / (1 << 20) as f64)),
        ("sha256", report.sha256.to_string()),
        ("tried in", format!("{}; {}", report.runtime, report.confinement.join("; "))),
    ] {
        table.add_row(vec![name.to_owned(), value]);
    }
    trimmed(&table)
}

/// The first few, and how many there are.
fn classes(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let first = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{}: {first}, ...", names.len()) } else { format!("{}: {first}", names.len()) }
}

/// What to start a `model.toml` from.
fn skeleton(seen: &str) -> String {
    let seen: String = seen.replace(char::is_control, "\u{fffd}");
    format!(
        "\n# model.toml, to be put beside the model under its name (NAME.toml, or model.toml beside model.onnx).\n\
         # The model has {seen}.\n\
         # What it is: yolox, yolox-decoded, v8, v5, v6, end-to-end, v7-end-to-end, yolo-nas-flat, nms-outputs,\n\
         # damo-yolo, paddle, nanodet-plus, nanodet, rt-detr, rt-detr-listed, ultralytics-rt-detr, detr-sigmoid,\n\
         # detr-softmax, torchvision or tf-detection; models/README.md says how each lays out its outputs.\n\
         # head = \"v8\"\n\
         # outputs = [\"output0\"]        # in the order in which the head reads them\n\
         # classes = [\"person\", \"car\"]  # or \"coco\", \"coco-91\"\n\
         # colour = \"rgb\"               # or \"bgr\"\n\
         # scale = 0.00392156862745098  # each channel is (0..255 * scale - mean) / std\n\
         # mean = [0, 0, 0]\n\
         # std = [1, 1, 1]\n\
         # resize = \"letterbox\"         # or \"stretch\""
    )
}

impl Pin {
    fn execute(&self) -> Result<u8> {
        let file = self.places.models.join(&self.name).join(&self.version).join("model.onnx");
        if !file.is_file() {
            return Err(ModelError::NotFound {
                problem: format!("there is no {}", file.display()),
                remedy: "`framefleet models list` shows the versions there are".to_owned(),
            }
            .into());
        }
        pins::pin(&Volume::open(&self.places.out)?, &self.name, &self.version)?;
        say(&format!("{} is held at {}", self.name, self.version));
        Ok(DONE)
    }
}

impl Unpin {
    fn execute(&self) -> Result<u8> {
        let results = Volume::open(&self.out)?;
        let held_at = match pins::read(results.root(), &self.name) {
            Ok(Some(version)) => version,
            Ok(None) => {
                say(&format!("{} is not held at any version", self.name));
                return Ok(DONE);
            }
            // What is damaged is let go of too.
            Err(PinError::Damaged { .. }) => "a version".to_owned(),
            Err(error) => return Err(error.into()),
        };
        pins::unpin(&results, &self.name)?;
        say(&format!("{} is held at {held_at} no longer: its newest version is used", self.name));
        Ok(DONE)
    }
}

/// A value's name as it is written in files.
fn plain(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| Some(value.as_str()?.to_owned())).unwrap_or_default()
}
