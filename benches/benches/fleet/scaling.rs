//! Two workers of one core each against one, on a long video and on many short ones.

use crate::place::{Fleet, Place};
use crate::{Failure, print_row};
use framefleet_benches::series::Series;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::submission::Submission;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// How often the video is repeated to make a long one, and how many short ones there are.
const LOOPS: u32 = 16;
const SHORT: usize = 96;
const SHORT_SECONDS: &str = "4";

pub fn measure(place: &Place, video: &Path, repeats: u32) -> Result<(), Failure> {
    let long = place.folder.path().join("long.mp4");
    ffmpeg(&["-stream_loop", &(LOOPS - 1).to_string(), "-i"], video, &["-c", "copy", "-an"], &long)?;
    let short = place.folder.path().join("short.mp4");
    ffmpeg(&["-i"], video, &["-c", "copy", "-an", "-t", SHORT_SECONDS], &short)?;
    let shorts = place.copies(&[short], SHORT)?;
    for (name, files) in [("one long video", vec![long]), ("many short videos", shorts)] {
        let (mut one, mut ratio, mut less_broker) = (Series::default(), Series::default(), Series::default());
        for _ in 0..repeats {
            let (alone, _) = seconds(place, &files, &["1"])?;
            let (both, broker_s) = seconds(place, &files, &["0", "1"])?;
            one.push(alone);
            ratio.push(alone / both);
            // Beside one worker the broker has the other core, beside two it takes from both.
            less_broker.push(alone / (both - broker_s / 2.0));
        }
        let met = less_broker.median() >= 1.8;
        print_row(&format!("{name}: one worker of one core, s"), &one.to_string(), None);
        print_row(&format!("{name}: two workers of one core each / one"), &ratio.to_string(), None);
        print_row("the same, less the broker's share", &less_broker.to_string(), Some(("at least 1.8", met)));
    }
    Ok(())
}

/// From the first submission until the last job has ended, with a worker for each core, which are ready before; and the
/// broker's processor time meanwhile.
fn seconds(place: &Place, files: &[PathBuf], cores: &[&str]) -> Result<(f64, f64), Failure> {
    let fleet: Fleet<'_> = place.fleet(96)?;
    let workers = cores
        .iter()
        .map(|core| fleet.worker(core, Some(core), &["--threads", "1", "--segment-seconds", "4"]))
        .collect::<Result<Vec<_>, _>>()?;
    warm_up(place, &fleet, cores.len())?;
    let (begun, broker) = (SystemTime::now(), place.broker_cpu_s());
    let jobs = submit(place, &fleet, files, "measured")?;
    let ended = fleet.succeeded(&jobs)?;
    drop(workers);
    Ok((ended.duration_since(begun)?.as_secs_f64(), place.broker_cpu_s() - broker))
}

/// Each worker has seen the model, and the groups are at rest.
fn warm_up(place: &Place, fleet: &Fleet<'_>, workers: usize) -> Result<(), Failure> {
    let short = vec![place.folder.path().join("short.mp4"); 4 * workers];
    let jobs = submit(place, fleet, &short, "warm-up")?;
    fleet.succeeded(&jobs).map(|_| ())
}

fn submit(place: &Place, fleet: &Fleet<'_>, files: &[PathBuf], name: &str) -> Result<Vec<JobId>, Failure> {
    let mut jobs = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let job = JobId::new(format!("{name}-{number}"))?;
        let source = file.to_str().ok_or("a path is not UTF-8")?;
        let submission = Submission { model: Some(place.model.clone()), ..Submission::new(job.clone(), source) };
        fleet.client.submit(&submission)?.wait()?;
        jobs.push(job);
    }
    Ok(jobs)
}

fn ffmpeg(before: &[&str], input: &Path, after: &[&str], output: &Path) -> Result<(), Failure> {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-y"]).args(before).arg(input).args(after).arg(output);
    if command.status()?.success() { Ok(()) } else { Err(format!("ffmpeg did not make {}", output.display()).into()) }
}
