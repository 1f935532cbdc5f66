//! What can go wrong between this program and a broker.

use framefleet_contract::ErrorCode;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A setting, an id or a value that cannot be meant.
    #[error("{0}")]
    BadRequest(String),
    #[error("Kafka at {brokers}: {reason}; check that it runs and can be reached")]
    Unavailable { brokers: String, reason: String },
    #[error("{reason}; `framefleet topics apply` makes the topics")]
    Topics { reason: String },
    #[error("no job is called {0}; `framefleet jobs` lists those that are known")]
    UnknownJob(String),
    #[error("job {0} exists with another request; choose another --job-id")]
    Conflict(String),
    /// The consumer can never work again: this process has to be started anew.
    #[error(
        "the consumer of {topic} ended: {reason}; start again, after `framefleet topics apply` where topics are gone"
    )]
    ConsumerEnded { topic: String, reason: String },
}

impl QueueError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(_) => ErrorCode::BadRequest,
            Self::Unavailable { .. } | Self::ConsumerEnded { .. } => ErrorCode::KafkaUnavailable,
            Self::Topics { .. } => ErrorCode::TopicsMissing,
            Self::UnknownJob(_) => ErrorCode::JobUnknown,
            Self::Conflict(_) => ErrorCode::JobConflict,
        }
    }

    /// An answer of the broker, or that there was none.
    pub(crate) fn of(brokers: &str, error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Self::Topics { reason: "a topic is missing".to_owned() }
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessage) => {
                Self::BadRequest("the broker does not take a message of that size".to_owned())
            }
            Some(code) => Self::Unavailable { brokers: brokers.to_owned(), reason: code.to_string() },
            None => Self::Unavailable { brokers: brokers.to_owned(), reason: error.to_string() },
        }
    }
}
