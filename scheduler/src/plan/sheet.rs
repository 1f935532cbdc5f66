//! One pool's part of the work, while it is being given out.

use super::{Finding, Limit, Observed, Pool, PoolPlan, reason};
use crate::demand::{Demand, Lane, Model, Work};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// In seconds of the pool's workers.
#[derive(Debug)]
pub struct Sheet<'a> {
    pub pool: &'a Pool,
    pub seen: &'a Observed,
    pub now: f64,
    /// Why nothing is changed, where it is not.
    held: Option<String>,
    /// Of the oldest work without a deadline that waits in its lanes.
    pub age: f64,
    /// Work that comes all the time, workers; and of each lane.
    pub flow: f64,
    flows: BTreeMap<Lane, f64>,
    /// Work that waits.
    pub work: f64,
    /// What of it has no deadline.
    pub undated: f64,
    pub first_deadline: Option<f64>,
    items: f64,
    /// Pieces and units that wait, of which nobody knows what they cost.
    pub unmeasured: (u32, f64),
    /// Of the lane whose work is being given out.
    lane: LaneShare,
    /// Workers that do all that it was given by when it is due, as far as there are partitions for them.
    in_time: f64,
    /// The same, where there are not.
    without_partition: f64,
    /// Some work will not be done within the usual time: a start takes too long, and those that are there are too few.
    is_too_late: bool,
    /// Of work whose deadline cannot be met: how much, and the earliest.
    at_risk: Option<(f64, f64)>,
    /// It gets a model whose cost here is a guess, or not even that.
    is_measuring: bool,
    is_too_small: bool,
    /// The most partitions that any of its lanes has for it.
    partitions: u32,
}

/// How a lane's work is served beside that of others.
#[derive(Debug, Default)]
struct LaneShare {
    /// What was given of it.
    given: f64,
    /// What lanes of less weight have, and get for each second that this one gets.
    below: f64,
    below_per_second: f64,
    /// Workers that are busy with what comes meanwhile and is served before it.
    ahead: f64,
}

/// Work that a pool is to do.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    pub work: &'a Work,
    /// Seconds of a worker for each unit.
    pub cost: f64,
    pub target: Target,
}

/// What work that is given to a pool must meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Deadline,
    /// The deadline, if there is one, is not met.
    Drain,
}

/// When something is due, seconds from now, and how long a start takes.
#[derive(Debug, Clone, Copy)]
struct Due {
    left: f64,
    start: f64,
}

/// A part of the time that is left is kept: nodes boot late, and workers never have quite equal parts of the work.
const RESERVE: f64 = 0.1;
/// What is still to come in a lane is served after what waits there. But a worker whose partitions hold nothing old any more
/// goes on with it, while others still have what is old. So a part of it counts.
const OWN_FLOW: f64 = 0.5;
/// A lane of less weight gets more than its weight says: whoever has nothing else in its partitions takes a piece of it, and
/// has that in hand when something of more weight comes. The simulator's day says how much.
const BELOW: f64 = 2.0;

/// What is needed is a whole number of workers, but for the last digits.
const ROUNDING: f64 = 1e-9;

impl<'a> Sheet<'a> {
    pub fn new(pool: &'a Pool, seen: &'a Observed, demand: &Demand, now: f64) -> Self {
        let lanes = || demand.lanes.iter().filter(|(lane, _)| pool.serves.contains_key(*lane));
        let unknown = lanes().find_map(|(lane, of_lane)| Some(format!("{lane}: {}", of_lane.unknown.as_ref()?)));
        let missing = pool.serves.keys().find(|lane| !demand.lanes.contains_key(*lane));
        let missing = missing.map(|lane| format!("{lane}: nothing is known yet"));
        let waiting = lanes().flat_map(|(_, of_lane)| &of_lane.waiting);
        let oldest = waiting.filter(|work| work.deadline.is_none()).map(|work| work.since).fold(now, f64::min);
        Self {
            pool,
            seen,
            now,
            held: seen.unknown.clone().or(unknown).or(missing),
            age: now - oldest,
            flow: 0.0,
            flows: BTreeMap::new(),
            lane: LaneShare::default(),
            work: 0.0,
            undated: 0.0,
            first_deadline: None,
            items: 0.0,
            unmeasured: (0, 0.0),
            in_time: 0.0,
            without_partition: 0.0,
            is_too_late: false,
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

    /// Of the cheapest model that is known here; infinite where none is.
    pub fn least_cost(&self) -> f64 {
        let inferred = self.pool.cost.iter().filter(|(model, _)| model.is_inferred());
        inferred.map(|(_, cost)| *cost).fold(f64::INFINITY, f64::min)
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

    /// The most workers that each of these allows.
    fn limits(&self) -> [(u32, Limit); 4] {
        let pool = self.pool;
        let if_so = |counts: bool, most: u32| if counts { most } else { u32::MAX };
        let is_served = self.work > 0.0 || self.flow > 0.0;
        let budget = pool.budget_per_hour.filter(|_| pool.price_per_hour > 0.0);
        let affordable = budget.map_or(u32::MAX, |budget| (budget / pool.price_per_hour + ROUNDING).floor() as u32);
        [
            (pool.max_workers, Limit::MaxWorkers),
            (if_so(is_served, self.partitions.max(pool.min_workers)), Limit::Partitions),
            (affordable, Limit::Budget),
            (if_so(self.seen.stuck > 0 || self.backs_off(), self.there()), Limit::Supply),
        ]
    }

    fn backs_off(&self) -> bool {
        self.seen.not_before.is_some_and(|time| time > self.now)
    }

    /// To be called before a lane's work is given out. `lower`: units that wait in lanes of no more weight, which get their
    /// part meanwhile.
    pub fn begin_lane(&mut self, lane: &Lane, lower: &[(&Lane, BTreeMap<&Model, f64>)]) {
        self.lane = LaneShare::default();
        let pool = self.pool;
        let weight_of = |lane: &Lane| pool.serves.get(lane).map(|weight| f64::from(*weight));
        let Some(weight) = weight_of(lane) else { return };
        for (other, flow) in &self.flows {
            let of_other = weight_of(other).unwrap_or(0.0);
            if other == lane {
                self.lane.ahead += OWN_FLOW * flow;
            } else if of_other >= weight {
                self.lane.ahead += flow * of_other / (of_other + weight);
            }
        }
        for (other, of_other) in lower {
            // Pools may give lanes different weights: what is heavier here is no lower one.
            let Some(of_weight) = weight_of(other).filter(|of_weight| *of_weight <= weight) else { continue };
            let seconds = |(model, units): (&&Model, &f64)| units * pool.cost.get(*model).copied().unwrap_or(0.0);
            let waiting: f64 = of_other.iter().map(seconds).sum();
            if waiting > 0.0 {
                self.lane.below += waiting;
                self.lane.below_per_second += BELOW * of_weight / weight;
            }
        }
    }

    fn due(&self, piece: Piece<'_>) -> Due {
        let (drain_within, start) = (self.pool.drain_within, self.pool.cold_start);
        // The last piece may be begun when all others are done, in a worker that is full.
        let last = piece.cost * piece.work.units / f64::from(piece.work.items.max(1)) * f64::from(self.pool.slots);
        let kept = 1.0 - RESERVE;
        if let (Target::Deadline, Some(deadline)) = (piece.target, piece.work.deadline) {
            return Due { left: (deadline - self.now) * kept - last, start: self.start_for_deadline() };
        }
        let left = piece.work.since + drain_within * kept - self.now - last;
        Due { left: left.max(self.soonest()), start }
    }

    /// Nothing is due sooner than this because it is old: otherwise what is old would ask for everything there is.
    fn soonest(&self) -> f64 {
        self.pool.cold_start + self.pool.drain_within / 4.0
    }

    /// Work that one of those that come does by then, on average.
    fn done_by_coming(&self, due: Due) -> f64 {
        let waited = self.seen.coming_for / f64::from(self.seen.coming.max(1));
        (due.left - (self.pool.cold_start - waited).max(0.0)).max(0.0)
    }

    /// What so many workers have done by then, where those that are not there are started now.
    fn done(&self, workers: f64, due: Due) -> f64 {
        let ready = f64::from(self.seen.ready).min(workers);
        let coming = f64::from(self.seen.coming).min(workers - ready);
        let started = workers - ready - coming;
        ready * due.left.max(0.0) + coming * self.done_by_coming(due) + started * (due.left - due.start).max(0.0)
    }

    /// The fewest workers that have done so much by then, or as many as are of use where none have.
    fn workers_for(&self, work: f64, due: Due) -> f64 {
        let (ready, coming) = (f64::from(self.seen.ready), f64::from(self.seen.coming));
        if due.left <= 0.0 {
            return 0.0;
        }
        let left = work - ready * due.left;
        if left <= 0.0 {
            return work / due.left;
        }
        let by_coming = self.done_by_coming(due);
        if left <= coming * by_coming {
            return ready + left / by_coming;
        }
        let there = ready + if by_coming > 0.0 { coming } else { 0.0 };
        if due.left <= due.start { there } else { there + (left - coming * by_coming) / (due.left - due.start) }
    }

    /// All that is served until the work that was given so far is done.
    fn ahead(&self, due: Due) -> f64 {
        let below = (self.lane.given * self.lane.below_per_second).min(self.lane.below);
        self.work + below + self.lane.ahead * due.left.max(0.0)
    }

    pub fn room_for_flow(&self, workers: u32) -> f64 {
        (f64::from(workers) - self.flow).max(0.0)
    }

    pub fn add_flow(&mut self, lane: &Lane, workers: f64) {
        self.flow += workers;
        *self.flows.entry(lane.clone()).or_default() += workers;
    }

    /// How much more so many workers can do in time.
    pub fn room(&self, workers: u32, piece: Piece<'_>) -> f64 {
        let due = self.due(piece);
        let room = self.done(f64::from(workers), due) - self.ahead(due);
        (room / (1.0 + self.lane.below_per_second)).max(0.0)
    }

    /// Spot nodes may go while they work, so that there must be time for another start.
    fn start_for_deadline(&self) -> f64 {
        self.pool.cold_start * if self.pool.is_spot { 2.0 } else { 1.0 }
    }

    /// Takes work, of which so many workers may do something; what is not meant for its deadline is at risk.
    pub fn add(&mut self, seconds: f64, items: f64, piece: Piece<'_>, most: u32) {
        self.work += seconds;
        self.lane.given += seconds;
        self.items += items;
        match piece.work.deadline {
            Some(deadline) => {
                self.first_deadline = Some(self.first_deadline.map_or(deadline, |first| first.min(deadline)));
            }
            None => self.undated += seconds,
        }
        self.is_measuring |= self.cost(&piece.work.model).is_none();
        if let Some(deadline) = piece.work.deadline.filter(|_| piece.target == Target::Drain) {
            let (so_far, earliest) = self.at_risk.unwrap_or((0.0, f64::INFINITY));
            self.at_risk = Some((so_far + seconds, earliest.min(deadline)));
        }
        let due = self.due(piece);
        let usual = Due { left: piece.work.since + self.pool.drain_within - self.now, ..due };
        if piece.work.deadline.is_none() && usual.left < self.soonest() {
            self.is_too_late |= self.ahead(usual) > self.done(f64::from(self.there()), usual);
        }
        let needed = self.workers_for(self.ahead(due), due);
        let allowed = needed.min(f64::from(most));
        if allowed < needed {
            self.without_partition = self.without_partition.max(needed);
        }
        self.in_time = self.in_time.max(allowed);
    }

    /// One worker finds out what a unit costs.
    pub fn measure(&mut self, work: &Work) {
        self.is_measuring = true;
        self.unmeasured.0 += work.items;
        self.unmeasured.1 += work.units;
        if let Some(deadline) = work.deadline.filter(|deadline| *deadline <= self.now) {
            let (so_far, earliest) = self.at_risk.unwrap_or((0.0, f64::INFINITY));
            self.at_risk = Some((so_far, earliest.min(deadline)));
        }
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
        // Jobs need none for what has not come yet: they would find nothing to do, and leave.
        let flow = if self.pool.leaves_by_itself { 0.0 } else { self.flow };
        (self.in_time.max(flow) - ROUNDING).ceil().max(0.0) as u32
    }

    /// As many workers as are of use, and what kept it from more.
    fn wanted(&self) -> (u32, Option<Limit>) {
        let mut wanted = self.unlimited().max(u32::from(self.is_measuring)).max(self.pool.min_workers);
        let pieces = (self.items / f64::from(self.pool.slots.max(1)) - ROUNDING).ceil();
        let useful = (self.flow - ROUNDING).ceil() + pieces;
        let useful = (useful as u32).max(self.pool.min_workers).max(u32::from(self.is_measuring));
        let mut by = None;
        for (most, limit) in self.limits().into_iter().chain([(useful, Limit::Items)]) {
            if wanted > most {
                (wanted, by) = (most, Some(limit));
            }
        }
        if by.is_none() && self.without_partition > f64::from(wanted) {
            by = Some(Limit::Partitions);
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
        if self.is_too_late {
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
