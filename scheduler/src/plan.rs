//! How many workers each pool should have. Pure: the same numbers give the same answer, whatever the clock says.
//!
//! ```text
//! t  now          C  cold start, twice for a deadline on spot nodes        R  ready workers        D  drain_within
//! d  when a piece of work is due: by its deadline, or where it has none, D after it came and not before t + C + D/4; a tenth
//!    of the time, and that of the last piece, is kept
//! W  what is served until it is done: what came before it, what lanes of less weight get meanwhile, and a part of what
//!    is still to come; worker-seconds
//! A  how much sooner than one that is asked for now the others are ready: R*C, and of each that comes, how long it has
//!
//! N  = the least with N * (d - t - C) + A >= W for every d, at most what the limits, the partitions and the pieces allow
//! ```
//!
//! Each piece is due at its own time: a fleet that is on its way is not made larger because the oldest work gets older. Nobody
//! is bought for work that has not come: workers of Jobs would find nothing to do and leave, and a start costs more than a wait.
//! A deadline takes the place of `drain_within`, so that work that has hours is not done in minutes at the price of minutes.
//!
//! All pools of a fleet are planned at once. Work goes, in the order in which it is served, first to workers that are there
//! or coming, and what they cannot do in time to the pool where it costs least that still can. So no two pools buy workers
//! for the same work. All times are seconds since 1970, all work is in seconds of one worker of the pool.

mod reason;
mod sheet;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use crate::demand::{Arriving, Demand, Lane, LaneDemand, Model, Work};
use sheet::{Piece, Sheet, Target};
use std::collections::BTreeMap;

/// One pool, as its specification and what was measured say.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// `namespace/name`.
    pub name: String,
    /// With their weights.
    pub serves: BTreeMap<Lane, u32>,
    pub min_workers: u32,
    pub max_workers: u32,
    /// Pieces of work that a worker has in hand at once.
    pub slots: u32,
    /// Of a worker. A pool without a price counts as free.
    pub price_per_hour: f64,
    pub budget_per_hour: Option<f64>,
    /// Its nodes may go at any time.
    pub is_spot: bool,
    /// Its workers leave when no work is left.
    pub leaves_by_itself: bool,
    pub drain_within: f64,
    pub stabilization: f64,
    /// From asking for a worker until it is ready.
    pub cold_start: f64,
    pub paused: bool,
    /// Bytes of its GPU.
    pub memory: Option<u64>,
    /// Seconds of a worker for each unit of work.
    pub cost: BTreeMap<Model, f64>,
}

/// What there is of a pool now.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// Why it is not known, where it is not: then the pool stays as it is.
    pub unknown: Option<String>,
    pub ready: u32,
    /// Asked for, and expected to be ready soon.
    pub coming: u32,
    /// For how long those were asked for, seconds, together; each counts for no longer than a cold start.
    pub coming_for: f64,
    /// Asked for, and not ready for so long that nobody counts on them.
    pub stuck: u32,
    /// The last workers failed, and no more are started before this time.
    pub not_before: Option<f64>,
    /// How many workers were wanted before, and when.
    pub wanted_before: Vec<(f64, u32)>,
}

impl Observed {
    /// Those that work can count on.
    fn there(&self) -> u32 {
        self.ready + self.coming
    }

    fn asked_for(&self) -> u32 {
        self.ready + self.coming + self.stuck
    }
}

/// What to do about a pool, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolPlan {
    /// As many workers as the work needs now.
    pub wanted: u32,
    /// As many as there should be: a pool does not shrink because of a moment without work.
    pub desired: u32,
    /// Workers to start now.
    pub create: u32,
    /// Workers that are not needed; of these, only those without work may go.
    pub surplus: u32,
    /// Its part of what waits, worker-seconds.
    pub work: f64,
    /// Its part of what comes, workers.
    pub arriving: f64,
    pub findings: Vec<Finding>,
    /// In words and numbers.
    pub reason: String,
}

impl PoolPlan {
    /// Whether it changes nothing because something is not known, or is not to be changed.
    pub fn is_held(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding, Finding::Held(_) | Finding::Paused))
    }
}

/// What a user should know of a plan beside the numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// Something is not known, so that nothing is changed.
    Held(String),
    Paused,
    /// What a frame costs is not known yet: one worker finds out.
    Measuring,
    /// Work has waited so long already, or a start takes so long, that the target cannot be met.
    DrainTargetImpossible,
    /// This much work cannot be done by its deadline, the earliest of which is this.
    DeadlineAtRisk {
        worker_seconds: f64,
        earliest: f64,
    },
    /// The work needs more workers than are allowed.
    Limited(Limit),
    /// Workers were asked for and do not come.
    Stuck(u32),
    /// The last workers failed: the next are started at this time.
    BackingOff {
        until: f64,
    },
    /// A model that waits needs more memory than a worker of this pool has.
    ModelTooLarge,
}

/// What keeps a pool from having more workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    MaxWorkers,
    Budget,
    /// More workers than these would get no partition of the queue.
    Partitions,
    /// Fewer pieces of work wait than more workers could take.
    Items,
    /// Workers that were asked for do not come, or fail: no more are asked for.
    Supply,
}

/// Plans all pools of one fleet. The answers are in the pools' order.
pub fn plan(pools: &[Pool], demand: &Demand, observed: &[Observed], now: f64) -> Vec<PoolPlan> {
    let mut sheets: Vec<Sheet<'_>> =
        pools.iter().zip(observed).map(|(pool, seen)| Sheet::new(pool, seen, demand, now)).collect();
    let lanes = in_order_of_service(pools, demand);
    for (lane, of_lane) in &lanes {
        for arriving in &of_lane.arriving {
            give_flow(&mut sheets, lane, arriving);
        }
    }
    let waiting: Vec<(&Lane, BTreeMap<&Model, f64>)> = lanes.iter().map(|(lane, it)| (*lane, units(it))).collect();
    for (index, (lane, of_lane)) in lanes.iter().enumerate() {
        for sheet in &mut sheets {
            sheet.begin_lane(lane, &waiting[index + 1..]);
        }
        // There are many pieces of work, and few kinds.
        let mut offers = BTreeMap::new();
        for work in &of_lane.waiting {
            let offers = offers
                .entry((&work.model, work.memory))
                .or_insert_with(|| offers_for(&mut sheets, lane, &work.model, work.memory));
            give_work(&mut sheets, offers, lane, work, of_lane.partitions);
        }
    }
    sheets.iter().map(Sheet::answer).collect()
}

/// Lanes whose workers give them the most time come first.
fn in_order_of_service<'a>(pools: &[Pool], demand: &'a Demand) -> Vec<(&'a Lane, &'a LaneDemand)> {
    let weight = |lane: &Lane| pools.iter().filter_map(|pool| pool.serves.get(lane)).max().copied().unwrap_or(0);
    let mut lanes: Vec<_> = demand.lanes.iter().filter(|(_, of_lane)| of_lane.unknown.is_none()).collect();
    lanes.sort_by_key(|(lane, _)| std::cmp::Reverse(weight(lane)));
    lanes
}

fn units(of_lane: &LaneDemand) -> BTreeMap<&Model, f64> {
    let mut units = BTreeMap::new();
    for work in &of_lane.waiting {
        *units.entry(&work.model).or_default() += work.units;
    }
    units
}

/// What comes all the time goes to the cheapest pools, whoever does it now.
fn give_flow(sheets: &mut [Sheet<'_>], lane: &Lane, arriving: &Arriving) {
    let mut buyers = offers_for(sheets, lane, &arriving.model, None);
    buyers.retain(|offer| offer.cost.is_finite() && sheets[offer.sheet].buys());
    let mut left = arriving.units_per_second;
    for &Offer { sheet, cost, most } in &buyers {
        let taken = left.min(sheets[sheet].room_for_flow(most) / cost);
        sheets[sheet].add_flow(lane, taken * cost);
        left -= taken;
    }
    if let Some(&Offer { sheet, cost, .. }) = buyers.first() {
        sheets[sheet].add_flow(lane, left * cost);
    }
}

/// A pool that could do work.
#[derive(Debug, Clone, Copy)]
struct Offer {
    sheet: usize,
    /// Seconds of its workers for each unit.
    cost: f64,
    /// Workers that may do it.
    most: u32,
}

/// Work goes to workers that are there or coming, and then to those that would have to be started; first where its deadline
/// is met, then where it would be done in the usual time, and at last to whoever serves its lane. The cheapest come first.
fn give_work(sheets: &mut [Sheet<'_>], serving: &[Offer], lane: &Lane, work: &Work, partitions: u32) {
    let buyers = || serving.iter().filter(|offer| sheets[offer.sheet].buys()).copied();
    if serving.iter().all(|offer| !offer.cost.is_finite()) {
        if let Some(offer) = buyers().next() {
            sheets[offer.sheet].measure(work);
        }
        return;
    }
    let there = serving.iter().map(|offer| Offer { most: sheets[offer.sheet].there(), ..*offer });
    let able = there.filter(|offer| offer.most > 0).chain(buyers());
    let able: Vec<Offer> = able.filter(|offer| offer.cost.is_finite()).collect();
    // Frames of a video that are not counted yet are some all the same.
    let units = work.units.max(f64::from(work.items)).max(f64::MIN_POSITIVE);
    let items_of = |part: f64| part / units * f64::from(work.items);
    let mut left = units;
    let targets: &[Target] = match work.deadline {
        Some(_) => &[Target::Deadline, Target::Drain],
        None => &[Target::Drain],
    };
    for &target in targets {
        for offer in &able {
            if left <= 0.0 {
                return;
            }
            let piece = Piece { work, cost: offer.cost, target };
            if sheets[offer.sheet].room(offer.most, piece) <= 0.0 {
                continue;
            }
            let most = offer.most.min(partitions_left(sheets, lane, offer.sheet, partitions));
            let sheet = &mut sheets[offer.sheet];
            let taken = left.min(sheet.room(most, piece) / offer.cost);
            if taken > 0.0 {
                sheet.add(taken * offer.cost, items_of(taken), piece, most);
                left -= taken;
            }
        }
    }
    // What nobody can do in time is the cheapest pool's that has or may have workers, or else whoever's it should be.
    let known = || serving.iter().filter(|offer| offer.cost.is_finite());
    let mut working = known().filter(|offer| sheets[offer.sheet].buys() || sheets[offer.sheet].there() > 0);
    if left > 0.0
        && let Some(offer) = working.next().or_else(|| known().next())
    {
        let most = partitions_left(sheets, lane, offer.sheet, partitions);
        let piece = Piece { work, cost: offer.cost, target: Target::Drain };
        sheets[offer.sheet].add(left * offer.cost, items_of(left), piece, most);
    }
}

/// All pools that serve a lane and have room for the model, the cheapest first. What a frame costs a pool that never had the
/// model is guessed from those that did, and then one worker finds out. What nobody had yet will hardly be cheaper than the
/// cheapest model that a pool knows; where it knows none, the cost is infinite.
fn offers_for(sheets: &mut [Sheet<'_>], lane: &Lane, model: &Model, memory: Option<u64>) -> Vec<Offer> {
    sheets.iter_mut().filter(|sheet| sheet.serves(lane)).for_each(|sheet| sheet.note_memory(memory));
    let serving = || sheets.iter().enumerate().filter(|(_, sheet)| sheet.serves(lane) && sheet.fits(memory));
    let known: Vec<f64> = serving().filter_map(|(_, sheet)| sheet.cost(model)).collect();
    let mean = (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64);
    let offer = |(index, sheet): (usize, &Sheet<'_>)| match (sheet.cost(model), mean) {
        (Some(cost), _) => Offer { sheet: index, cost, most: sheet.limit() },
        (None, Some(mean)) => Offer { sheet: index, cost: mean, most: sheet.limit().min(1) },
        (None, None) => Offer { sheet: index, cost: sheet.least_cost(), most: sheet.limit() },
    };
    let mut offers: Vec<Offer> = serving().map(offer).collect();
    let price = |offer: &Offer| {
        let price = sheets[offer.sheet].price();
        if offer.cost.is_finite() { price * offer.cost } else { price }
    };
    offers.sort_by(|a, b| price(a).total_cmp(&price(b)).then(sheets[a.sheet].compare(&sheets[b.sheet])));
    offers
}

/// A queue's partitions less those that other pools' workers have.
fn partitions_left(sheets: &[Sheet<'_>], lane: &Lane, of: usize, partitions: u32) -> u32 {
    let others = sheets.iter().enumerate().filter(|(index, sheet)| *index != of && sheet.serves(lane));
    partitions.saturating_sub(others.map(|(_, sheet)| sheet.there().max(sheet.needed())).sum())
}
