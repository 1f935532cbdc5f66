//! One worker against `framefleet run` on the same files.

use crate::place::Place;
use crate::{Failure, print_row};
use framefleet_benches::machine;
use framefleet_benches::series::Series;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::submission::Submission;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

pub fn measure(place: &Place, videos: &[PathBuf], copies: usize, repeats: u32) -> Result<(), Failure> {
    let files = place.copies(videos, copies)?;
    let (mut ratios, mut less_broker) = (Series::default(), Series::default());
    let (mut alone, mut fleet) = (Series::default(), Series::default());
    for repeat in 0..repeats {
        let run = run(place, &files, repeat)?;
        let (worker, broker_s) = worker(place, &files, repeat)?;
        alone.push(run);
        fleet.push(worker);
        ratios.push(run / worker);
        // As if the broker's work had been done by another machine.
        less_broker.push(run / (worker - broker_s / machine::cores() as f64));
    }
    let n = files.len();
    print_row(&format!("`framefleet run` on {n} files, s"), &alone.to_string(), None);
    print_row(&format!("one worker on {n} jobs of them, from its start, s"), &fleet.to_string(), None);
    print_row("speed of one worker / of `run`", &ratios.to_string(), None);
    let median = less_broker.median();
    print_row("the same, less the broker's share", &less_broker.to_string(), Some(("at least 0.95", median >= 0.95)));
    Ok(())
}

fn run(place: &Place, files: &[PathBuf], repeat: u32) -> Result<f64, Failure> {
    let out = place.folder.path().join(format!("run-{repeat}"));
    let begun = Instant::now();
    let mut command = place.program(None);
    command.arg("run").args(files).args(["--json", "--model", &place.model, "--models"]).arg(place.models());
    let status = command.arg("--out").arg(out).stdout(Stdio::null()).status()?;
    if status.success() { Ok(begun.elapsed().as_secs_f64()) } else { Err("`framefleet run` failed".into()) }
}

/// Seconds from the start of a worker until the last job has ended, and the broker's processor time meanwhile.
fn worker(place: &Place, files: &[PathBuf], repeat: u32) -> Result<(f64, f64), Failure> {
    let fleet = place.fleet(96)?;
    let mut jobs = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let job = JobId::new(format!("copy-{repeat}-{number}"))?;
        let source = file.to_str().ok_or("a path is not UTF-8")?;
        let submission = Submission { model: Some(place.model.clone()), ..Submission::new(job.clone(), source) };
        fleet.client.submit(&submission)?.wait()?;
        jobs.push(job);
    }
    let (begun, broker) = (std::time::SystemTime::now(), place.broker_cpu_s());
    let _worker = fleet.worker("one", None, &[])?;
    let ended = fleet.succeeded(&jobs)?;
    Ok((ended.duration_since(begun)?.as_secs_f64(), place.broker_cpu_s() - broker))
}
