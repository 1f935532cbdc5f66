//! A message that was given up: on `dead-letters` it has its own bytes and key, and headers that say where it came from and
//! why it is here.
//!
//! The first are those of Spring for Apache Kafka's `DeadLetterPublishingRecoverer`, in its encodings, so that tools which
//! know them can show them: the partition is a big-endian 32-bit integer, offset and timestamp are 64-bit ones, the
//! rest is UTF-8.

pub const ORIGINAL_TOPIC: &str = "kafka_dlt-original-topic";
pub const ORIGINAL_PARTITION: &str = "kafka_dlt-original-partition";
pub const ORIGINAL_OFFSET: &str = "kafka_dlt-original-offset";
/// Milliseconds since 1970.
pub const ORIGINAL_TIMESTAMP: &str = "kafka_dlt-original-timestamp";
pub const ORIGINAL_CONSUMER_GROUP: &str = "kafka_dlt-original-consumer-group";
pub const EXCEPTION_MESSAGE: &str = "kafka_dlt-exception-message";
/// The stable code of the error.
pub const ERROR_CODE: &str = "framefleet-error-code";
/// The worker that gave it up.
pub const WORKER: &str = "framefleet-worker";
