//! Keeps a client able to reach its cluster.
//!
//! A broker that has just started may answer that its cluster has no brokers. librdkafka 2.10 and later then forgets those
//! that it knew, and goes back to its bootstrap servers or not, as it happens (its issue 5301): a client that does not is cut
//! off for ever. Its statistics show that, and it can be told of the brokers again.

use crate::connection::Connection;
use crate::error::QueueError;
use framefleet_native_kafka::add_brokers;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Deserialize;
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Whether a client knows of any broker. Shared by the client's context, which hears its statistics, and its owner.
#[derive(Debug)]
pub(crate) struct Reach {
    brokers: CString,
    knows_none: AtomicBool,
}

#[derive(Deserialize)]
struct Statistics {
    brokers: HashMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    source: String,
}

impl Reach {
    pub fn new(connection: &Connection) -> Arc<Self> {
        // Up to a zero byte, which no address has.
        let brokers = connection.brokers().split('\0').next().unwrap_or_default();
        Arc::new(Self { brokers: CString::new(brokers).unwrap_or_default(), knows_none: AtomicBool::new(false) })
    }

    /// To be called with what librdkafka says of a client every few seconds.
    pub fn hear(&self, statistics: &[u8]) {
        let Ok(statistics) = serde_json::from_slice::<Statistics>(statistics) else { return };
        // All others stand for no address.
        let is_address = |broker: &Broker| matches!(broker.source.as_str(), "configured" | "learned");
        self.knows_none.store(!statistics.brokers.values().any(is_address), Ordering::Relaxed);
    }

    /// To be called often: a client that is cut off begins with its bootstrap servers again.
    pub fn keep<C: ClientContext>(&self, client: &Client<C>) {
        if self.knows_none.swap(false, Ordering::Relaxed) && add_brokers(client, &self.brokers) > 0 {
            tracing::warn!("Kafka answered that it has no brokers; {} is asked again", self.brokers.to_string_lossy());
        }
    }
}

/// What librdkafka says of itself is for whoever asks for it: what matters of it comes as an error too.
pub(crate) fn log(facility: &str, message: &str) {
    tracing::debug!(target: "librdkafka", "{facility} {message}");
}

/// The context of a consumer that belongs to no group.
pub(crate) struct Reaching {
    reach: Arc<Reach>,
    /// What librdkafka said last of why it does not get through.
    trouble: Mutex<Option<String>>,
}

impl Reaching {
    pub fn new(connection: &Connection) -> Self {
        Self { reach: Reach::new(connection), trouble: Mutex::default() }
    }

    /// As [`Reach::keep`], of a consumer that is polled for messages.
    pub fn keep(consumer: &BaseConsumer<Self>) {
        consumer.context().reach.keep(consumer.client());
    }

    /// As [`Reach::keep`], of a consumer that is polled for nothing else.
    pub fn hear_and_keep(consumer: &BaseConsumer<Self>) {
        const MOST: usize = 100;
        for _ in 0..MOST {
            let _ = consumer.poll(Duration::ZERO);
        }
        Self::keep(consumer);
    }

    /// Why a question failed: where librdkafka knows more than that no answer came, such as a wrong password.
    pub fn explain(consumer: &BaseConsumer<Self>, error: QueueError) -> QueueError {
        Self::hear_and_keep(consumer);
        Self::explain_by_what_was_heard(consumer, error)
    }

    /// The same of a consumer that is polled for messages.
    pub fn explain_by_what_was_heard(consumer: &BaseConsumer<Self>, error: QueueError) -> QueueError {
        let trouble = consumer.context().trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        match error {
            // What a broker answers says enough.
            QueueError::Unavailable { brokers, reason } if reason.contains("(Local: ") => {
                // A listener with TLS says nothing to whoever comes without.
                let silence = || format!("{reason}, without a word why, as with a wrong security.protocol");
                QueueError::Unavailable { brokers, reason: trouble.unwrap_or_else(silence) }
            }
            error => error,
        }
    }
}

impl ClientContext for Reaching {
    fn stats_raw(&self, statistics: &[u8]) {
        self.reach.hear(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // It only follows from what was said before.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
        }
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        log(facility, message);
    }
}

impl ConsumerContext for Reaching {}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use std::collections::BTreeMap;

    fn nobody() -> Connection {
        Connection::new("127.0.0.1:9,127.0.0.2:9", "p", BTreeMap::new()).unwrap()
    }

    #[test]
    fn a_client_that_knows_no_address_is_told_of_the_brokers_again() {
        // As after an answer without brokers.
        let consumer: BaseConsumer<Reaching> = ClientConfig::new()
            .set("statistics.interval.ms", "20")
            .create_with_context(Reaching::new(&nobody()))
            .unwrap();
        let reach = &consumer.context().reach;
        let hear = || {
            for _ in 0..10 {
                assert!(consumer.poll(Duration::from_millis(20)).is_none_or(|polled| polled.is_err()));
            }
        };
        hear();
        assert!(reach.knows_none.load(Ordering::Relaxed));
        reach.keep(consumer.client());
        hear();
        assert!(!reach.knows_none.load(Ordering::Relaxed));
    }

    #[test]
    fn a_question_that_failed_is_explained() {
        let consumer: BaseConsumer<Reaching> = nobody().config().create_with_context(Reaching::new(&nobody())).unwrap();
        let error = consumer.client().fetch_metadata(None, Duration::from_millis(300)).unwrap_err();
        let said = Reaching::explain(&consumer, QueueError::of("127.0.0.1:9", &error)).to_string();
        assert!(said.contains("Connection refused"), "{said}");
    }

    #[test]
    fn what_stands_for_no_address_does_not_count() {
        let reach = Reach::new(&nobody());
        let heard = |sources: &[&str]| {
            let brokers =
                sources.iter().enumerate().map(|(n, source)| (n.to_string(), serde_json::json!({ "source": source })));
            let brokers: serde_json::Map<_, _> = brokers.collect();
            reach.hear(serde_json::json!({ "brokers": brokers }).to_string().as_bytes());
            reach.knows_none.load(Ordering::Relaxed)
        };
        assert!(heard(&["logical", "internal"]));
        assert!(!heard(&["logical", "learned"]));
        assert!(!heard(&["configured"]));
        reach.hear(b"no JSON");
        assert!(!reach.knows_none.load(Ordering::Relaxed));
    }
}
