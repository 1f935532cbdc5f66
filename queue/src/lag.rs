//! How much of a queue its group has not finished, by the broker's own answers.

use crate::connection::{Connection, PATIENCE};
use crate::error::QueueError;
use crate::offsets::{At, Whole, by_topic, lacks, offsets};
use crate::reach::Reaching;
use crate::topics::Topics;
use crate::topics::partitions;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionListElem;

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
    /// Of the first message that is still there.
    pub first: i64,
    /// The next offset that the group reads after a restart. It is behind `end` where the topic was made anew since.
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

    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Every partition of the topic, in order.
    ///
    /// # Errors
    /// Also if the broker's answer lacks a partition: what is not known is not zero.
    pub fn ask(&self) -> Result<Vec<PartitionLag>, QueueError> {
        self.asked().map_err(|error| Reaching::explain(&self.consumer, error))
    }

    fn asked(&self) -> Result<Vec<PartitionLag>, QueueError> {
        Reaching::hear_and_keep(&self.consumer);
        let partitions = partitions(self.consumer.client(), &self.connection, &self.topic)?;
        let topic = [Whole { topic: self.topic.clone(), partitions }];
        // What is committed before the ends: those that are asked for later are not before it.
        let committed = self.committed(&topic)?;
        let firsts = offsets(&self.connection, &self.consumer, &topic, At::First)?.concat();
        let ends = offsets(&self.connection, &self.consumer, &topic, At::End)?.concat();
        let known = committed.into_iter().zip(firsts).zip(ends).enumerate();
        let lag = |(partition, ((committed, first), end)): (usize, ((Option<i64>, i64), i64))| PartitionLag {
            partition: partition as i32,
            first,
            // Where the group never committed, it begins at the beginning.
            committed: committed.unwrap_or(first).max(first),
            end,
        };
        Ok(known.map(lag).collect())
    }

    /// By partition; `None` where the group never committed.
    fn committed(&self, topic: &[Whole; 1]) -> Result<Vec<Option<i64>>, QueueError> {
        let [Whole { topic: name, partitions }] = topic;
        let mut list = TopicPartitionList::new();
        list.add_partition_range(name, 0, *partitions as i32 - 1);
        let answer = self.connection.ask(|| {
            let answer = self.consumer.committed_offsets(list.clone(), PATIENCE)?;
            answer.elements().iter().try_for_each(TopicPartitionListElem::error)?;
            Ok(answer)
        })?;
        let answered: Vec<i32> = answer.elements().iter().map(TopicPartitionListElem::partition).collect();
        match (0..*partitions as i32).find(|partition| !answered.contains(partition)) {
            Some(partition) => Err(lacks(&self.connection, name, partition as usize)),
            None => Ok(by_topic(topic, &answer).concat()),
        }
    }

    /// Messages that are not finished.
    pub fn messages(&self) -> Result<u64, QueueError> {
        Ok(self.ask()?.iter().map(|lag| lag.end.saturating_sub(lag.committed).max(0) as u64).sum())
    }
}

impl std::fmt::Debug for LagProbe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LagProbe").field("topic", &self.topic).finish_non_exhaustive()
    }
}
