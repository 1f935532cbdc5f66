//! One pool's part of the work, while it is being given out.

use super::{Finding, Limit, Observed, Pool, PoolPlan, reason};
use crate::demand::{Demand, Lane, Model};
use std::cmp::Ordering;

/// In seconds of the pool's workers.
#[derive(Debug)]
pub struct Sheet<'a> {
    pub pool: &'a Pool,
    pub seen: &'a Observed,
    pub now: f64,
    /// Why nothing is changed, where it is not.
    held: Option<String>,
    /// Of the oldest work that waits in its lanes.
    pub age: f64,
    /// L: work that comes, workers.
    pub flow: f64,
    /// S: work that waits.
    pub work: f64,
    items: f64,
    /// N2: workers that the deadlines need.
    by_deadline: f64,
    /// The same for workers that need no start.
    by_deadline_if_ready: f64,
    /// Of work whose deadline cannot be met: how much, and the earliest.
    at_risk: Option<(f64, f64)>,
    is_measuring: bool,
    is_too_small: bool,
    /// The most partitions that any of its lanes has for it.
    partitions: u32,
}

/// What work that is given to a pool must meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    DrainAndDeadline,
    Deadline,
    /// The deadline, if there is one, is not met.
    Drain,
}

/// What is needed is a whole number of workers, but for the last digits.
const ROUNDING: f64 = 1e-9;

impl<'a> Sheet<'a> {
    pub fn new(pool: &'a Pool, seen: &'a Observed, demand: &Demand, now: f64) -> Self {
        let lanes = || demand.lanes.iter().filter(|(lane, _)| pool.serves.contains_key(*lane));
        let unknown = lanes().find_map(|(lane, of_lane)| Some(format!("{lane}: {}", of_lane.unknown.as_ref()?)));
        let missing = pool.serves.keys().find(|lane| !demand.lanes.contains_key(*lane));
        let missing = missing.map(|lane| format!("{lane}: nothing is known yet"));
        let oldest = lanes().flat_map(|(_, of_lane)| &of_lane.waiting).map(|work| work.since).fold(now, f64::min);
        Self {
            pool,
            seen,
            now,
            held: seen.unknown.clone().or(unknown).or(missing),
            age: now - oldest,
            flow: 0.0,
            work: 0.0,
            items: 0.0,
            by_deadline: 0.0,
            by_deadline_if_ready: 0.0,
            at_risk: None,
            is_measuring: false,
            is_too_small: false,
            partitions: lanes().map(|(_, of_lane)| of_lane.partitions).max().unwrap_or(0),
        }
    }

    pub fn serves(&self, lane: &Lane) -> bool {
        self.pool.serves.contains_key(lane)
    }

    pub fn fits(&self, memory: Option<u64>) -> bool {
        match (memory, self.pool.memory) {
            (Some(needed), Some(there)) => needed <= there,
            _ => true,
        }
    }

    pub fn note_memory(&mut self, memory: Option<u64>) {
        self.is_too_small |= !self.fits(memory);
    }

    pub fn cost(&self, model: &Model) -> Option<f64> {
        self.pool.cost.get(model).copied()
    }

    pub fn price(&self) -> f64 {
        self.pool.price_per_hour
    }

    /// Of pools with one price: who starts sooner, and then any order that stays the same.
    pub fn compare(&self, other: &Self) -> Ordering {
        let (this, other) = (self.pool, other.pool);
        this.cold_start.total_cmp(&other.cold_start).then_with(|| this.name.cmp(&other.name))
    }

    pub fn buys(&self) -> bool {
        self.held.is_none() && !self.pool.paused && self.limit() > 0
    }

    pub fn there(&self) -> u32 {
        self.seen.there()
    }

    /// The most workers that it may have.
    pub fn limit(&self) -> u32 {
        self.limits().into_iter().map(|(most, _)| most).min().unwrap_or(0)
    }

    fn limits(&self) -> Vec<(u32, Limit)> {
        let mut limits = vec![(self.pool.max_workers, Limit::MaxWorkers)];
        if self.work > 0.0 || self.flow > 0.0 {
            limits.push((self.partitions.max(self.pool.min_workers), Limit::Partitions));
        }
        if let Some(budget) = self.pool.budget_per_hour
            && self.pool.price_per_hour > 0.0
        {
            limits.push(((budget / self.pool.price_per_hour + ROUNDING).floor() as u32, Limit::Budget));
        }
        if self.seen.stuck > 0 || self.backs_off() {
            limits.push((self.there(), Limit::Supply));
        }
        limits
    }

    fn backs_off(&self) -> bool {
        self.seen.not_before.is_some_and(|time| time > self.now)
    }

    /// H: the time in which workers that are started now do what waits.
    pub fn horizon(&self) -> f64 {
        self.usual_horizon().max(self.pool.drain_within / 4.0)
    }

    fn usual_horizon(&self) -> f64 {
        self.pool.drain_within - self.pool.cold_start - self.age
    }

    /// N1, not rounded.
    fn for_drain(&self) -> f64 {
        self.flow + (self.work + self.flow * self.pool.cold_start - self.advance()).max(0.0) / self.horizon()
    }

    /// A: the work that workers which are ready or coming do before one that is asked for now could begin. Without those that
    /// come, each moment that they take would ask for more.
    fn advance(&self) -> f64 {
        let coming = self.seen.coming_for.min(f64::from(self.seen.coming) * self.pool.cold_start);
        f64::from(self.seen.ready) * self.pool.cold_start + coming
    }

    /// The same, of a start that takes so long, and no longer than until a deadline.
    fn advance_before(&self, left: f64, start: f64) -> f64 {
        let ready = f64::from(self.seen.ready) * left.min(start);
        let coming = self.advance() - f64::from(self.seen.ready) * self.pool.cold_start;
        ready.max(0.0) + if left > start { coming } else { 0.0 }
    }

    /// Workers that are ready need no start: without these, work that they do before another could come would count as
    /// nothing, and they would be taken away from it.
    fn to_keep(&self) -> f64 {
        let left = (self.pool.drain_within - self.age).max(self.pool.drain_within / 4.0);
        (self.flow + self.work / left).max(self.by_deadline_if_ready).min(f64::from(self.seen.ready))
    }

    pub fn room_for_flow(&self, workers: u32) -> f64 {
        (f64::from(workers) - self.flow).max(0.0)
    }

    pub fn add_flow(&mut self, workers: f64) {
        self.flow += workers;
    }

    /// How much more so many workers can do in time.
    pub fn room(&self, workers: u32, target: Target, deadline: Option<f64>) -> f64 {
        let drain = (f64::from(workers) - self.flow) * self.horizon() + self.advance()
            - self.flow * self.pool.cold_start
            - self.work;
        let before_deadline =
            deadline.map_or(f64::INFINITY, |deadline| self.done_by(deadline, f64::from(workers)) - self.work);
        let room = match target {
            Target::DrainAndDeadline => drain.min(before_deadline),
            Target::Deadline => before_deadline,
            Target::Drain => drain,
        };
        room.max(0.0)
    }

    /// What so many workers have done at a deadline, where those that are not ready are started now.
    fn done_by(&self, deadline: f64, workers: f64) -> f64 {
        let (left, start) = (deadline - self.now, self.start_for_deadline());
        (self.advance_before(left, start) + workers * (left - start).max(0.0)).max(0.0)
    }

    /// Spot nodes may go while they work, so that there must be time for another start.
    fn start_for_deadline(&self) -> f64 {
        self.pool.cold_start * if self.pool.is_spot { 2.0 } else { 1.0 }
    }

    /// Takes work; what is not meant for its deadline is at risk.
    pub fn add(&mut self, work: f64, items: f64, deadline: Option<f64>, target: Target) {
        self.work += work;
        self.items += items;
        let Some(deadline) = deadline else { return };
        if target == Target::Drain {
            let (so_far, earliest) = self.at_risk.unwrap_or((0.0, f64::INFINITY));
            self.at_risk = Some((so_far + work, earliest.min(deadline)));
            return;
        }
        let (left, start) = (deadline - self.now, self.start_for_deadline());
        if left > 0.0 {
            self.by_deadline_if_ready = self.by_deadline_if_ready.max(self.work / left);
        }
        if left > start {
            let before = self.advance_before(left, start);
            self.by_deadline = self.by_deadline.max((self.work - before).max(0.0) / (left - start));
        }
    }

    /// One worker finds out what a frame costs.
    pub fn measure(&mut self) {
        self.is_measuring = true;
    }

    /// More partitions than these are not left for it.
    pub fn limit_to(&mut self, partitions: u32) {
        self.partitions = self.partitions.min(partitions);
    }

    /// Workers for all that it was given so far, within its limits.
    pub fn needed(&self) -> u32 {
        self.unlimited().min(self.limit())
    }

    fn unlimited(&self) -> u32 {
        if self.pool.leaves_by_itself && self.work <= 0.0 {
            // What comes is worth workers that stay; those that leave when nothing waits would come and go.
            return 0;
        }
        (self.for_drain().max(self.by_deadline).max(self.to_keep()) - ROUNDING).ceil().max(0.0) as u32
    }

    /// As many workers as are of use, and what kept it from more.
    fn wanted(&self) -> (u32, Option<Limit>) {
        let mut wanted = self.unlimited().max(u32::from(self.is_measuring)).max(self.pool.min_workers);
        let mut limits = self.limits();
        let pieces = (self.items / f64::from(self.pool.slots.max(1)) - ROUNDING).ceil();
        let useful = (self.flow - ROUNDING).ceil() + pieces;
        limits.push(((useful as u32).max(self.pool.min_workers).max(u32::from(self.is_measuring)), Limit::Items));
        let mut by = None;
        for (most, limit) in limits {
            if wanted > most {
                (wanted, by) = (most, Some(limit));
            }
        }
        (wanted, by)
    }

    pub fn answer(&self) -> PoolPlan {
        let (wanted, limit) = self.wanted();
        let asked_for = self.seen.asked_for();
        let window = self.now - self.pool.stabilization;
        let before = self.seen.wanted_before.iter().filter(|(time, _)| *time >= window).map(|(_, wanted)| *wanted);
        let desired = wanted.max(before.max().unwrap_or(0).min(asked_for).min(self.pool.max_workers));
        let changes = self.held.is_none() && !self.pool.paused;
        let plan = PoolPlan {
            wanted,
            desired: if changes { desired } else { asked_for },
            create: if changes { wanted.saturating_sub(self.there()) } else { 0 },
            surplus: if changes { asked_for.saturating_sub(desired) } else { 0 },
            work: self.work,
            arriving: self.flow,
            findings: self.findings(limit),
            reason: String::new(),
        };
        PoolPlan { reason: reason::of(self, &plan), ..plan }
    }

    fn findings(&self, limit: Option<Limit>) -> Vec<Finding> {
        let mut findings = Vec::new();
        findings.extend(self.held.clone().map(Finding::Held));
        if self.pool.paused {
            findings.push(Finding::Paused);
        }
        if self.is_measuring {
            findings.push(Finding::Measuring);
        }
        if self.work > 0.0 && self.usual_horizon() < self.pool.drain_within / 4.0 {
            findings.push(Finding::DrainTargetImpossible);
        }
        if let Some((worker_seconds, earliest)) = self.at_risk {
            findings.push(Finding::DeadlineAtRisk { worker_seconds, earliest });
        }
        findings.extend(limit.map(Finding::Limited));
        if self.seen.stuck > 0 {
            findings.push(Finding::Stuck(self.seen.stuck));
        }
        if let Some(until) = self.seen.not_before.filter(|_| self.backs_off()) {
            findings.push(Finding::BackingOff { until });
        }
        if self.is_too_small {
            findings.push(Finding::ModelTooLarge);
        }
        findings
    }
}
