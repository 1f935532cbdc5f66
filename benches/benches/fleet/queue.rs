//! Long queues: how fast they are filled and listed, what a worker makes of one, and how soon an idle fleet begins.

use crate::place::{Fleet, Place, until};
use crate::{Failure, print_row};
use framefleet_benches::series::Series;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::message::segment_task::SegmentTask;
use framefleet_contract::message::to_json;
use framefleet_contract::request::ModelRef;
use framefleet_queue::Outgoing;
use framefleet_queue::spread::Spread;
use framefleet_tests::repository;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PARTITIONS: u32 = 96;
/// How often the time until a first segment begins is measured.
const STARTS: u32 = 10;

pub fn measure(place: &Place, jobs: u32) -> Result<(), Failure> {
    segments(place, 10 * jobs)?;
    let fleet = place.fleet(PARTITIONS)?;
    submit_and_list(place, &fleet, jobs)?;
    first_segment(place)
}

/// Segments of jobs that somebody deleted: each is looked at, and none is worked on.
fn segments(place: &Place, count: u32) -> Result<(), Failure> {
    let fleet = place.fleet(PARTITIONS)?;
    let idle = fleet.worker("empty", None, &[])?;
    let of_empty = idle.memory_mb();
    idle.leave()?;
    let publisher = fleet.publisher()?;
    let topic = fleet.connection.topics().segments("normal");
    let job = JobId::new("deleted")?;
    let model = ModelRef { name: place.model.clone(), sha256: Sha256::of(b"model") };
    let (spread, mut pending) = (Spread::new("bench"), Vec::new());
    for segment in 0..count {
        let task = SegmentTask::new(job.clone(), segment, "normal".to_owned(), model.clone(), 1500);
        let partition = Some(spread.next(PARTITIONS));
        let json = to_json(&task);
        let message = Outgoing::new(&topic, job.as_str(), &json);
        pending.push(publisher.begin(Outgoing { partition, ..message })?);
    }
    pending.into_iter().try_for_each(|pending| pending.wait().map(|_| ()))?;
    let begun = Instant::now();
    let worker = fleet.worker("full", None, &[])?;
    let start = begun.elapsed().as_secs_f64();
    let lag = framefleet_queue::lag::LagProbe::new(&fleet.connection, &topic)?;
    let mut most = 0.0_f64;
    until("the queue is empty", || {
        most = most.max(worker.memory_mb());
        std::thread::sleep(Duration::from_millis(100));
        lag.messages().is_ok_and(|left| left == 0)
    })?;
    let rate = f64::from(count) / begun.elapsed().as_secs_f64();
    print_row(
        &format!("a worker is ready beside {count} queued segments, s"),
        &format!("{start:.2}"),
        Some(("less than 5", start < 5.0)),
    );
    let ratio = most / of_empty;
    let memory = format!("{most:.0} and {of_empty:.0}: {ratio:.2}");
    print_row("its memory with that queue and with none, MB", &memory, Some(("does not grow", ratio < 1.2)));
    print_row("segments that are looked at and are nobody's, 1/s", &format!("{rate:.0}"), None);
    Ok(())
}

/// Jobs that fail, since their files are not there, so that they end soon.
fn submit_and_list(place: &Place, fleet: &Fleet<'_>, jobs: u32) -> Result<(), Failure> {
    let list = place.folder.path().join("list");
    let names: Vec<String> = (0..jobs).map(|n| format!("/nowhere/{n}.mp4")).collect();
    fs::write(&list, names.join("\n"))?;
    let mut submit = fleet.command(None, &["submit", "--model", &place.model]);
    let seconds = timed(submit.arg("--from").arg(&list))?;
    print_row(&format!("`submit` of {jobs} jobs, s"), &format!("{seconds:.2}"), Some(("less than 10", seconds < 10.0)));
    let worker = fleet.worker("lister", None, &[])?;
    let folder = fleet.results.join("jobs");
    until("all have ended", || {
        std::thread::sleep(Duration::from_millis(500));
        fs::read_dir(&folder).is_ok_and(|jobs_there| jobs_there.count() as u32 == jobs)
    })?;
    let board = || fleet.client.board().map(|board| board.jobs().iter().filter(|job| job.state.is_final()).count());
    until("all outcomes are told", || board().is_ok_and(|ended| ended as u32 == jobs))?;
    drop(worker);
    let mut series = Series::default();
    for _ in 0..5 {
        series.push(timed(&mut fleet.command(None, &["jobs", "--json"]))?);
    }
    let met = series.median() < 1.0;
    print_row(&format!("`jobs` of {jobs} that have ended, s"), &series.to_string(), Some(("less than 1", met)));
    Ok(())
}

/// From the start of `submit` until the mark of the first segment's attempt is there.
fn first_segment(place: &Place) -> Result<(), Failure> {
    let fleet = place.fleet(PARTITIONS)?;
    let _worker = fleet.worker("idle", None, &[])?;
    let mut series = Series::default();
    for n in 0..=STARTS {
        let id = format!("start-{n}");
        let folder = fleet.results.join("jobs").join(&id);
        let begun = Instant::now();
        let mut submit = fleet.command(None, &["submit", "--model", &place.model, "--job-id", &id]);
        let mut submit = submit.arg(repository::street()).stdout(Stdio::null()).spawn()?;
        until("the first segment begins", || folder.join("attempts/00000").exists())?;
        let seconds = begun.elapsed().as_secs_f64();
        submit.wait()?;
        until("it ends", || folder.join("outcome.json").exists())?;
        // The first time, the model is put into the results and loaded.
        if n > 0 {
            series.push(seconds);
        }
    }
    let met = series.median() < 0.5;
    print_row(
        "from `submit` until the first segment begins, idle fleet, s",
        &series.to_string(),
        Some(("less than 0.5", met)),
    );
    Ok(())
}

fn timed(command: &mut std::process::Command) -> Result<f64, Failure> {
    let begun = Instant::now();
    let status = command.stdout(Stdio::null()).status()?;
    if status.success() { Ok(begun.elapsed().as_secs_f64()) } else { Err(format!("{command:?} failed").into()) }
}
