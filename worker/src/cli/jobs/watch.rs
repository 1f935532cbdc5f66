//! `framefleet jobs --watch`: the jobs and the workers of a fleet as they change.

mod screen;
mod view;

use super::filter::Filter;
use super::{json, progress};
use crate::cli::kafka::KafkaFlags;
use crate::cli::{DONE, say};
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use framefleet_contract::identity::JobId;
use framefleet_queue::board::Job;
use framefleet_queue::client::{Client, Watch};
use screen::Screen;
use std::collections::HashMap;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant, SystemTime};
use view::View;

/// Between two pictures: as often as eyes follow.
const PERIOD: Duration = Duration::from_millis(250);

/// Shows what is asked for until somebody asks for a stop.
pub fn watch(filter: &Filter, as_json: bool, kafka: &KafkaFlags) -> Result<u8> {
    let stop = Stop::on_signals().map_err(|e| JobError::BadRequest(format!("signals cannot be handled: {e}")))?;
    let client = Client::new(kafka.connection()?)?;
    let watch = client.watch()?;
    if stdout().is_terminal() && !as_json {
        draw(filter, &client, watch, &stop)?;
    } else {
        tell(filter, as_json, watch, &stop)?;
    }
    Ok(DONE)
}

fn draw(filter: &Filter, client: &Client, mut watch: Watch, stop: &Stop) -> Result<()> {
    let mut workers = client.workers()?;
    let mut screen = Screen::new();
    while !stop.is_asked() {
        workers.follow()?;
        let jobs = filter.of(watch.board.jobs());
        let view = View { jobs: &jobs, workers: &workers.roster.alive(Instant::now()), now: SystemTime::now() };
        if screen.show(|size| view.lines(size)).is_err() {
            // Nobody sees it any more.
            return Ok(());
        }
        watch.follow(PERIOD)?;
    }
    Ok(())
}

/// A line for each job as it stands, and then for each change.
fn tell(filter: &Filter, as_json: bool, mut watch: Watch, stop: &Stop) -> Result<()> {
    let mut said: HashMap<JobId, String> = HashMap::new();
    while !stop.is_asked() {
        for job in filter.of(watch.board.jobs()) {
            let line = if as_json { json(&job) } else { line(&job) };
            if said.get(&job.job_id) != Some(&line) {
                say(&line);
                said.insert(job.job_id, line);
            }
        }
        watch.follow(PERIOD)?;
    }
    Ok(())
}

/// How a job stands, in a line.
pub fn line(job: &Job) -> String {
    let error = job.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
    let error = error.map(|error| error.code.as_str()).unwrap_or_default();
    let parts = [job.job_id.as_str(), job.state.as_str(), &progress(job), error];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}
