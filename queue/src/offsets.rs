//! Where partitions begin and end, and what came since when: one question to each broker, for all partitions at once.

use crate::connection::{Connection, PATIENCE};
use crate::error::QueueError;
use crate::reach::Reaching;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Of the first message that is still there, or where it would be.
    First,
    /// Behind the last message.
    End,
    /// Of the first message that is not older, in milliseconds since 1970; behind the last message where all are.
    Since(i64),
}

/// A topic of which all partitions are asked about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Whole {
    pub topic: String,
    pub partitions: u32,
}

/// The offsets of each topic, by partition.
///
/// # Errors
/// Also if an answer lacks a partition: what is not known is not zero.
pub(crate) fn offsets(
    connection: &Connection,
    consumer: &BaseConsumer<Reaching>,
    topics: &[Whole],
    at: At,
) -> Result<Vec<Vec<i64>>, QueueError> {
    match at {
        At::First => {
            asked(connection, consumer, topics, Offset::Beginning).and_then(|found| whole(connection, topics, found))
        }
        At::End => asked(connection, consumer, topics, Offset::End).and_then(|found| whole(connection, topics, found)),
        At::Since(time_ms) => {
            // The ends first, so that what comes meanwhile is not passed over.
            let ends = offsets(connection, consumer, topics, At::End)?;
            let found = asked(connection, consumer, topics, Offset::Offset(time_ms.max(0)))?;
            let or_end = |(found, end): (Option<i64>, i64)| found.unwrap_or(end);
            Ok(found
                .into_iter()
                .zip(ends)
                .map(|(found, ends)| found.into_iter().zip(ends).map(or_end).collect())
                .collect())
        }
    }
}

/// librdkafka passes on what stands for an offset as the time that the broker is asked about, so that its constants for the
/// beginning and the end, which are the protocol's, ask for these.
fn asked(
    connection: &Connection,
    consumer: &BaseConsumer<Reaching>,
    topics: &[Whole],
    time: Offset,
) -> Result<Vec<Vec<Option<i64>>>, QueueError> {
    let failed = |e: &_| QueueError::of(connection.brokers(), e);
    let mut question = TopicPartitionList::new();
    for Whole { topic, partitions } in topics {
        for partition in 0..*partitions as i32 {
            question.add_partition_offset(topic, partition, time).map_err(|e| failed(&e))?;
        }
    }
    if question.count() == 0 {
        return Ok(vec![Vec::new(); topics.len()]);
    }
    let answer = connection.ask(|| {
        let answer = consumer.offsets_for_times(question.clone(), PATIENCE)?;
        let answered = answer.elements().iter().try_for_each(TopicPartitionListElem::error);
        if answered.as_ref().is_err_and(|e| e.rdkafka_error_code() == Some(RDKafkaErrorCode::UnknownPartition)) {
            // The client looks for partitions that were added every few minutes, unless somebody asks.
            for Whole { topic, .. } in topics {
                consumer.fetch_metadata(Some(topic), PATIENCE)?;
            }
        }
        answered.map(|()| answer)
    })?;
    Ok(by_topic(topics, &answer))
}

/// The offsets of an answer, by topic and partition, where it has them.
pub(crate) fn by_topic(topics: &[Whole], answer: &TopicPartitionList) -> Vec<Vec<Option<i64>>> {
    let mut found: Vec<Vec<Option<i64>>> = topics.iter().map(|topic| vec![None; topic.partitions as usize]).collect();
    let places: HashMap<&str, usize> = topics.iter().enumerate().map(|(n, topic)| (topic.topic.as_str(), n)).collect();
    for element in answer.elements() {
        let of_topic = places.get(element.topic()).and_then(|place| found.get_mut(*place));
        let partition = usize::try_from(element.partition()).ok();
        if let (Some(of_topic), Some(partition), Offset::Offset(offset)) = (of_topic, partition, element.offset())
            && let Some(place) = of_topic.get_mut(partition)
        {
            *place = Some(offset);
        }
    }
    found
}

/// # Errors
/// The answer lacks a partition.
fn whole(connection: &Connection, topics: &[Whole], found: Vec<Vec<Option<i64>>>) -> Result<Vec<Vec<i64>>, QueueError> {
    let of_topic = |(topic, found): (&Whole, Vec<Option<i64>>)| {
        let of_partition = |(partition, offset): (usize, Option<i64>)| {
            offset.ok_or_else(|| lacks(connection, &topic.topic, partition))
        };
        found.into_iter().enumerate().map(of_partition).collect()
    };
    topics.iter().zip(found).map(of_topic).collect()
}

pub(crate) fn lacks(connection: &Connection, topic: &str, partition: usize) -> QueueError {
    let reason = format!("the broker's answer lacks partition {partition} of {topic}");
    QueueError::Unavailable { brokers: connection.brokers().to_owned(), reason }
}
