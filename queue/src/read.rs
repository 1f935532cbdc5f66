//! Reads whole topics and goes on with what comes: for words that everybody hears, and for clients.

use crate::connection::{Connection, PATIENCE};
use crate::error::QueueError;
use crate::reach::Reaching;
use crate::topics::partitions;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads topics without belonging to any group, each from its beginning.
pub struct Reader {
    consumer: BaseConsumer<Reaching>,
    brokers: String,
    /// What is not read yet of what was there at the beginning: the last offset, by topic and partition.
    behind: HashMap<(String, i32), i64>,
}

/// A message as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    /// Absent where something is taken back.
    pub value: Option<Vec<u8>>,
    pub headers: BTreeMap<String, Vec<u8>>,
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With everything that is there.
    Beginning,
    /// With what comes from now on.
    Now,
    /// With what was said within this time.
    Last(Duration),
}

impl Reader {
    pub fn open(connection: &Connection, topics: &[String], from: From) -> Result<Self, QueueError> {
        let mut config = connection.config();
        config
            // librdkafka wants one; nothing is ever committed under it.
            .set("group.id", format!("{}.readers", connection.topics().prefix()))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "200");
        let consumer = config.create_with_context(Reaching::new(connection)).map_err(|e| connection.refused(&e))?;
        let behind = begin(connection, &consumer, topics, from).map_err(|error| Reaching::explain(&consumer, error))?;
        Ok(Self { consumer, brokers: connection.brokers().to_owned(), behind })
    }

    /// The next message, or `None` if there was none for so long. A broker that is away is waited for.
    pub fn next(&mut self, patience: Duration) -> Result<Option<Record>, QueueError> {
        Reaching::keep(&self.consumer);
        let message = match self.consumer.poll(patience) {
            None => return Ok(None),
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!("reading: {error}");
                return match error.rdkafka_error_code() {
                    Some(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition) => {
                        Err(QueueError::of(&self.brokers, &error))
                    }
                    _ => Ok(None),
                };
            }
        };
        let record = Record {
            topic: message.topic().to_owned(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: headers_of(&message),
        };
        drop(message);
        self.heed(&record.topic, record.partition, record.offset);
        Ok(Some(record))
    }

    /// Whether everything was read that was there when this began.
    ///
    /// The last offsets of a compacted topic may hold nothing any more, so that the position counts, and not only what was
    /// read.
    pub fn has_caught_up(&mut self) -> bool {
        if self.behind.is_empty() {
            return true;
        }
        if let Ok(position) = self.consumer.position() {
            for element in position.elements() {
                if let Offset::Offset(next) = element.offset() {
                    self.heed(element.topic(), element.partition(), next - 1);
                }
            }
        }
        self.behind.is_empty()
    }

    /// Everything that was there when this began, and perhaps what came since.
    ///
    /// # Errors
    /// The broker went away, and did not come back for so long.
    pub fn read_all(
        &mut self,
        patience: Duration,
        mut take: impl FnMut(Record) -> Result<(), QueueError>,
    ) -> Result<(), QueueError> {
        let mut last = std::time::Instant::now();
        while !self.has_caught_up() {
            // Many at a time between two looks at the position.
            for _ in 0..1000 {
                let Some(record) = self.next(Duration::from_millis(20))? else { break };
                take(record)?;
                last = std::time::Instant::now();
                if self.behind.is_empty() {
                    break;
                }
            }
            if last.elapsed() > patience {
                let reason = format!("no message for {} s, and there are more", patience.as_secs());
                return Err(QueueError::Unavailable { brokers: self.brokers.clone(), reason });
            }
        }
        Ok(())
    }

    fn heed(&mut self, topic: &str, partition: i32, read: i64) {
        if self.behind.is_empty() {
            return;
        }
        let place = (topic.to_owned(), partition);
        if self.behind.get(&place).is_some_and(|last| read >= *last) {
            self.behind.remove(&place);
        }
    }
}

/// The first offset of what was said within so long, if anything was.
fn said_since(
    consumer: &BaseConsumer<Reaching>,
    topic: &str,
    partition: i32,
    time: Duration,
) -> Result<Option<i64>, KafkaError> {
    let begin = SystemTime::now().checked_sub(time).and_then(|begin| begin.duration_since(UNIX_EPOCH).ok());
    let begin_ms = begin.unwrap_or_default().as_millis() as i64;
    let mut asked = TopicPartitionList::new();
    asked.add_partition_offset(topic, partition, Offset::Offset(begin_ms))?;
    let found = consumer.offsets_for_times(asked, PATIENCE)?;
    Ok(found.find_partition(topic, partition).and_then(|found| match found.offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }))
}

/// Has a consumer begin there. Gives what it has not read yet of what is there by now.
fn begin(
    connection: &Connection,
    consumer: &BaseConsumer<Reaching>,
    topics: &[String],
    from: From,
) -> Result<HashMap<(String, i32), i64>, QueueError> {
    let failed = |e: &_| QueueError::of(connection.brokers(), e);
    let mut list = TopicPartitionList::new();
    let mut behind = HashMap::new();
    for topic in topics {
        for partition in 0..partitions(consumer.client(), connection, topic)? as i32 {
            let (first, end) = connection.ask(|| consumer.fetch_watermarks(topic, partition, PATIENCE))?;
            let start = match from {
                From::Beginning => first,
                From::Now => end,
                From::Last(time) => connection.ask(|| said_since(consumer, topic, partition, time))?.unwrap_or(end),
            };
            if end > start {
                behind.insert((topic.clone(), partition), end - 1);
            }
            list.add_partition_offset(topic, partition, Offset::Offset(start)).map_err(|e| failed(&e))?;
        }
    }
    consumer.assign(&list).map_err(|e| failed(&e))?;
    Ok(behind)
}

/// The headers of a message, in order or by name. One whose name is not UTF-8 is none of ours, and is passed over: the
/// Kafka crate panics where it reads it.
pub(crate) fn headers_of<H: FromIterator<(String, Vec<u8>)> + Default>(message: &impl Message) -> H {
    let pair = |header: Header<'_, &[u8]>| (header.key.to_owned(), header.value.unwrap_or_default().to_vec());
    let Some(headers) = message.headers() else { return H::default() };
    let read = |n: usize| catch_unwind(AssertUnwindSafe(|| headers.try_get(n).map(pair))).ok().flatten();
    (0..headers.count()).filter_map(read).collect()
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("brokers", &self.brokers).field("behind", &self.behind).finish_non_exhaustive()
    }
}
