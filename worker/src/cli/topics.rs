//! `framefleet topics`: the topics of a fleet.

use super::kafka::KafkaFlags;
use super::{DONE, FAILED, print_error, say, status_before_job};
use crate::error::{JobError, Result};
use crate::report::{plain_table, trimmed};
use clap::{Args, Subcommand};
use framefleet_queue::topics::{Applied, Layout, apply};

/// Makes the topics that a fleet needs, and checks those that are there
#[derive(Debug, Args)]
pub struct Topics {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the topics that are missing, and says how the others differ from what they would be. Can be repeated: what is
    /// there is never changed
    Apply(Apply),
}

#[derive(Debug, Args)]
struct Apply {
    /// The queues in which segments wait, separated by commas; a job names one
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = framefleet_queue::topics::DEFAULT_QUEUES)]
    queues: Vec<String>,

    /// Partitions of each queue: so many workers can serve it at once (1 to 10000)
    #[arg(long, value_name = "N", default_value_t = 96, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    partitions: u32,

    /// Copies of each partition on different brokers; 3 where there are as many (1 to 100)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    replication: u32,

    /// Hours that a message of a queue may wait; longer than any job does (1 to 87600)
    #[arg(long, value_name = "HOURS", default_value_t = 336, value_parser = clap::value_parser!(u32).range(1..=87_600))]
    retention_hours: u32,

    #[command(flatten)]
    kafka: KafkaFlags,
}

impl Topics {
    pub fn execute(&self) -> u8 {
        let Command::Apply(command) = &self.command;
        match command.execute() {
            Ok(topics) if topics.iter().all(|topic| topic.differs.is_empty()) => DONE,
            Ok(_) => FAILED,
            Err(error) => {
                print_error(error.code(), &error.to_string());
                status_before_job(&error)
            }
        }
    }
}

impl Apply {
    fn execute(&self) -> Result<Vec<Applied>> {
        let layout = Layout {
            queues: self.queues.clone(),
            partitions: self.partitions,
            replication: self.replication,
            retention_hours: self.retention_hours,
        };
        let connection = self.kafka.connection()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| JobError::BadRequest(format!("no runtime to ask the broker with: {e}")))?;
        let topics = runtime.block_on(apply(&connection, &layout))?;
        let mut table = plain_table();
        table.set_header(vec!["topic", "partitions", ""]);
        for topic in &topics {
            let became = if topic.was_made { "made".to_owned() } else { topic.differs.join("; ") };
            let became = if became.is_empty() { "is there".to_owned() } else { became };
            table.add_row(vec![topic.topic.clone(), topic.partitions.to_string(), became]);
        }
        say(&trimmed(&table));
        Ok(topics)
    }
}
