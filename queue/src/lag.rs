//! How much of a queue its group has not finished, by the broker's own answers.

use crate::connection::{Connection, PATIENCE};
use crate::error::QueueError;
use crate::reach::Reaching;
use crate::topics::Topics;
use crate::topics::partitions;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

/// Asks about one topic. Keeps its connection.
pub struct LagProbe {
    consumer: BaseConsumer<Reaching>,
    connection: Connection,
    topic: String,
}

/// Of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionLag {
    pub partition: i32,
    /// The next offset that the group reads after a restart.
    pub committed: i64,
    /// Behind the last message.
    pub end: i64,
}

impl LagProbe {
    pub fn new(connection: &Connection, topic: &str) -> Result<Self, QueueError> {
        let mut config = connection.config();
        // It asks for the group's offsets, and never joins it.
        config.set("group.id", Topics::group(topic)).set("enable.auto.commit", "false");
        let consumer = config.create_with_context(Reaching::new(connection)).map_err(|e| connection.refused(&e))?;
        Ok(Self { consumer, connection: connection.clone(), topic: topic.to_owned() })
    }

    /// Every partition of the topic.
    ///
    /// # Errors
    /// Also if the broker's answer lacks a partition: what is not known is not zero.
    pub fn ask(&self) -> Result<Vec<PartitionLag>, QueueError> {
        Reaching::hear_and_keep(&self.consumer);
        let failed = |e: &_| QueueError::of(self.connection.brokers(), e);
        let partitions = partitions(self.consumer.client(), &self.connection, &self.topic)? as i32;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&self.topic, 0, partitions - 1);
        let committed = self.connection.ask(|| self.consumer.committed_offsets(list.clone(), PATIENCE))?;
        let mut lags = Vec::new();
        for partition in 0..partitions {
            let element = committed.find_partition(&self.topic, partition).ok_or_else(|| self.lacks(partition))?;
            element.error().map_err(|e| failed(&e))?;
            let (first, end) =
                self.connection.ask(|| self.consumer.fetch_watermarks(&self.topic, partition, PATIENCE))?;
            let committed = match element.offset() {
                Offset::Offset(offset) => offset.max(first),
                // The group never committed here, and will begin at the beginning.
                _ => first,
            };
            lags.push(PartitionLag { partition, committed, end });
        }
        Ok(lags)
    }

    /// Messages that are not finished.
    pub fn messages(&self) -> Result<u64, QueueError> {
        Ok(self.ask()?.iter().map(|lag| lag.end.saturating_sub(lag.committed).max(0) as u64).sum())
    }

    fn lacks(&self, partition: i32) -> QueueError {
        let reason = format!("the broker's answer lacks partition {partition} of {}", self.topic);
        QueueError::Unavailable { brokers: self.connection.brokers().to_owned(), reason }
    }
}

impl std::fmt::Debug for LagProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LagProbe").field("topic", &self.topic).finish_non_exhaustive()
    }
}
