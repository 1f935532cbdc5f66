//! Other programs that do the same work: the scripts in `benches/peers`, run and never depended on.

use crate::Failure;
use crate::child::{self, Run};
use crate::measure::Effort;
use crate::places::Places;
use crate::workload::{CONFIDENCE, IOU, Workload};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
pub struct Peer {
    pub name: String,
    interpreter: PathBuf,
    script: PathBuf,
    arguments: Vec<String>,
}

const AS_IT_COMES: &str = "default";

/// The Python pipeline as it comes, and with the settings that suit this machine best where those are others.
pub fn python(interpreter: &Path, places: &Places, workload: &Workload, effort: Effort) -> Result<Vec<Peer>, Failure> {
    let peer = |name: &str, settings: &str| Peer {
        name: name.to_owned(),
        interpreter: interpreter.to_owned(),
        script: places.peer_script("python_pipeline.py"),
        arguments: vec!["--settings".to_owned(), settings.to_owned()],
    };
    let as_it_comes = peer("Python pipeline", AS_IT_COMES);
    if !effort.thorough {
        return Ok(vec![as_it_comes]);
    }
    eprintln!("looking for the Python pipeline's best settings");
    let told = json_of(as_it_comes.command(workload).arg("--compare"))?;
    let best = told["best"].as_str().ok_or("the Python pipeline does not name its best settings")?;
    let tuned = (best != AS_IT_COMES).then(|| peer(&format!("Python pipeline, {best}"), best));
    Ok([as_it_comes].into_iter().chain(tuned).collect())
}

pub fn ultralytics(interpreter: &Path, places: &Places) -> Peer {
    Peer {
        name: "Ultralytics' `track`".to_owned(),
        interpreter: interpreter.to_owned(),
        script: places.peer_script("ultralytics_track.py"),
        arguments: Vec::new(),
    }
}

/// A model of `YOLOv8n`'s size with random weights, made once.
pub fn v8n_model(interpreter: &Path, places: &Places) -> Result<PathBuf, Failure> {
    let model = places.cache.join("v8n-random-384x640.onnx");
    if !model.is_file() {
        eprintln!("making {}", model.display());
        child::run(Command::new(interpreter).arg(places.peer_script("make_v8n.py")).arg(&model))?;
    }
    Ok(model)
}

impl Peer {
    pub fn run(&self, workload: &Workload) -> Result<Run, Failure> {
        let mut command = self.command(workload);
        let ended = child::run(&mut command)?;
        let told = last_line(&ended.stdout)?;
        let number = |name: &str| told[name].as_f64().ok_or_else(|| format!("{} does not tell {name}", self.name));
        Ok(Run {
            frames_per_second: number("frames_per_second")?,
            process_frames_per_second: number("frames")? / ended.seconds,
            peak_mb: ended.peak_bytes as f64 / 1e6,
            first_detection_s: None,
        })
    }

    fn command(&self, workload: &Workload) -> Command {
        let mut command = Command::new(&self.interpreter);
        command.arg(&self.script).arg(&workload.video).arg(&workload.model);
        command.args(["--confidence", CONFIDENCE, "--iou", IOU]).args(&self.arguments);
        command
    }
}

fn json_of(command: &mut Command) -> Result<Value, Failure> {
    last_line(&child::run(command)?.stdout)
}

/// Libraries may say something before the result.
fn last_line(stdout: &str) -> Result<Value, Failure> {
    Ok(serde_json::from_str(stdout.lines().last().unwrap_or_default())?)
}
