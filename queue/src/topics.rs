//! The topics: their names, and how each is made and checked.

use crate::connection::{Connection, PATIENCE};
use crate::error::QueueError;
use crate::reach::Reaching;
use framefleet_contract::message::submission::is_queue;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use std::collections::BTreeMap;

/// The names of a fleet's topics and consumer groups, which all begin with its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

/// The queues that there are unless a fleet's owner says otherwise.
pub const DEFAULT_QUEUES: [&str; 3] = ["high", "normal", "low"];

impl Topics {
    /// # Errors
    /// A prefix that a topic's name cannot begin with.
    pub fn new(prefix: &str) -> Result<Self, QueueError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if prefix.is_empty() || prefix.len() > 100 || !prefix.chars().all(allowed) {
            let reason = format!("prefix {prefix:?} is not usable: take 1 to 100 letters, digits, '.', '_' or '-'");
            return Err(QueueError::BadRequest(reason));
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    pub fn jobs(&self) -> String {
        self.named("jobs")
    }

    pub fn segments(&self, queue: &str) -> String {
        self.named(&format!("segments.{queue}"))
    }

    pub fn finish(&self) -> String {
        self.named("finish")
    }

    pub fn outcomes(&self) -> String {
        self.named("outcomes")
    }

    pub fn status(&self) -> String {
        self.named("status")
    }

    pub fn control(&self) -> String {
        self.named("control")
    }

    pub fn workers(&self) -> String {
        self.named("workers")
    }

    pub fn dead_letters(&self) -> String {
        self.named("dead-letters")
    }

    /// The topics that hold a word on each job, in the order in which it is taken back: the outcome last, so that who is cut
    /// off finds the job again.
    pub fn words_on_a_job(&self) -> [String; 3] {
        [self.status(), self.control(), self.outcomes()]
    }

    /// The consumer group of a topic that is a queue: all workers that serve it, and only for it.
    pub fn group(topic: &str) -> String {
        topic.to_owned()
    }

    fn named(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// What [`apply`] makes.
    fn wanted(&self, queues: &[String]) -> Vec<(String, Kind)> {
        let mut wanted = vec![(self.jobs(), Kind::Queue)];
        wanted.extend(queues.iter().map(|queue| (self.segments(queue), Kind::Queue)));
        wanted.extend([
            (self.finish(), Kind::Queue),
            (self.outcomes(), Kind::Compacted),
            (self.status(), Kind::Compacted),
            (self.control(), Kind::Compacted),
            (self.workers(), Kind::Compacted),
            (self.dead_letters(), Kind::Log),
        ]);
        wanted
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Work, each message for one of the group's workers.
    Queue,
    /// The last word for each key.
    Compacted,
    /// Kept, and read by people.
    Log,
}

/// How the topics are to be.
#[derive(Debug, Clone)]
pub struct Layout {
    pub queues: Vec<String>,
    /// Of the queues: the most workers that can serve one at once.
    pub partitions: u32,
    pub replication: u32,
    /// How long a message of a queue may wait, hours. Longer than any job does.
    pub retention_hours: u32,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            queues: DEFAULT_QUEUES.map(str::to_owned).to_vec(),
            partitions: 96,
            replication: 1,
            retention_hours: 24 * 14,
        }
    }
}

/// Of topics that hold few messages, each of which every worker or client reads.
const PARTITIONS_OF_WORDS: u32 = 8;

/// What became of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub topic: String,
    pub was_made: bool,
    pub partitions: u32,
    /// What is not as it would be made; nothing was changed.
    pub differs: Vec<String>,
}

/// Makes the topics that are missing, and looks whether the others are as they must be. Changes none that is there.
pub async fn apply(connection: &Connection, layout: &Layout) -> Result<Vec<Applied>, QueueError> {
    if let Some(queue) = layout.queues.iter().find(|queue| !is_queue(queue)) {
        let reason = format!("queue {queue:?} is not usable: take 1 to 32 of a-z, 0-9 and -, not beginning with -");
        return Err(QueueError::BadRequest(reason));
    }
    // Whether there is a broker: an administrator's client does not say why it gets no answer.
    match check_topics(connection, &[connection.topics().jobs()]) {
        Ok(_) | Err(QueueError::Topics { .. }) => {}
        Err(error) => return Err(error),
    }
    let admin: AdminClient<DefaultClientContext> = connection.config().create().map_err(|e| connection.refused(&e))?;
    let failed = |e: &_| QueueError::of(connection.brokers(), e);
    let wanted = connection.topics().wanted(&layout.queues);
    let settings: Vec<Settings> = wanted.iter().map(|(_, kind)| settings_of(*kind, layout)).collect();
    let new_topics: Vec<NewTopic<'_>> = wanted
        .iter()
        .zip(&settings)
        .map(|((name, kind), settings)| {
            let replication = TopicReplication::Fixed(layout.replication as i32);
            let topic = NewTopic::new(name, partitions_of(*kind, layout) as i32, replication);
            settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(PATIENCE)).request_timeout(Some(PATIENCE));
    let made = admin.create_topics(&new_topics, &options).await.map_err(|e| failed(&e))?;
    let mut applied = Vec::new();
    for (result, ((topic, kind), settings)) in made.into_iter().zip(wanted.iter().zip(&settings)) {
        let mut this = Applied {
            topic: topic.clone(),
            was_made: result.is_ok(),
            partitions: partitions_of(*kind, layout),
            differs: Vec::new(),
        };
        match result {
            Ok(_) => wait_for_leaders(&admin, connection, topic)?,
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {
                this.partitions = partitions(admin.inner(), connection, topic)?;
                this.differs = differences(&admin, connection, topic, settings, &options).await?;
                let wanted = partitions_of(*kind, layout);
                if this.partitions != wanted {
                    this.differs.push(format!("has {} partitions, not {wanted}", this.partitions));
                }
            }
            Err((_, code)) => return Err(QueueError::Topics { reason: format!("{topic} cannot be made: {code}") }),
        }
        applied.push(this);
    }
    Ok(applied)
}

type Settings = BTreeMap<&'static str, String>;

fn partitions_of(kind: Kind, layout: &Layout) -> u32 {
    if kind == Kind::Queue { layout.partitions } else { PARTITIONS_OF_WORDS.min(layout.partitions) }
}

fn settings_of(kind: Kind, layout: &Layout) -> Settings {
    let retention = (u64::from(layout.retention_hours) * 3_600_000).to_string();
    match kind {
        Kind::Queue => BTreeMap::from([("cleanup.policy", "delete".to_owned()), ("retention.ms", retention)]),
        // That a job was removed is remembered as long as its request is kept. Only closed segments are compacted, and whoever
        // comes reads everything.
        Kind::Compacted => BTreeMap::from([
            ("cleanup.policy", "compact".to_owned()),
            ("delete.retention.ms", retention),
            ("segment.ms", "3600000".to_owned()),
        ]),
        // What was given up waits for a person.
        Kind::Log => BTreeMap::from([("cleanup.policy", "delete".to_owned()), ("retention.ms", "-1".to_owned())]),
    }
}

/// Comes back when a topic that was made can be used: when the broker that is asked knows it, which the controller does
/// earlier, and its partitions have leaders. Whoever is told that the topics are there may start workers at once.
fn wait_for_leaders(
    admin: &AdminClient<DefaultClientContext>,
    connection: &Connection,
    topic: &str,
) -> Result<(), QueueError> {
    connection.ask(|| {
        let metadata = admin.inner().fetch_metadata(Some(topic), PATIENCE)?;
        let mut partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions).peekable();
        if partitions.peek().is_some() && partitions.all(|partition| partition.leader() >= 0) {
            return Ok(());
        }
        Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable))
    })
}

async fn differences(
    admin: &AdminClient<DefaultClientContext>,
    connection: &Connection,
    topic: &str,
    wanted: &Settings,
    options: &AdminOptions,
) -> Result<Vec<String>, QueueError> {
    let resources = [ResourceSpecifier::Topic(topic)];
    let failed = |e: &_| QueueError::of(connection.brokers(), e);
    let described = admin.describe_configs(&resources, options).await.map_err(|e| failed(&e))?;
    let Some(Ok(resource)) = described.into_iter().next() else { return Ok(Vec::new()) };
    let is_so = |name: &str| resource.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
    let differs = wanted.iter().filter(|(name, value)| is_so(name) != **value);
    Ok(differs.map(|(name, value)| format!("{name} is {}, not {value}", is_so(name))).collect())
}

/// Fails unless all these topics are there. Gives how many partitions each has.
pub fn check_topics(connection: &Connection, topics: &[String]) -> Result<Vec<u32>, QueueError> {
    let context = Reaching::new(connection);
    let consumer: BaseConsumer<_> =
        connection.config().create_with_context(context).map_err(|e| connection.refused(&e))?;
    let found: Result<_, _> = topics.iter().map(|topic| partitions(consumer.client(), connection, topic)).collect();
    found.map_err(|error| Reaching::explain(&consumer, error))
}

/// How many partitions the topic has.
pub(crate) fn partitions<C: ClientContext>(
    client: &Client<C>,
    connection: &Connection,
    topic: &str,
) -> Result<u32, QueueError> {
    let metadata = connection.ask(|| client.fetch_metadata(Some(topic), PATIENCE))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    match found.map(|found| found.partitions().len()) {
        Some(partitions) if partitions > 0 => Ok(partitions as u32),
        _ => Err(QueueError::Topics { reason: format!("there is no topic {topic}") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_one_that_a_topic_can_have() {
        assert_eq!(Topics::new("a.b").unwrap().segments("high"), "a.b.segments.high");
        assert!(Topics::new("").is_err() && Topics::new("a b").is_err() && Topics::new("a/b").is_err());
    }
}
