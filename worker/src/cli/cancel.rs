//! `framefleet cancel`: takes jobs back.

use super::kafka::KafkaFlags;
use super::{DONE, FAILED, INTERRUPTED, print_error, say, status_before_job};
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use clap::Args;
use framefleet_contract::ErrorCode;
use framefleet_contract::identity::JobId;
use framefleet_queue::QueueError;
use framefleet_queue::client::{Client, Watch};
use std::time::Duration;

/// Asks that jobs end, wherever they stand.
///
/// Work that is under way stops within a second or two. A job that has ended keeps its outcome.
#[derive(Debug, Args)]
pub struct Cancel {
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,

    /// Also jobs that nobody knows yet: they end cancelled as soon as they are submitted
    #[arg(long)]
    ahead: bool,

    /// Wait until they have ended, and say how. That needs a worker with the role plan
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

const LOOK: Duration = Duration::from_millis(100);

impl Cancel {
    pub fn execute(&self) -> u8 {
        self.cancel().unwrap_or_else(|error| {
            print_error(error.code(), &error.to_string());
            status_before_job(&error)
        })
    }

    fn cancel(&self) -> Result<u8> {
        let jobs: std::result::Result<Vec<JobId>, _> = self.jobs.iter().map(JobId::new).collect();
        let jobs = jobs.map_err(|e| JobError::BadRequest(e.to_string()))?;
        let client = Client::new(self.kafka.connection()?)?;
        client.check()?;
        let watch = client.watch()?;
        let (mut open, mut status) = (Vec::new(), DONE);
        for job_id in jobs {
            match watch.board.job(&job_id) {
                Some(job) if job.state.is_final() => {
                    say(&format!("{job_id} had ended: {}", job.state.as_str()));
                    continue;
                }
                None if !self.ahead => {
                    let unknown = QueueError::UnknownJob(job_id.to_string());
                    print_error(unknown.code(), &format!("{unknown}; --ahead cancels it before it is submitted"));
                    status = FAILED;
                    continue;
                }
                _ => {}
            }
            client.cancel(&job_id)?;
            if !self.wait {
                say(&format!("{job_id} is asked to end"));
            }
            open.push(job_id);
        }
        Ok(if self.wait { status.max(wait_for(watch, open)?) } else { status })
    }
}

fn wait_for(mut watch: Watch, mut open: Vec<JobId>) -> Result<u8> {
    let stop = Stop::on_signals().map_err(|e| JobError::BadRequest(format!("signals cannot be handled: {e}")))?;
    loop {
        open.retain(|job_id| match watch.board.job(job_id).filter(|job| job.state.is_final()) {
            Some(job) => {
                say(&format!("{job_id} {}", job.state.as_str()));
                false
            }
            None => true,
        });
        if open.is_empty() {
            return Ok(DONE);
        }
        if stop.is_asked() {
            print_error(ErrorCode::Interrupted, "waiting ended; the jobs are asked to end all the same");
            return Ok(INTERRUPTED);
        }
        watch.follow(LOOK)?;
    }
}
