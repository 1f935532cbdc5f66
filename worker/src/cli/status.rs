//! `framefleet status`: all that is known of a job.

use super::jobs::{age, json, progress};
use super::kafka::KafkaFlags;
use super::named_jobs::known;
use super::{print_error, say, status_before_job};
use crate::error::Result;
use crate::report::{plain_row, plain_table, trimmed};
use clap::Args;
use framefleet_queue::board::Job;
use framefleet_queue::client::Client;
use framefleet_queue::roster::Roster;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells all that is known of jobs. A job that nobody knows is `JOB_UNKNOWN`, with exit status 1.
#[derive(Debug, Args)]
pub struct StatusOf {
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,

    /// Print JSON, one line for each job
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

impl StatusOf {
    pub fn execute(&self) -> u8 {
        self.tell().unwrap_or_else(|error| {
            print_error(error.code(), &error.to_string());
            status_before_job(&error)
        })
    }

    fn tell(&self) -> Result<u8> {
        let client = Client::new(self.kafka.connection()?)?;
        let (jobs, status) = known(&self.jobs, &client.board()?);
        if self.json {
            for job in &jobs {
                say(&json(job));
            }
        } else {
            let workers = client.workers()?;
            let told: Vec<String> = jobs.iter().map(|job| describe(job, &workers.roster)).collect();
            if !told.is_empty() {
                say(&told.join("\n\n"));
            }
        }
        Ok(status)
    }
}

fn describe(job: &Job, workers: &Roster) -> String {
    let now = SystemTime::now();
    let time = |at_ms: i64| {
        let at = UNIX_EPOCH + Duration::from_millis(at_ms.max(0).cast_unsigned());
        format!("{}, {} ago", humantime::format_rfc3339_seconds(at), age(at_ms, now))
    };
    let labels: Vec<String> = job.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let outcome = job.outcome.as_ref();
    let error = outcome.and_then(|outcome| outcome.error.as_ref());
    let lines = [
        ("job", Some(job.job_id.to_string())),
        ("state", Some(job.state.as_str().to_owned())),
        ("error", error.map(|error| format!("{}: {}", error.code, error.message))),
        (
            "segments",
            job.progress.map(|at| {
                let replaced = if at.plan > 0 { ", by a plan that took the first one's place" } else { "" };
                format!("{} are done{replaced}", progress(job))
            }),
        ),
        ("worked on", job.outcome.is_none().then(|| who(job, workers)).flatten()),
        ("source", job.source.clone()),
        ("model", job.model.clone()),
        ("queue", job.queue.clone()),
        ("labels", (!labels.is_empty()).then(|| labels.join(", "))),
        ("deadline", job.deadline.clone()),
        ("submitted", job.submitted_ms.map(time)),
        ("ended", job.ended_ms.map(time)),
        (
            "files",
            outcome
                .filter(|outcome| !outcome.files.is_empty())
                .map(|outcome| outcome.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")),
        ),
    ];
    let mut table = plain_table();
    for (name, value) in lines {
        if let Some(value) = value {
            table.add_row(plain_row([name, &value]));
        }
    }
    trimmed(&table)
}

fn who(job: &Job, workers: &Roster) -> Option<String> {
    let pieces = workers.at_work_on(&job.job_id, Instant::now());
    let pieces: Vec<String> = pieces
        .into_iter()
        .map(|(worker, piece)| match piece.step.as_str() {
            step @ ("plan" | "finish") => format!("{step} by {}", worker.worker_id),
            step => {
                format!("segment {step} by {} ({} of {} frames)", worker.worker_id, piece.frames_done, piece.frames)
            }
        })
        .collect();
    (!pieces.is_empty()).then(|| pieces.join(", "))
}
