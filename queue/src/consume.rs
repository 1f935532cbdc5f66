//! One consumer for one topic, on a thread of its own that never blocks.
//!
//! ```text
//!            poll thread               workers
//! broker ─► poll ─► waiting messages ─► Delivery ─► ... ─► finish
//!             │ enough: pause, and go on polling             │
//!             └─◄─ commit the finished prefix ◄──────────────┘
//! ```

use crate::commit::Prefix;
use crate::connection::Connection;
use crate::error::QueueError;
use crate::reach::{Reach, log};
use crate::read::headers_of;
use crate::topics::Topics;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long one poll waits for a message: the thread looks that often at what else there is to do.
const POLL: Duration = Duration::from_millis(50);
/// Between two commits.
const COMMIT_PERIOD: Duration = Duration::from_millis(500);
/// Messages that wait for somebody to take them, and their bytes, from which on nothing more is fetched. To go on after a
/// pause takes librdkafka a second, so there are enough for fast work meanwhile; a message is 300 bytes, at most 64 KiB.
const ENOUGH: usize = 1000;
const ENOUGH_BYTES: usize = 4 << 20;

/// Follows one topic as a member of its group. Dropped, it commits what is finished and leaves the group.
#[derive(Debug)]
pub struct Consumer {
    state: Arc<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A message that was handed out. Until [`Delivery::finish`] it is committed by nobody, and comes again to somebody.
#[derive(Debug)]
pub struct Delivery {
    pub topic: Arc<str>,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    /// Milliseconds since 1970, by the broker or the client that sent it.
    pub timestamp_ms: i64,
    pub headers: Vec<(String, Vec<u8>)>,
    /// Which assignment of the partition it came by.
    epoch: u64,
    state: Arc<State>,
}

impl Delivery {
    /// Its effects are durable: it need never come again.
    pub fn finish(self) {
        let mut partitions = self.state.partitions();
        if let Some(partition) = partitions.get_mut(&self.partition).filter(|known| known.epoch == self.epoch) {
            partition.prefix.finish(self.offset);
        }
    }

    /// The assignment of its partition by which it came: no other one, of any partition, has the same number.
    pub fn assignment(&self) -> u64 {
        self.epoch
    }

    fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.value.len() + self.key.as_ref().map_or(0, Vec::len) + headers.sum::<usize>()
    }

    /// Whether its partition is still this consumer's. If not, somebody else has the message too.
    pub fn is_ours(&self) -> bool {
        self.state.partitions().get(&self.partition).is_some_and(|known| known.epoch == self.epoch)
    }
}

/// Tells whoever waits for work that there may be some. Several consumers can share one.
#[derive(Debug, Default)]
pub struct Signal {
    count: Mutex<u64>,
    given: Condvar,
}

impl Signal {
    /// What [`Signal::wait`] is to be told, so that nothing that comes meanwhile is missed.
    pub fn now(&self) -> u64 {
        *self.count()
    }

    /// Waits until something came since `seen`, or time is up.
    pub fn wait(&self, seen: u64, patience: Duration) {
        let waited = self.given.wait_timeout_while(self.count(), patience, |count| *count == seen);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn give(&self) {
        *self.count() += 1;
        self.given.notify_all();
    }

    fn count(&self) -> MutexGuard<'_, u64> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages that wait for somebody to take them.
#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Delivery>,
    bytes: usize,
}

impl Waiting {
    fn push(&mut self, delivery: Delivery) {
        self.bytes += delivery.bytes();
        self.messages.push_back(delivery);
    }

    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.messages.pop_front()?;
        self.bytes -= delivery.bytes();
        Some(delivery)
    }

    /// Half of it is fetched again before it runs out.
    fn is_enough(&self, was_enough: bool) -> bool {
        let share = if was_enough { 2 } else { 1 };
        self.messages.len() >= ENOUGH / share || self.bytes >= ENOUGH_BYTES / share
    }
}

/// What the poll thread and whoever works on messages share.
#[derive(Debug)]
struct State {
    topic: Arc<str>,
    waiting: Mutex<Waiting>,
    signal: Arc<Signal>,
    partitions: Mutex<HashMap<i32, Partition>>,
    epochs: AtomicU64,
    wants_pause: AtomicBool,
    ends: AtomicBool,
    /// A rebalance came, after which partitions may be paused or not.
    was_rebalanced: AtomicBool,
    /// Since when it is outside of its group; `None` while it is inside.
    outside_since: Mutex<Option<Instant>>,
    born: Instant,
    /// Milliseconds after `born` at which the thread polled last.
    polled_ms: AtomicU64,
    ended_because: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Partition {
    epoch: u64,
    prefix: Prefix,
}

impl State {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partitions(&self) -> MutexGuard<'_, HashMap<i32, Partition>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_ended(&self, reason: String) {
        *self.ended_because.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn outside_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.outside_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What can be committed, of these partitions or of all.
    fn committable(&self, of: Option<&[i32]>) -> Vec<(i32, i64)> {
        let is_wanted = |partition: &i32| of.is_none_or(|of| of.contains(partition));
        let partitions = self.partitions();
        let wanted = partitions.iter().filter(|(partition, _)| is_wanted(partition));
        wanted.filter_map(|(partition, known)| Some((*partition, known.prefix.committable()?))).collect()
    }

    fn committed(&self, offsets: &[(i32, i64)]) {
        let mut partitions = self.partitions();
        for (partition, offset) in offsets {
            if let Some(known) = partitions.get_mut(partition) {
                known.prefix.committed(*offset);
            }
        }
    }
}

impl Consumer {
    /// Joins the group of `topic`. Gives the signal when there is something to take.
    pub fn start(connection: &Connection, topic: &str, signal: &Arc<Signal>) -> Result<Self, QueueError> {
        let state = Arc::new(State {
            topic: topic.into(),
            waiting: Mutex::default(),
            signal: signal.clone(),
            partitions: Mutex::default(),
            epochs: AtomicU64::new(0),
            wants_pause: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            was_rebalanced: AtomicBool::new(false),
            outside_since: Mutex::new(Some(Instant::now())),
            born: Instant::now(),
            polled_ms: AtomicU64::new(0),
            ended_because: Mutex::default(),
        });
        let mut config = connection.config();
        if config.get("session.timeout.ms").is_none() {
            // A lost worker's partitions wait so long. The poll thread does nothing but poll, so it is never late itself.
            config.set("session.timeout.ms", "15000");
        }
        config
            .set("group.id", Topics::group(topic))
            .set("group.protocol", "classic")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            // Messages are small, and each is minutes of work: nothing is fetched long before it is wanted.
            .set("queued.min.messages", "16")
            .set("queued.max.messages.kbytes", "1024")
            .set("max.partition.fetch.bytes", "65536")
            .set("fetch.max.bytes", "1048576")
            // A message that comes is an answer at once; each question that finds none costs the broker.
            .set("fetch.wait.max.ms", "500")
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "200");
        let reach = Reach::new(connection);
        let context = Membership { state: state.clone(), reach: reach.clone() };
        let consumer: BaseConsumer<Membership> =
            config.create_with_context(context).map_err(|e| connection.refused(&e))?;
        consumer.subscribe(&[topic]).map_err(|e| QueueError::of(connection.brokers(), &e))?;
        let polling = Polling { consumer, state: state.clone(), reach, is_paused: false, commits: Instant::now() };
        let name = format!("poll {}", topic.rsplit('.').next().unwrap_or(topic));
        let ended = state.clone();
        let poll = move || {
            if catch_unwind(AssertUnwindSafe(|| polling.run())).is_err() {
                ended.has_ended("its thread broke down".to_owned());
            }
        };
        let thread = Builder::new().name(name).spawn(poll).map_err(|e| QueueError::Unavailable {
            brokers: connection.brokers().to_owned(),
            reason: format!("no thread for a consumer: {e}"),
        })?;
        Ok(Self { state, thread: Mutex::new(Some(thread)) })
    }

    /// Takes the message that has waited longest, if there is one. While nothing is to be taken, there is none.
    pub fn take(&self) -> Option<Delivery> {
        if self.state.wants_pause.load(Ordering::Relaxed) {
            return None;
        }
        loop {
            // Of a partition that is somebody else's by now, he has the message too.
            let delivery = self.state.waiting().pop()?;
            if delivery.is_ours() {
                return Some(delivery);
            }
        }
    }

    pub fn has_some(&self) -> bool {
        !self.state.wants_pause.load(Ordering::Relaxed) && !self.state.waiting().messages.is_empty()
    }

    pub fn topic(&self) -> &str {
        &self.state.topic
    }

    /// Takes nothing more, or goes on. What was handed out stays so, and the group is not left.
    pub fn pause(&self, pause: bool) {
        self.state.wants_pause.store(pause, Ordering::Relaxed);
    }

    /// Whether the group gave it its partitions, even if they are none, and has not lost sight of it since.
    pub fn has_joined(&self) -> bool {
        self.state.outside_since().is_none()
    }

    /// How long it has been outside of its group.
    pub fn outside_for(&self) -> Duration {
        self.state.outside_since().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Since the thread polled last.
    pub fn since_poll(&self) -> Duration {
        let polled = Duration::from_millis(self.state.polled_ms.load(Ordering::Relaxed));
        self.state.born.elapsed().saturating_sub(polled)
    }

    /// Why it can never hand out anything again, if that is so.
    pub fn ended(&self) -> Option<QueueError> {
        let reason = self.state.ended_because.lock().unwrap_or_else(PoisonError::into_inner).clone();
        reason.map(|reason| QueueError::ConsumerEnded { topic: self.topic().to_owned(), reason })
    }

    /// Commits what is finished, and leaves the group.
    pub fn leave(&self) {
        self.state.ends.store(true, Ordering::Relaxed);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Messages that were handed out and are not finished.
    pub fn open(&self) -> usize {
        self.state.partitions().values().map(|partition| partition.prefix.open()).sum()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The poll thread.
struct Polling {
    consumer: BaseConsumer<Membership>,
    state: Arc<State>,
    reach: Arc<Reach>,
    is_paused: bool,
    commits: Instant,
}

impl Polling {
    fn run(mut self) {
        while !self.state.ends.load(Ordering::Relaxed) {
            self.state.polled_ms.store(self.state.born.elapsed().as_millis() as u64, Ordering::Relaxed);
            let polled = self.consumer.poll(POLL).map(|message| message.map(|message| self.delivery(&message)));
            match polled {
                Some(Ok(Some(delivery))) => {
                    self.state.waiting().push(delivery);
                    self.state.signal.give();
                }
                Some(Err(error)) => self.heed(&error),
                Some(Ok(None)) | None => {}
            }
            self.reach.keep(self.consumer.client());
            self.pause_or_resume();
            if self.commits.elapsed() >= COMMIT_PERIOD {
                self.commits = Instant::now();
                commit(&self.consumer, &self.state, None, CommitMode::Async);
            }
        }
        commit(&self.consumer, &self.state, None, CommitMode::Sync);
    }

    /// `None` for a message of a partition that is not ours any more.
    fn delivery(&self, message: &impl Message) -> Option<Delivery> {
        let mut partitions = self.state.partitions();
        let partition = partitions.get_mut(&message.partition())?;
        partition.prefix.begin(message.offset());
        let epoch = partition.epoch;
        drop(partitions);
        Some(Delivery {
            topic: self.state.topic.clone(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().unwrap_or_default().to_vec(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            headers: headers_of(message),
            epoch,
            state: self.state.clone(),
        })
    }

    fn heed(&self, error: &KafkaError) {
        let topic = &self.state.topic;
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PollExceeded) => {
                tracing::warn!("the consumer of {topic} was away for too long, and joins its group again");
            }
            // Topics that are gone do not come back as they were: a new process looks what there is.
            Some(
                RDKafkaErrorCode::Fatal | RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic,
            ) => {
                self.state.has_ended(error.to_string());
            }
            _ => tracing::warn!("the consumer of {topic}: {error}"),
        }
    }

    fn pause_or_resume(&mut self) {
        let is_enough = self.state.waiting().is_enough(self.is_paused);
        let pause = is_enough || self.state.wants_pause.load(Ordering::Relaxed);
        let was_rebalanced = self.state.was_rebalanced.swap(false, Ordering::Relaxed);
        // librdkafka remembers a pause of a partition that went away and came back.
        if pause == self.is_paused && !was_rebalanced {
            return;
        }
        // The list must be gone before the consumer is: dropping it would wait for ever.
        let assignment = match self.consumer.assignment() {
            Ok(assignment) if assignment.count() > 0 => assignment,
            _ => return,
        };
        let done = if pause { self.consumer.pause(&assignment) } else { self.consumer.resume(&assignment) };
        match done {
            Ok(()) => self.is_paused = pause,
            Err(error) => tracing::warn!("the consumer of {} cannot be paused: {error}", self.state.topic),
        }
    }
}

fn commit(consumer: &BaseConsumer<Membership>, state: &State, of: Option<&[i32]>, mode: CommitMode) {
    let offsets = state.committable(of);
    if offsets.is_empty() {
        return;
    }
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (partition, offset) in &offsets {
        if let Err(error) = list.add_partition_offset(&state.topic, *partition, Offset::Offset(*offset)) {
            tracing::warn!("offset {offset} of {} cannot be committed: {error}", state.topic);
        }
    }
    // In the middle of a rebalance the broker refuses: the next commit says it again, or the next owner finds the work done.
    match consumer.commit(&list, mode) {
        Ok(()) if matches!(mode, CommitMode::Sync) => state.committed(&offsets),
        Ok(()) => {}
        Err(error) => tracing::debug!("{} is not committed: {error}", state.topic),
    }
}

/// Keeps track of which partitions are ours.
struct Membership {
    state: Arc<State>,
    reach: Arc<Reach>,
}

impl ClientContext for Membership {
    fn stats_raw(&self, statistics: &[u8]) {
        self.reach.hear(statistics);
    }

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        log(facility, message);
    }
}

impl ConsumerContext for Membership {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let revoked: Vec<i32> = list.elements().iter().map(TopicPartitionListElem::partition).collect();
            // What was lost is somebody else's already. A commit that nobody waits for would keep librdkafka from ever joining
            // the group again, where the broker does not answer it; one that is waited for ends with the session.
            if consumer.assignment_lost() {
                self.state.outside_since().get_or_insert_with(Instant::now);
            } else {
                commit(consumer, &self.state, Some(&revoked), CommitMode::Sync);
            }
            self.state.partitions().retain(|partition, _| !revoked.contains(partition));
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(list) => {
                let mut partitions = self.state.partitions();
                for element in list.elements() {
                    let epoch = self.state.epochs.fetch_add(1, Ordering::Relaxed);
                    partitions.insert(element.partition(), Partition { epoch, prefix: Prefix::default() });
                }
                *self.state.outside_since() = None;
            }
            Rebalance::Error(error) => tracing::warn!("rebalance of {}: {error}", self.state.topic),
            Rebalance::Revoke(_) => {}
        }
        self.state.was_rebalanced.store(true, Ordering::Relaxed);
    }

    fn commit_callback(&self, result: Result<(), KafkaError>, offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!("{} is not committed: {error}", self.state.topic);
            return;
        }
        let offset = |offset| if let Offset::Offset(offset) = offset { Some(offset) } else { None };
        let elements = offsets.elements();
        let committed: Vec<(i32, i64)> =
            elements.iter().filter_map(|element| Some((element.partition(), offset(element.offset())?))).collect();
        self.state.committed(&committed);
    }
}
