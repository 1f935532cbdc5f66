//! `framefleet dead-letters`: what a fleet gave up.

mod retry;
mod show;

use super::jobs::age;
use super::kafka::KafkaFlags;
use super::{DONE, print_error, say, status_before_job};
use crate::error::{JobError, Result};
use crate::report::{plain_row, plain_table, trimmed};
use clap::{Args, Subcommand};
use framefleet_queue::client::{Client, DeadLetter};
use std::time::SystemTime;

/// Shows the messages that a fleet gave up, and tries them again
///
/// They stay for as long as the topic dead-letters keeps them, which is for ever unless its retention.ms is changed.
#[derive(Debug, Args)]
pub struct DeadLetters {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, the oldest first
    List(List),
    Show(show::Show),
    Retry(retry::RetryLetters),
}

#[derive(Debug, Args)]
struct List {
    /// Only those that were given up with this code, such as `NO_VIDEO`
    #[arg(long, value_name = "CODE")]
    code: Option<String>,

    /// Print JSON, one line for each letter
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

/// Of a key, in the table. A job's id has at most 128 characters.
const LONGEST_KEY: usize = 64;

impl DeadLetters {
    pub fn execute(&self) -> u8 {
        let done = match &self.command {
            Command::List(list) => list.execute(),
            Command::Show(show) => show.execute(),
            Command::Retry(retry) => retry.execute(),
        };
        done.unwrap_or_else(|error| {
            print_error(error.code(), &error.to_string());
            status_before_job(&error)
        })
    }
}

impl List {
    fn execute(&self) -> Result<u8> {
        let letters = Client::new(self.kafka.connection()?)?.dead_letters()?;
        let letters = with_code(letters, self.code.as_deref());
        if self.json {
            for letter in &letters {
                say(&show::as_json(letter).to_string());
            }
        } else if letters.is_empty() {
            say("no dead letter");
        } else {
            say(&table(&letters));
        }
        Ok(DONE)
    }
}

fn table(letters: &[DeadLetter]) -> String {
    let now = SystemTime::now();
    let mut table = plain_table();
    table.set_header(vec!["id", "age", "topic", "key", "code", "message"]);
    for letter in letters {
        let age = age(letter.timestamp_ms, now);
        // A message that nobody can read may have any key.
        let key: String = letter.key.as_deref().unwrap_or_default().chars().take(LONGEST_KEY).collect();
        let letter = [&letter.id, &age, &letter.original_topic, &key, &letter.code, &letter.message];
        table.add_row(plain_row(letter.map(String::as_str)));
    }
    trimmed(&table)
}

fn with_code(mut letters: Vec<DeadLetter>, code: Option<&str>) -> Vec<DeadLetter> {
    letters.retain(|letter| code.is_none_or(|code| letter.code == code));
    letters
}

fn find(letters: &[DeadLetter], id: &str) -> Result<DeadLetter> {
    let found = letters.iter().find(|letter| letter.id == id).cloned();
    let unknown = || format!("no dead letter is called {id}; `framefleet dead-letters list` shows those there are");
    found.ok_or_else(|| JobError::BadRequest(unknown()))
}
