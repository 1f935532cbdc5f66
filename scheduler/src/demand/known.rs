//! All that is known of one fleet, put together from what was read and what the broker answered. Pure.

mod lane;
mod messages;

use super::backlog::InHand;
use super::costs::Costs;
use super::jobs::{Jobs, Second};
use super::reading::{Reading, Standing};
use super::trouble::Trouble;
use super::{Demand, Lane, LaneDemand, Model};
use framefleet_contract::message::heartbeat::Heartbeat;
use framefleet_queue::Topics;
use framefleet_queue::lag::PartitionLag;
use framefleet_queue::roster::Roster;
use lane::LaneKnown;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How a fleet stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub demand: Demand,
    /// Those that live.
    pub workers: Vec<Heartbeat>,
    pub costs: Costs,
    /// Why what waits in some lanes is not known.
    pub troubles: BTreeMap<Lane, Trouble>,
}

/// Now, by the clock on the wall and by one that never jumps.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Seconds since 1970.
    pub since_1970: f64,
    pub instant: Instant,
}

/// What a topic says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Lane(Lane),
    /// How jobs ended.
    Outcomes,
    /// Which jobs are cancelled.
    Control,
    /// Which workers there are.
    Workers,
}

#[derive(Debug)]
pub struct Known {
    topics: Topics,
    brokers: String,
    sources: BTreeMap<Role, Source>,
    roles: BTreeMap<String, Role>,
    lanes: BTreeMap<Lane, LaneKnown>,
    jobs: Jobs,
    last_model: Model,
    roster: Roster,
    costs: Costs,
    began: Instant,
    answered: Option<Instant>,
    failure: Option<Failure>,
    swept: Instant,
}

/// A topic that is read.
#[derive(Debug)]
struct Source {
    topic: String,
    reading: Reading,
    ends: Vec<i64>,
    is_missing: bool,
    answered: Option<Instant>,
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    Settings(String),
    Unreachable(String),
}

/// Offsets went back: the topic was made anew, or somebody reset what its group has committed. All has to be read anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the offsets of {topic} went back from {before} to {now}; it is read anew")]
pub struct WentBack {
    topic: String,
    before: i64,
    now: i64,
}

/// An answer that is older says nothing of now.
const ANSWER_LIFETIME: Duration = Duration::from_secs(15);
const SWEEP_PERIOD: Duration = Duration::from_mins(1);

impl Known {
    pub fn new(topics: &Topics, brokers: &str, queues: &BTreeSet<String>, now: Instant) -> Self {
        let lanes = [Lane::Plan, Lane::Finish].into_iter().chain(queues.iter().cloned().map(Lane::Detect));
        let lanes: BTreeMap<Lane, LaneKnown> = lanes.map(|lane| (lane.clone(), LaneKnown::new(&lane))).collect();
        let roles = lanes.keys().cloned().map(Role::Lane).chain([Role::Outcomes, Role::Control, Role::Workers]);
        let sources: BTreeMap<Role, Source> =
            roles.map(|role| (role.clone(), Source::new(role.topic(topics)))).collect();
        Self {
            topics: topics.clone(),
            brokers: brokers.to_owned(),
            roles: sources.iter().map(|(role, source)| (source.topic.clone(), role.clone())).collect(),
            sources,
            lanes,
            jobs: Jobs::default(),
            last_model: Model::plan(),
            roster: Roster::default(),
            costs: Costs::default(),
            began: now,
            answered: None,
            failure: None,
            swept: now,
        }
    }

    /// Everything is read from the beginning again. What was measured stays.
    pub fn begin_anew(&mut self, now: Instant) {
        let queues = self.queues().cloned().collect();
        let (costs, failure) = (std::mem::take(&mut self.costs), self.failure.take());
        let answered = self.answered;
        *self = Self { costs, answered, failure, ..Self::new(&self.topics, &self.brokers, &queues, now) };
    }

    fn queues(&self) -> impl Iterator<Item = &String> {
        self.lanes.keys().filter_map(|lane| if let Lane::Detect(queue) = lane { Some(queue) } else { None })
    }

    /// The topics, by what they say.
    pub fn sources(&self) -> BTreeMap<Role, String> {
        self.sources.iter().map(|(role, source)| (role.clone(), source.topic.clone())).collect()
    }

    /// How many partitions of a topic are read.
    pub fn partitions_read(&self, role: &Role) -> usize {
        self.sources.get(role).map_or(0, |source| source.reading.partitions())
    }

    /// The next partitions of a topic are read, from these offsets on.
    pub fn begin(&mut self, role: &Role, starts: &[i64]) {
        if let Some(source) = self.sources.get_mut(role) {
            for start in starts {
                source.reading.begin(*start);
            }
        }
    }

    /// The broker said how a queue stands, by partition.
    ///
    /// # Errors
    /// Offsets went back.
    pub fn lane_stands(&mut self, lane: &Lane, lags: &[PartitionLag], now: Moment) -> Result<(), WentBack> {
        let bounds: Vec<(i64, i64)> = lags.iter().map(|lag| (lag.first, lag.end)).collect();
        self.stands(&Role::Lane(lane.clone()), &bounds, now)?;
        let workers = self.serving(lane, now.instant);
        let topic = self.sources.get(&Role::Lane(lane.clone())).map_or("", |source| &source.topic);
        match self.lanes.get_mut(lane) {
            Some(known) => known.stands(topic, lags, workers, &mut self.jobs, now.instant)?,
            None => return Ok(()),
        }
        if let Some((model, seconds)) = self.lanes.get(lane).and_then(|known| known.message_costs(lane)) {
            self.costs.hear_of_messages(model, seconds);
        }
        Ok(())
    }

    /// The broker said where the partitions of a topic begin and end.
    ///
    /// # Errors
    /// Offsets went back.
    pub fn stands(&mut self, role: &Role, bounds: &[(i64, i64)], now: Moment) -> Result<(), WentBack> {
        self.costs.hear(&self.roster.alive(now.instant));
        let Some(source) = self.sources.get_mut(role) else { return Ok(()) };
        let lower = source.ends.iter().zip(bounds).find(|(before, (_, end))| end < before);
        if let Some((before, (_, end))) = lower {
            return Err(WentBack { topic: source.topic.clone(), before: *before, now: *end });
        }
        source.ends = bounds.iter().map(|(_, end)| *end).collect();
        source.reading.saw(bounds, now.instant);
        source.is_missing = false;
        source.answered = Some(now.instant);
        self.answered = Some(now.instant);
        self.failure = None;
        self.sweep(now);
        Ok(())
    }

    /// There is no such topic.
    pub fn is_missing(&mut self, role: &Role, now: Instant) {
        self.answered = Some(now);
        self.failure = None;
        if let Some(source) = self.sources.get_mut(role) {
            source.is_missing = true;
        }
    }

    /// No answer came. Gives whether that is news.
    pub fn failed(&mut self, failure: Failure) -> bool {
        let is_news = self.failure.as_ref() != Some(&failure);
        self.failure = Some(failure);
        is_news
    }

    /// Whether what was there at the beginning is read of all topics in which work waits first.
    pub fn has_read_what_waits(&self, now: Instant) -> bool {
        let waits = |role: &Role| matches!(role, Role::Lane(Lane::Plan | Lane::Detect(_)));
        let mut sources = self.sources.iter().filter(|(role, _)| waits(role));
        sources.all(|(_, source)| source.is_missing || source.has_caught_up(now))
    }

    /// Whether it is of all topics.
    pub fn has_caught_up(&self, now: Instant) -> bool {
        self.sources.values().all(|source| source.is_missing || source.has_caught_up(now))
    }

    /// When the oldest message came that nobody has finished.
    pub fn oldest_waiting(&self) -> Option<Second> {
        self.lanes.values().filter_map(LaneKnown::oldest).min()
    }

    pub fn snapshot(&self, now: Moment) -> Snapshot {
        let in_hand = self.in_hand(now.instant);
        let troubles: BTreeMap<Lane, Trouble> =
            self.lanes.keys().filter_map(|lane| Some((lane.clone(), self.trouble_of(lane, now.instant)?))).collect();
        let demand = |(lane, known): (&Lane, &LaneKnown)| {
            let unknown = troubles.get(lane).map(ToString::to_string);
            (lane.clone(), LaneDemand { unknown, ..known.demand(&self.jobs, &in_hand, now) })
        };
        let demand = Demand { lanes: self.lanes.iter().map(demand).collect() };
        let workers = self.roster.alive(now.instant).into_iter().cloned().collect();
        Snapshot { demand, workers, costs: self.costs.clone(), troubles }
    }

    /// Frames that are done of what workers have in hand.
    fn in_hand(&self, now: Instant) -> InHand {
        let mut in_hand = InHand::new();
        for piece in self.roster.alive(now).into_iter().flat_map(|worker| &worker.in_flight) {
            if let (Ok(segment), Some(job)) = (piece.step.parse(), self.jobs.known(piece.job_id.as_str())) {
                let done = in_hand.entry((job, segment)).or_default();
                *done = piece.frames_done.max(*done);
            }
        }
        in_hand
    }

    /// Workers that live and serve a queue.
    fn serving(&self, lane: &Lane, now: Instant) -> u32 {
        let role = match lane {
            Lane::Plan => "plan",
            Lane::Detect(_) => "detect",
            Lane::Finish => "finish",
        };
        let serves = |worker: &&Heartbeat| worker.roles.iter().any(|known| known == role);
        self.roster.alive(now).into_iter().filter(serves).count() as u32
    }

    fn trouble_of(&self, lane: &Lane, now: Instant) -> Option<Trouble> {
        if let Some(Failure::Settings(reason)) = &self.failure {
            return Some(Trouble::BadSettings(reason.clone()));
        }
        let needed: Vec<&Source> = needed_for(lane).iter().filter_map(|role| self.sources.get(role)).collect();
        let missing: Vec<&str> =
            needed.iter().filter(|source| source.is_missing).map(|source| source.topic.as_str()).collect();
        let silent = needed.iter().filter(|source| !source.is_missing).find_map(|source| self.silence(source, now));
        let catching_up = || needed.iter().find_map(|source| self.catching_up(source, now));
        if let Some(trouble @ Trouble::BrokerUnreachable(_)) = silent {
            return Some(trouble);
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            return Some(Trouble::TopicsMissing(format!(
                "there is no topic {missing}; `framefleet topics apply` makes the topics"
            )));
        }
        let ahead =
            self.lanes.get(lane).and_then(LaneKnown::ahead).map(|ahead| Trouble::OffsetsAhead(ahead.to_owned()));
        ahead.or(silent).or_else(catching_up)
    }

    /// Where the last answer about a topic is too old, or none came yet.
    fn silence(&self, source: &Source, now: Instant) -> Option<Trouble> {
        let since = source.answered.or(self.answered).unwrap_or(self.began);
        let silent_for = now.saturating_duration_since(since);
        if silent_for > ANSWER_LIFETIME {
            let reason = match &self.failure {
                Some(Failure::Unreachable(reason)) => reason.clone(),
                _ => format!("Kafka at {} is asked", self.brokers),
            };
            let topic = &source.topic;
            return Some(Trouble::BrokerUnreachable(format!(
                "no answer about {topic} for {} s, and after {} s it says nothing of now: {reason}",
                silent_for.as_secs(),
                ANSWER_LIFETIME.as_secs()
            )));
        }
        source.answered.is_none().then(|| Trouble::CatchingUp(format!("nothing is known of {} yet", source.topic)))
    }

    fn catching_up(&self, source: &Source, now: Instant) -> Option<Trouble> {
        let topic = &source.topic;
        let reason = match source.reading.standing(now) {
            Standing::UpToDate => return None,
            Standing::NotBegun => {
                // Others are read before it.
                let is_being_read = |other: &&Source| {
                    matches!(other.reading.standing(now), Standing::CatchingUp { .. }) && !other.is_missing
                };
                let other = self.sources.values().find(is_being_read).and_then(|other| self.catching_up(other, now));
                return other.or_else(|| Some(Trouble::CatchingUp(format!("{topic} is read next"))));
            }
            Standing::CatchingUp { left, of } => format!("{topic} is being read: {left} of {of} messages are left"),
            Standing::Behind { left, since } => {
                format!("{topic} is read too slowly: {left} messages came more than {} s ago", since.as_secs())
            }
        };
        Some(Trouble::CatchingUp(reason))
    }

    fn sweep(&mut self, now: Moment) {
        if now.instant.saturating_duration_since(self.swept) > SWEEP_PERIOD {
            self.swept = now.instant;
            self.jobs.sweep(now.second());
            self.lanes.values_mut().for_each(|lane| lane.sweep(now.second()));
        }
    }
}

impl Source {
    fn new(topic: String) -> Self {
        Self { topic, reading: Reading::default(), ends: Vec::new(), is_missing: false, answered: None }
    }

    fn has_caught_up(&self, now: Instant) -> bool {
        !matches!(self.reading.standing(now), Standing::NotBegun | Standing::CatchingUp { .. })
    }
}

impl Role {
    fn topic(&self, topics: &Topics) -> String {
        match self {
            Self::Lane(Lane::Plan) => topics.jobs(),
            Self::Lane(Lane::Detect(queue)) => topics.segments(queue),
            Self::Lane(Lane::Finish) => topics.finish(),
            Self::Outcomes => topics.outcomes(),
            Self::Control => topics.control(),
            Self::Workers => topics.workers(),
        }
    }
}

/// What has to be known so that a queue's work is.
fn needed_for(lane: &Lane) -> Vec<Role> {
    let own = Role::Lane(lane.clone());
    match lane {
        Lane::Plan => vec![own, Role::Workers],
        Lane::Finish => vec![own, Role::Workers, Role::Outcomes, Role::Control],
        Lane::Detect(_) => vec![own, Role::Workers, Role::Outcomes, Role::Control, Role::Lane(Lane::Finish)],
    }
}

impl Moment {
    pub fn second(self) -> Second {
        self.since_1970 as Second
    }
}

#[cfg(test)]
mod tests;
