//! Reads whole topics and goes on with what comes: for words that everybody hears, and for clients.

use crate::connection::Connection;
use crate::error::QueueError;
use crate::offsets::{At, Whole, offsets};
use crate::reach::Reaching;
use crate::topics::partitions;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Reads topics without belonging to any group.
pub struct Reader {
    consumer: BaseConsumer<Reaching>,
    connection: Connection,
    /// Polled, it may give messages.
    has_begun: bool,
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

/// Where to begin with a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

/// Fetched messages that wait to be taken: a second's worth, where a client would otherwise keep 64 MB.
const FETCHED_KIB: &str = "8192";
const FETCH_BYTES: &str = "4194304";

impl Reader {
    pub fn open(connection: &Connection, topics: &[String], from: From) -> Result<Self, QueueError> {
        let mut this = Self::idle(connection)?;
        this.begin(topics, from)?;
        Ok(this)
    }

    /// Reads nothing, until [`Reader::add`].
    pub fn idle(connection: &Connection) -> Result<Self, QueueError> {
        let mut config = connection.config();
        config
            // librdkafka wants one; nothing is ever committed under it.
            .set("group.id", format!("{}.readers", connection.topics().prefix()))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "100")
            .set("fetch.error.backoff.ms", "200")
            .set("fetch.queue.backoff.ms", "20")
            .set("queued.max.messages.kbytes", FETCHED_KIB)
            .set("fetch.max.bytes", FETCH_BYTES);
        let consumer = config.create_with_context(Reaching::new(connection)).map_err(|e| connection.refused(&e))?;
        Ok(Self { consumer, connection: connection.clone(), has_begun: false, behind: HashMap::new() })
    }

    /// Reads these partitions too.
    pub fn add(&mut self, starts: &[Start]) -> Result<(), QueueError> {
        if starts.is_empty() {
            return Ok(());
        }
        self.has_begun = true;
        let mut list = TopicPartitionList::with_capacity(starts.len());
        let add =
            |start: &Start| list.add_partition_offset(&start.topic, start.partition, Offset::Offset(start.offset));
        let added = starts.iter().try_for_each(add).and_then(|()| self.consumer.incremental_assign(&list));
        added.map_err(|e| QueueError::of(self.connection.brokers(), &e))
    }

    /// How many partitions a topic has.
    pub fn partitions(&self, topic: &str) -> Result<u32, QueueError> {
        let found = partitions(self.consumer.client(), &self.connection, topic);
        found.map_err(|error| self.explain(error))
    }

    /// Offsets of topics, by partition.
    ///
    /// # Errors
    /// Also if the broker's answer lacks a partition.
    pub fn offsets(&self, topics: &[Whole], at: At) -> Result<Vec<Vec<i64>>, QueueError> {
        offsets(&self.connection, &self.consumer, topics, at).map_err(|error| self.explain(error))
    }

    /// Begins there, and remembers what it has not read yet of what is there by now.
    fn begin(&mut self, topics: &[String], from: From) -> Result<(), QueueError> {
        let whole = |topic: &String| Ok(Whole { topic: topic.clone(), partitions: self.partitions(topic)? });
        let topics = topics.iter().map(whole).collect::<Result<Vec<_>, QueueError>>()?;
        let at = match from {
            From::Beginning => At::First,
            From::Now => At::End,
            From::Last(time) => At::Since(ago_ms(time)),
        };
        let starts = self.offsets(&topics, at)?;
        let ends = self.offsets(&topics, At::End)?;
        let mut list = Vec::new();
        for ((Whole { topic, .. }, starts), ends) in topics.iter().zip(starts).zip(ends) {
            for (partition, (offset, end)) in (0..).zip(starts.into_iter().zip(ends)) {
                if end > offset {
                    self.behind.insert((topic.clone(), partition), end - 1);
                }
                list.push(Start { topic: topic.clone(), partition, offset });
            }
        }
        self.add(&list)
    }

    fn explain(&self, error: QueueError) -> QueueError {
        if self.has_begun {
            // Messages come by polling too.
            Reaching::explain_by_what_was_heard(&self.consumer, error)
        } else {
            Reaching::explain(&self.consumer, error)
        }
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
                        Err(QueueError::of(self.connection.brokers(), &error))
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
                return Err(QueueError::Unavailable { brokers: self.connection.brokers().to_owned(), reason });
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

/// Milliseconds since 1970.
fn ago_ms(time: Duration) -> i64 {
    let then = SystemTime::now().checked_sub(time).and_then(|then| then.duration_since(UNIX_EPOCH).ok());
    then.unwrap_or_default().as_millis() as i64
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
        f.debug_struct("Reader")
            .field("connection", &self.connection)
            .field("behind", &self.behind)
            .finish_non_exhaustive()
    }
}
