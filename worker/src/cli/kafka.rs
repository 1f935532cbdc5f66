//! The flags with which every command of a fleet finds its broker.

use crate::error::Result;
use clap::Args;
use framefleet_queue::Connection;
use framefleet_queue::connection::settings;
use std::path::PathBuf;

/// How Kafka is reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Kafka")]
pub struct KafkaFlags {
    /// Brokers to begin with, as HOST:PORT, separated by commas
    #[arg(long, value_name = "HOST:PORT", env = "FRAMEFLEET_BROKERS", default_value = "localhost:9092")]
    brokers: String,

    /// What the names of the fleet's topics begin with: several fleets can share a cluster
    #[arg(long, value_name = "NAME", env = "FRAMEFLEET_PREFIX", default_value = "framefleet")]
    prefix: String,

    #[expect(clippy::doc_markdown, reason = "help texts have no backticks")]
    /// A setting of librdkafka, such as security.protocol=sasl_ssl; can be given several times. NAME=@FILE reads the value
    /// from a file. A secret is taken from a file, or from a variable: FRAMEFLEET_KAFKA_SASL_PASSWORD is sasl.password
    #[arg(long = "kafka", value_name = "NAME=VALUE|NAME=@FILE")]
    kafka: Vec<String>,

    /// A file of such settings, one NAME=VALUE a line, # for comments
    #[arg(long, value_name = "FILE", env = "FRAMEFLEET_KAFKA_CONFIG_FILE")]
    kafka_config: Option<PathBuf>,
}

impl KafkaFlags {
    pub fn connection(&self) -> Result<Connection> {
        // One that is no text is none of ours.
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let variables = variables.filter(|(name, _)| name != "FRAMEFLEET_KAFKA_CONFIG_FILE");
        let settings = settings(self.kafka_config.as_deref(), variables, &self.kafka)?;
        Ok(Connection::new(&self.brokers, &self.prefix, settings)?)
    }
}
