//! `framefleet jobs`: the jobs of a fleet, and how they stand.

mod delete;
mod filter;
mod table;
mod watch;

use super::kafka::KafkaFlags;
use super::{DONE, print_error, say, status_before_job};
use crate::error::Result;
use clap::{Args, Subcommand};
use filter::Filter;
use framefleet_queue::board::Job;
use framefleet_queue::client::Client;

/// Lists the jobs of a fleet, the last submitted at the end.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Jobs {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    filter: Filter,

    /// Go on: on a terminal a table that follows the fleet, otherwise a line for each change. Ctrl-C ends it
    #[arg(long)]
    watch: bool,

    /// Print JSON, one line for each job
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

#[derive(Debug, Subcommand)]
enum Command {
    Delete(delete::Delete),
}

impl Jobs {
    pub fn execute(&self) -> u8 {
        let done = match &self.command {
            Some(Command::Delete(delete)) => delete.execute(),
            None if self.watch => watch::watch(&self.filter, self.json, &self.kafka),
            None => self.list(),
        };
        done.unwrap_or_else(|error| {
            print_error(error.code(), &error.to_string());
            status_before_job(&error)
        })
    }

    fn list(&self) -> Result<u8> {
        let jobs = self.filter.of(Client::new(self.kafka.connection()?)?.board()?.jobs());
        if self.json {
            for job in &jobs {
                say(&json(job));
            }
        } else if jobs.is_empty() {
            say("no job; `framefleet submit` hands one in");
        } else {
            say(&table::table(&jobs, std::time::SystemTime::now(), usize::MAX));
        }
        Ok(DONE)
    }
}

pub fn json(job: &Job) -> String {
    serde_json::to_string(job).expect("names and numbers become JSON")
}

pub use table::{age, progress};
pub use watch::line;
