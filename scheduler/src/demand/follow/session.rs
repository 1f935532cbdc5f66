//! Reads and asks, with clients of its own, until they are of no use any more.

use super::{LOOK, Shared};
use crate::demand::Lane;
use crate::demand::arrivals::LOOKED_BACK;
use crate::demand::known::{Moment, Role, WentBack};
use framefleet_queue::lag::{LagProbe, PartitionLag};
use framefleet_queue::offsets::{At, Whole};
use framefleet_queue::read::Start;
use framefleet_queue::{Connection, QueueError, Reader, roster};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

pub struct Session<'a> {
    shared: &'a Shared,
    reader: Reader,
    /// For each topic that is a queue, since what is committed is asked for by group.
    probes: BTreeMap<Lane, LagProbe>,
    topics: BTreeMap<Role, String>,
    asked: Option<Instant>,
    answered: Instant,
    /// What waits is read, so that it is known from when on the words on jobs matter.
    is_second_part: bool,
    has_caught_up: bool,
}

/// Why a session is over before anybody wanted that.
#[derive(Debug)]
pub enum End {
    /// What was read is not so any more.
    Anew(String),
    Failed(QueueError),
}

/// Between two questions about how the queues stand, and while what waits is not known yet.
const PERIOD: Duration = Duration::from_secs(2);
const FIRST_PERIOD: Duration = Duration::from_millis(500);
/// Clients that got no answer for so long are made anew.
const PATIENCE: Duration = Duration::from_mins(1);
/// Records that are taken between two looks at anything else.
const MOST_AT_ONCE: usize = 2000;
/// The clocks of those who send messages may differ, and a job may end while the first of its messages waits.
const MARGIN_S: u32 = 600;

type Result<T> = std::result::Result<T, End>;

impl<'a> Session<'a> {
    pub fn new(connection: &Connection, shared: &'a Shared) -> Result<Self> {
        let topics = shared.known().sources();
        let mut probes = BTreeMap::new();
        for (role, topic) in &topics {
            if let Role::Lane(lane) = role {
                probes.insert(lane.clone(), LagProbe::new(connection, topic)?);
            }
        }
        let reader = Reader::idle(connection)?;
        let answered = Instant::now();
        Ok(Self { shared, reader, probes, topics, asked: None, answered, is_second_part: false, has_caught_up: false })
    }

    /// Comes back when nobody wants to know any more.
    pub fn run(&mut self) -> Result<()> {
        while !self.shared.ends() {
            let period = if self.has_caught_up { PERIOD } else { FIRST_PERIOD };
            if self.asked.is_none_or(|asked| asked.elapsed() >= period) {
                self.ask()?;
                self.asked = Some(Instant::now());
            }
            self.read()?;
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        let mut records = Vec::new();
        let mut patience = LOOK;
        while records.len() < MOST_AT_ONCE {
            let next = self.reader.next(patience).map_err(|error| match error {
                QueueError::Topics { reason } => End::Anew(reason),
                other => End::Failed(other),
            })?;
            let Some(record) = next else { break };
            records.push(record);
            patience = Duration::ZERO;
        }
        let now = Moment::now();
        let mut known = self.shared.known();
        for record in &records {
            known.take(record, now);
        }
        Ok(())
    }

    /// Asks about every topic, and begins with what is to be read and is not yet.
    ///
    /// # Errors
    /// Only where the clients are of no use any more.
    fn ask(&mut self) -> Result<()> {
        let now = Instant::now();
        self.is_second_part = self.is_second_part || self.shared.known().has_read_what_waits(now);
        self.has_caught_up = self.has_caught_up || self.shared.known().has_caught_up(now);
        for (role, topic) in self.topics.clone() {
            if self.shared.ends() {
                return Ok(());
            }
            match self.ask_about(&role, &topic) {
                Ok(()) => self.answered = Instant::now(),
                Err(End::Failed(QueueError::Topics { .. })) => self.is_missing(&role, &topic)?,
                // What one question was not answered, the next one will hardly be.
                Err(End::Failed(error @ QueueError::Unavailable { .. })) if self.answered.elapsed() < PATIENCE => {
                    tracing::debug!("{topic}: {error}");
                    self.shared.failed(&error);
                    return Ok(());
                }
                Err(end) => return Err(end),
            }
        }
        Ok(())
    }

    fn is_missing(&mut self, role: &Role, topic: &str) -> Result<()> {
        self.answered = Instant::now();
        let mut known = self.shared.known();
        if known.partitions_read(role) > 0 {
            return Err(End::Anew(format!("topic {topic} is gone")));
        }
        known.is_missing(role, Instant::now());
        Ok(())
    }

    fn ask_about(&mut self, role: &Role, topic: &str) -> Result<()> {
        if let Role::Lane(lane) = role {
            let lags = self.probes.get(lane).map(LagProbe::ask).transpose()?.unwrap_or_default();
            self.begin(role, topic, lags.len() as u32, &lags)?;
            return Ok(self.shared.known().lane_stands(lane, &lags, Moment::now())?);
        }
        let partitions = self.reader.partitions(topic)?;
        self.begin(role, topic, partitions, &[])?;
        let topic = [Whole { topic: topic.to_owned(), partitions }];
        let firsts = self.reader.offsets(&topic, At::First)?.concat();
        let ends = self.reader.offsets(&topic, At::End)?.concat();
        let bounds: Vec<(i64, i64)> = firsts.into_iter().zip(ends).collect();
        Ok(self.shared.known().stands(role, &bounds, Moment::now())?)
    }

    /// Reads the partitions of the topic that are not read yet.
    fn begin(&mut self, role: &Role, topic: &str, partitions: u32, lags: &[PartitionLag]) -> Result<()> {
        let read = self.shared.known().partitions_read(role);
        if read >= partitions as usize || (is_of_second_part(role) && !self.is_second_part) {
            return Ok(());
        }
        let whole = [Whole { topic: topic.to_owned(), partitions }];
        let mut offsets = self.reader.offsets(&whole, self.from(role))?.concat();
        for (offset, lag) in offsets.iter_mut().zip(lags) {
            *offset = lag.committed.min(*offset);
        }
        let new = offsets.split_off(read);
        let start = |(partition, offset): (i32, &i64)| Start { topic: topic.to_owned(), partition, offset: *offset };
        let starts: Vec<Start> = (read as i32..).zip(&new).map(start).collect();
        self.reader.add(&starts)?;
        self.shared.known().begin(role, &new);
        Ok(())
    }

    /// From where on a topic matters beside what is not committed.
    fn from(&self, role: &Role) -> At {
        let now = Moment::now().second();
        let hour = now.saturating_sub(LOOKED_BACK);
        let second = match role {
            Role::Control => return At::First,
            Role::Workers => now.saturating_sub(roster::LIFETIME.as_secs() as u32),
            Role::Lane(Lane::Plan | Lane::Detect(_)) => hour,
            Role::Lane(Lane::Finish) | Role::Outcomes => {
                let oldest = self.shared.known().oldest_waiting().unwrap_or(now);
                oldest.min(hour).saturating_sub(MARGIN_S)
            }
        };
        At::Since(i64::from(second) * 1000)
    }
}

/// What is said of jobs matters from the time of the oldest message that waits.
fn is_of_second_part(role: &Role) -> bool {
    matches!(role, Role::Lane(Lane::Finish) | Role::Outcomes)
}

impl From<QueueError> for End {
    fn from(error: QueueError) -> Self {
        Self::Failed(error)
    }
}

impl From<WentBack> for End {
    fn from(back: WentBack) -> Self {
        Self::Anew(back.to_string())
    }
}
