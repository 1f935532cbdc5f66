//! Sends messages, and waits until the broker has each on all its replicas.

use crate::connection::Connection;
use crate::error::QueueError;
use crate::reach::{Reach, log};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::time::Duration;

/// Sends on a connection of its own. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    producer: Arc<ThreadedProducer<Acknowledge>>,
    reach: Arc<Reach>,
    brokers: String,
}

/// A message to send.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing<'a> {
    pub topic: &'a str,
    /// Decides the partition, where none is given.
    pub key: &'a str,
    pub partition: Option<i32>,
    /// Without a value it takes back what was said under this key.
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> Outgoing<'a> {
    pub fn new(topic: &'a str, key: &'a str, value: &'a [u8]) -> Self {
        Self { topic, key, partition: None, value: Some(value), headers: &[] }
    }

    /// Takes back what a compacted topic says of a key.
    pub fn taken_back(topic: &'a str, key: &'a str) -> Self {
        Self { topic, key, partition: None, value: None, headers: &[] }
    }
}

/// Where a message is, once the broker has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub partition: i32,
    pub offset: i64,
}

/// A message on its way.
#[derive(Debug)]
#[must_use = "a message is sent when the broker says so"]
pub struct Pending {
    answer: Receiver<Result<Place, KafkaError>>,
    publisher: Publisher,
}

/// librdkafka sends a message that is refused again, for this long.
const SEND_PATIENCE_MS: &str = "60000";
/// Between two looks at whether the brokers are still known, while an answer is waited for.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries to hand a message to librdkafka while its buffer is full.
const FULL_BUFFER_PAUSE: Duration = Duration::from_millis(10);

impl Publisher {
    pub fn new(connection: &Connection) -> Result<Self, QueueError> {
        let mut config = connection.config();
        config
            // Idempotence would cost each new producer half a second, and buy nothing: every message may come twice.
            .set("acks", "all")
            // As Java's clients do: one key goes to one partition, whoever sends.
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "2")
            // A message that is handed back may have headers of others; brokers take a megabyte unless told otherwise.
            .set("message.max.bytes", "1000000");
        if config.get("delivery.timeout.ms").or(config.get("message.timeout.ms")).is_none() {
            config.set("message.timeout.ms", SEND_PATIENCE_MS);
        }
        let reach = Reach::new(connection);
        let producer = config.create_with_context(Acknowledge(reach.clone())).map_err(|e| connection.refused(&e))?;
        Ok(Self { producer: Arc::new(producer), reach, brokers: connection.brokers().to_owned() })
    }

    /// Hands a message to librdkafka, in order. Waits only while its buffer is full.
    pub fn begin(&self, message: Outgoing<'_>) -> Result<Pending, QueueError> {
        let (acknowledge, answer) = bounded(1);
        let mut headers = OwnedHeaders::new_with_capacity(message.headers.len());
        for (key, value) in message.headers {
            headers = headers.insert(Header { key, value: Some(*value) });
        }
        let mut record = BaseRecord::with_opaque_to(message.topic, Box::new(acknowledge)).key(message.key);
        if !message.headers.is_empty() {
            record = record.headers(headers);
        }
        if let Some(value) = message.value {
            record = record.payload(value);
        }
        if let Some(partition) = message.partition {
            record = record.partition(partition);
        }
        loop {
            self.reach.keep(self.producer.client());
            match self.producer.send(record) {
                Ok(()) => return Ok(Pending { answer, publisher: self.clone() }),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, _)) => return Err(QueueError::of(&self.brokers, &error)),
            }
            std::thread::sleep(FULL_BUFFER_PAUSE);
        }
    }

    /// Sends a message, and comes back when the broker has it.
    pub fn send(&self, message: Outgoing<'_>) -> Result<Place, QueueError> {
        self.begin(message)?.wait()
    }

    /// Waits until nothing is on its way, or time is up.
    pub fn flush(&self, patience: Duration) {
        if let Err(error) = self.producer.flush(patience) {
            tracing::warn!("messages are still on their way: {error}");
        }
    }
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl Pending {
    /// The broker's answer, if there is one by now.
    pub fn answer(&self) -> Option<Result<Place, QueueError>> {
        let answer = self.answer.try_recv().ok()?;
        Some(answer.map_err(|e| QueueError::of(&self.publisher.brokers, &e)))
    }

    /// Comes back when the broker has the message, or will not have it.
    pub fn wait(self) -> Result<Place, QueueError> {
        let lost = || QueueError::Unavailable {
            brokers: self.publisher.brokers.clone(),
            reason: "the producer ended before the message was acknowledged".to_owned(),
        };
        loop {
            match self.answer.recv_timeout(LOOK) {
                Ok(answer) => return answer.map_err(|e| QueueError::of(&self.publisher.brokers, &e)),
                Err(RecvTimeoutError::Timeout) => self.publisher.reach.keep(self.publisher.producer.client()),
                Err(RecvTimeoutError::Disconnected) => return Err(lost()),
            }
        }
    }
}

/// Passes each delivery report to whoever waits for it.
struct Acknowledge(Arc<Reach>);

impl ClientContext for Acknowledge {
    fn stats_raw(&self, statistics: &[u8]) {
        self.0.hear(statistics);
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        log(facility, message);
    }
}

impl ProducerContext for Acknowledge {
    type DeliveryOpaque = Box<Sender<Result<Place, KafkaError>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, acknowledge: Self::DeliveryOpaque) {
        let answer = match result {
            Ok(message) => Ok(Place { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone()),
        };
        // Nobody may wait any more.
        let _ = acknowledge.send(answer);
    }
}
