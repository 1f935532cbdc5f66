//! `framefleet jobs delete`: removes jobs that have ended.

use crate::cli::kafka::KafkaFlags;
use crate::cli::{DONE, FAILED, print_error, say};
use crate::error::{JobError, Result};
use clap::Args;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::{JobFolder, JobFolderError};
use framefleet_contract::retention::{self, Keep, ended_jobs, expired};
use framefleet_contract::volume::Volume;
use framefleet_queue::QueueError;
use framefleet_queue::board::Board;
use framefleet_queue::client::Client;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Removes jobs that have ended: their folders, and what the fleet says of them
///
/// Jobs that have not ended are never removed; `framefleet cancel` ends them.
#[derive(Debug, Args)]
pub struct Delete {
    /// Jobs to remove
    #[arg(value_name = "JOB", required_unless_present_any = ["older_than", "keep_last"],
          conflicts_with_all = ["older_than", "keep_last"])]
    jobs: Vec<String>,

    /// Remove all that ended longer ago than this: 30d, 12h
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,

    /// Remove all but the last N that ended
    #[arg(long, value_name = "N")]
    keep_last: Option<usize>,

    /// Where the results are
    #[arg(long, value_name = "DIR", env = "FRAMEFLEET_RESULTS", default_value = "runs")]
    out: PathBuf,

    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

impl Delete {
    pub fn execute(&self) -> Result<u8> {
        let volume = Volume::assume(&self.out)?;
        // Otherwise the fleet would forget jobs whose files lie somewhere else for ever.
        if !volume.root().join(JobFolder::ALL).is_dir() {
            let reason = format!("there are no jobs in {}; give the results volume with --out", self.out.display());
            return Err(JobError::BadRequest(reason));
        }
        let client = Client::new(self.kafka.connection()?)?;
        let (jobs, mut status) =
            if self.jobs.is_empty() { (self.expired(&volume)?, DONE) } else { self.named(&volume, &client)? };
        for job_id in &jobs {
            if let Err(error) = self.remove(&volume, &client, job_id) {
                print_error(error.code(), &error.to_string());
                status = FAILED;
            }
        }
        Ok(status)
    }

    fn expired(&self, volume: &Volume) -> Result<Vec<JobId>> {
        let keep = Keep { age: self.older_than, count: self.keep_last };
        let ended = ended_jobs(volume)?;
        let expired = expired(&ended, keep, SystemTime::now());
        if expired.is_empty() {
            say("nothing to remove");
        }
        Ok(expired.iter().map(|job| job.job_id.clone()).collect())
    }

    /// Those of the named jobs that have ended, and the exit status so far.
    fn named(&self, volume: &Volume, client: &Client) -> Result<(Vec<JobId>, u8)> {
        let board = client.board()?;
        let (mut found, mut status) = (Vec::new(), DONE);
        for name in &self.jobs {
            match removable(name, volume, &board) {
                Ok(job_id) => found.push(job_id),
                Err(error) => {
                    print_error(error.code(), &error.to_string());
                    status = FAILED;
                }
            }
        }
        Ok((found, status))
    }

    fn remove(&self, volume: &Volume, client: &Client, job_id: &JobId) -> Result<()> {
        if self.dry_run {
            say(&format!("{job_id} would be removed"));
            return Ok(());
        }
        let had_folder = retention::delete(volume, job_id)?;
        client.forget(job_id)?;
        let folder = if had_folder { "" } else { "; it had no folder any more" };
        say(&format!("{job_id} removed{folder}"));
        Ok(())
    }
}

/// A job that has ended, by its folder or by what the fleet says.
fn removable(name: &str, volume: &Volume, board: &Board) -> Result<JobId> {
    let unknown = || QueueError::UnknownJob(name.to_owned());
    let job_id = JobId::new(name).map_err(|_| unknown())?;
    if JobFolder::new(volume, &job_id).outcome()?.is_some() {
        return Ok(job_id);
    }
    let job = board.job(&job_id).ok_or_else(unknown)?;
    if job.state.is_final() { Ok(job_id) } else { Err(JobFolderError::NotEnded { job_id }.into()) }
}
