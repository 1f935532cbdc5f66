//! `framefleet dead-letters retry`: tries again what was given up.

use super::{find, with_code};
use crate::cli::kafka::KafkaFlags;
use crate::cli::{DONE, FAILED, print_error, say};
use crate::error::Result;
use clap::Args;
use framefleet_queue::client::{Client, DeadLetter, Watch};
use framefleet_queue::retry::Retry;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Tries again what was given up, once its cause is gone
///
/// A job that failed keeps its outcome, since the first one counts. So what it asked for is submitted anew under another
/// id, JOB.retry1, then JOB.retry2 and so on, which is printed. For a segment's letter, the request is looked up in the topic
/// of jobs. A job that is being tried again, or was with success, is left alone.
///
/// A message that could not be read (`SCHEMA`), that wanted an id which another request has (`JOB_CONFLICT`), or whose job has
/// not ended, is sent back as it is to the topic that it came from.
///
/// Letters stay where they are. The same message is retried once in a call, however many letters there are of it.
#[derive(Debug, Args)]
pub struct RetryLetters {
    /// Letters as `list` shows them
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,

    /// All letters
    #[arg(long)]
    all: bool,

    /// With --all: only those that were given up with this code. Without it, messages that cannot be read and requests that
    /// conflict are left out: the same bytes would be given up again
    #[arg(long, value_name = "CODE", requires = "all")]
    code: Option<String>,

    #[command(flatten)]
    kafka: KafkaFlags,
}

/// The same bytes would be given up again.
const NEVER_GOOD: [&str; 2] = ["SCHEMA", "JOB_CONFLICT"];
/// The broker has it, so that it comes soon.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

impl RetryLetters {
    pub fn execute(&self) -> Result<u8> {
        let client = Client::new(self.kafka.connection()?)?;
        let letters = client.dead_letters()?;
        let chosen = if self.all {
            let mut chosen = with_code(letters, self.code.as_deref());
            if self.code.is_none() {
                chosen.retain(|letter| !NEVER_GOOD.contains(&letter.code.as_str()));
            }
            chosen
        } else {
            self.ids.iter().map(|id| find(&letters, id)).collect::<Result<Vec<_>>>()?
        };
        let mut watch = client.watch()?;
        let mut status = DONE;
        let mut done = HashSet::new();
        for letter in &chosen {
            if !done.insert((&letter.original_topic, &letter.key, &letter.value)) {
                continue;
            }
            match client.retry(letter, &watch.board) {
                Ok(retry) => {
                    say(&said(letter, &retry));
                    see(&mut watch, &retry)?;
                }
                Err(error) => {
                    print_error(error.code(), &format!("{}: {error}", letter.id));
                    status = FAILED;
                }
            }
        }
        if chosen.is_empty() {
            say("no dead letter");
        }
        Ok(status)
    }
}

/// Waits until the board has what was submitted, so that another letter of the same job does not try it twice.
fn see(watch: &mut Watch, retry: &Retry) -> Result<()> {
    let Retry::Submit(submission) = retry else { return Ok(()) };
    let begin = Instant::now();
    while watch.board.job(&submission.job_id).is_none() && begin.elapsed() < PATIENCE {
        watch.follow(LOOK)?;
    }
    Ok(())
}

fn said(letter: &DeadLetter, retry: &Retry) -> String {
    let id = &letter.id;
    match retry {
        Retry::SendBack => format!("{id} sent back to {}", letter.original_topic),
        Retry::Submit(submission) => format!("{id} submitted as {}", submission.job_id),
        Retry::NotNeeded { job_id, state } => format!("{id} left alone: {job_id} is {}", state.as_str()),
        Retry::UnderWay { job_id, state } => {
            format!("{id} left alone: tried again as {job_id}, which is {}", state.as_str())
        }
    }
}
