//! `framefleet run` as a user calls it.

use crate::Failure;
use crate::child::{self, Ended, Run};
use crate::places::Places;
use crate::workload::{CONFIDENCE, IOU};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

/// A job into a new folder.
pub fn run(places: &Places, video: &Path, model: &Path) -> Result<Run, Failure> {
    let out = tempfile::tempdir()?;
    let mut command = Command::new(&places.program);
    command.args(["run", "--json", "--confidence", CONFIDENCE, "--iou", IOU]).arg(video);
    command.arg("--model").arg(model).arg("--out").arg(out.path()).env_remove("FRAMEFLEET_LOG");
    let ended = child::run(&mut command)?;
    let told: Value = serde_json::from_str(&ended.stdout)?;
    let summary = &told["summary"];
    let speed = &summary["speed"];
    let number = |value: &Value| value.as_f64().ok_or_else(|| format!("a number is missing in {summary}"));
    Ok(Run {
        frames_per_second: number(&speed["frames_per_second"])?,
        process_frames_per_second: number(&speed["frames_decoded"])? / ended.seconds,
        peak_mb: ended.peak_bytes as f64 / 1e6,
        first_detection_s: first_detection(summary, &ended),
    })
}

/// `speed.first_detection_s` counts from `started`, when the job was taken up: the time until then is added.
fn first_detection(summary: &Value, ended: &Ended) -> Option<f64> {
    let in_job = summary["speed"]["first_detection_s"].as_f64()?;
    let started: SystemTime = humantime::parse_rfc3339(summary["started"].as_str()?).ok()?;
    // Told in whole milliseconds, so it may seem to lie before the spawn.
    let before = started.duration_since(ended.spawned).unwrap_or_default();
    Some(before.as_secs_f64() + in_job)
}
