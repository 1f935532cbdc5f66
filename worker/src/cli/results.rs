//! `framefleet results`: how jobs ended, and the files they left.

use super::kafka::KafkaFlags;
use super::named_jobs::known;
use super::{DONE, FAILED, print_error, say, status_before_job};
use crate::error::{JobError, Result};
use crate::report::{plain_table, trimmed};
use clap::Args;
use framefleet_contract::ErrorCode;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::outcome::{Outcome, State};
use framefleet_contract::volume::Volume;
use framefleet_queue::board::Job;
use framefleet_queue::client::Client;
use serde_json::json;
use std::path::PathBuf;

/// Tells how jobs ended, and where their files are. The exit status is 0 if all have succeeded.
#[derive(Debug, Args)]
pub struct Results {
    #[arg(value_name = "JOB", required = true)]
    jobs: Vec<String>,

    /// Where the results volume is seen from here
    #[arg(long, value_name = "DIR", env = "FRAMEFLEET_RESULTS", default_value = "runs")]
    out: PathBuf,

    /// Read every file, and compare it with what the outcome says
    #[arg(long)]
    verify: bool,

    /// Print JSON, one line for each job
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

impl Results {
    pub fn execute(&self) -> u8 {
        self.tell_all().unwrap_or_else(|error| {
            print_error(error.code(), &error.to_string());
            status_before_job(&error)
        })
    }

    fn tell_all(&self) -> Result<u8> {
        let volume = Volume::assume(&self.out)?;
        let board = Client::new(self.kafka.connection()?)?.board()?;
        let (jobs, unknown) = known(&self.jobs, &board);
        Ok(jobs.iter().map(|job| self.tell(&volume, job)).fold(unknown, u8::max))
    }

    /// Gives the exit status.
    fn tell(&self, volume: &Volume, job: &Job) -> u8 {
        let Some(outcome) = &job.outcome else {
            let message = format!("job {} has not ended: it is {}", job.job_id, job.state.as_str());
            print_error(ErrorCode::BadRequest, &message);
            return FAILED;
        };
        let folder = JobFolder::new(volume, &job.job_id);
        let verified = self.verify.then(|| verify(&folder, outcome));
        if self.json {
            say(&as_json(&folder, outcome, verified.as_ref().map(Result::is_ok)));
        } else {
            say(&as_text(&folder, job, outcome, matches!(verified, Some(Ok(())))));
        }
        if let Some(Err(error)) = &verified {
            print_error(error.code(), &error.to_string());
        }
        if outcome.state == State::Succeeded && !matches!(verified, Some(Err(_))) { DONE } else { FAILED }
    }
}

fn verify(folder: &JobFolder, outcome: &Outcome) -> Result<()> {
    if !folder.path().is_dir() {
        let reason = format!("{} is not there; give the results volume with --out", folder.path().display());
        return Err(JobError::BadRequest(reason));
    }
    Ok(folder.verify(outcome)?)
}

fn as_json(folder: &JobFolder, outcome: &Outcome, verified: Option<bool>) -> String {
    let mut told = json!(outcome);
    if folder.path().is_dir() {
        told["folder"] = json!(folder.path());
    }
    if let Some(verified) = verified {
        told["verified"] = json!(verified);
    }
    told.to_string()
}

fn as_text(folder: &JobFolder, job: &Job, outcome: &Outcome, verified: bool) -> String {
    let error = outcome.error.as_ref().map(|error| format!(": {}: {}", error.code, error.message));
    let verified = if verified { ", files as they were published" } else { "" };
    let head = format!("{} {}{}{verified}", job.job_id, job.state.as_str(), error.unwrap_or_default());
    let mut table = plain_table();
    for file in &outcome.files {
        let path = folder.path_of(&file.path);
        // Where the volume is not seen from here, the name is all that is known.
        let path = if path.is_file() { path.display().to_string() } else { file.path.clone() };
        let rows = file.rows.map(|rows| format!("{rows} rows")).unwrap_or_default();
        table.add_row(vec![path, format!("{} bytes", file.bytes), rows]);
    }
    // Messages tell of files, and their names are anybody's.
    let head = head.replace(char::is_control, "\u{fffd}");
    if outcome.files.is_empty() { head } else { format!("{head}\n{}", trimmed(&table)) }
}
