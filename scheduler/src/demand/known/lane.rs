//! What is known of one queue.

use super::{Moment, WentBack};
use crate::demand::arrivals::Arrivals;
use crate::demand::backlog::{Backlog, Counted, InHand, Message};
use crate::demand::jobs::{Jobs, Second};
use crate::demand::pace::{Look, Pace};
use crate::demand::{Lane, LaneDemand, Model};
use framefleet_queue::Topics;
use framefleet_queue::lag::PartitionLag;
use std::time::Instant;

#[derive(Debug)]
pub struct LaneKnown {
    backlog: Backlog,
    arrivals: Arrivals,
    pace: Pace,
    committed: Vec<i64>,
    /// Why what is committed cannot be, where that is so.
    ahead: Option<String>,
}

impl LaneKnown {
    pub fn new(lane: &Lane) -> Self {
        let counted = match lane {
            Lane::Plan => Counted::All,
            Lane::Detect(_) => Counted::Unpublished,
            Lane::Finish => Counted::OfOpenJobs,
        };
        Self {
            backlog: Backlog::new(counted),
            arrivals: Arrivals::default(),
            pace: Pace::default(),
            committed: Vec::new(),
            ahead: None,
        }
    }

    pub fn take(&mut self, jobs: &mut Jobs, message: &Message) {
        self.backlog.take(jobs, message);
    }

    /// A message came that is no repetition of an earlier one.
    pub fn came(&mut self, message: &Message) {
        self.arrivals.add(&message.kind.model, message.at, f64::from(message.units));
    }

    pub fn stands(
        &mut self,
        topic: &str,
        lags: &[PartitionLag],
        workers: u32,
        jobs: &mut Jobs,
        now: Instant,
    ) -> Result<(), WentBack> {
        if let Some((before, lag)) = self.committed.iter().zip(lags).find(|(before, lag)| lag.committed < **before) {
            return Err(WentBack { topic: topic.to_owned(), before: *before, now: lag.committed });
        }
        self.committed = lags.iter().map(|lag| lag.committed).collect();
        self.ahead = lags.iter().find(|lag| lag.committed > lag.end).map(|lag| told_ahead(topic, lag));
        for lag in lags {
            self.backlog.commit(jobs, lag.partition, lag.committed);
        }
        let sum = |of: fn(&PartitionLag) -> i64| lags.iter().map(of).sum();
        self.pace.look(Look { at: now, committed: sum(|lag| lag.committed), end: sum(|lag| lag.end), workers });
        Ok(())
    }

    /// What a message costs, where that can be seen by how fast they are finished.
    pub fn message_costs(&self, lane: &Lane) -> Option<(Model, f64)> {
        let model = match lane {
            Lane::Plan => Model::plan(),
            Lane::Finish => Model::finish(),
            Lane::Detect(_) => return None,
        };
        Some((model, self.pace.worker_seconds()?))
    }

    pub fn ahead(&self) -> Option<&str> {
        self.ahead.as_deref()
    }

    pub fn oldest(&self) -> Option<Second> {
        self.backlog.oldest()
    }

    pub fn demand(&self, jobs: &Jobs, in_hand: &InHand, now: Moment) -> LaneDemand {
        LaneDemand {
            unknown: None,
            waiting: self.backlog.waiting(jobs, in_hand),
            arriving: self.arrivals.arriving(now.second()),
            partitions: self.committed.len() as u32,
        }
    }

    pub fn sweep(&mut self, now: Second) {
        self.arrivals.sweep(now);
    }
}

fn told_ahead(topic: &str, lag: &PartitionLag) -> String {
    let (PartitionLag { partition, committed, end, .. }, group) = (lag, Topics::group(topic));
    format!(
        "group {group} has committed offset {committed} of partition {partition} of {topic}, which ends at {end}: the topic \
         was made anew; delete the group's offsets, or start a worker that commits others"
    )
}
