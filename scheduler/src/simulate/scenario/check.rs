//! What a scenario may say: every number has a range, every name is of something.

use super::{Duration, Kind, Outage, Planner, Pool, Problem, Scenario};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

const DAY: f64 = 86_400.0;

/// What a machine's memory holds, and what can be waited for.
const MOST_SEGMENTS: f64 = 5_000_000.0;

pub fn check(scenario: &Scenario) -> Result<(), Problem> {
    seconds("duration", scenario.duration, 60.0..=14.0 * DAY)?;
    seconds("segment", scenario.segment, 1.0..=DAY)?;
    number("frame_rate", scenario.frame_rate, 0.1..=1000.0)?;
    planner(&scenario.planner)?;
    some("queues", &scenario.queues)?;
    some("models", &scenario.models)?;
    some("pools", &scenario.pools)?;
    some("jobs", &scenario.jobs)?;
    unique("queues", scenario.queues.iter().map(|queue| &queue.name))?;
    unique("models", scenario.models.iter().map(|model| &model.name))?;
    unique("pools", scenario.pools.iter().map(|pool| &pool.name))?;
    unique("jobs", scenario.jobs.iter().map(|kind| &kind.name))?;
    for (n, queue) in scenario.queues.iter().enumerate() {
        number(&format!("queues[{n}].partitions"), queue.partitions, 1.0..=10_000.0)?;
    }
    for (n, model) in scenario.models.iter().enumerate() {
        number(&format!("models[{n}].seconds_per_frame"), model.seconds_per_frame, 1e-6..=100.0)?;
    }
    for (n, of_pool) in scenario.pools.iter().enumerate() {
        pool(&format!("pools[{n}]"), of_pool, scenario)?;
    }
    for (n, of_kind) in scenario.jobs.iter().enumerate() {
        kind(&format!("jobs[{n}]"), of_kind, scenario)?;
    }
    for (n, burst) in scenario.bursts.iter().enumerate() {
        let place = format!("bursts[{n}]");
        seconds(&format!("{place}.at"), burst.at, 0.0..=scenario.duration.0)?;
        seconds(&format!("{place}.over"), burst.over, 0.0..=scenario.duration.0)?;
        number(&format!("{place}.count"), burst.count, 1.0..=1e6)?;
        named(&format!("{place}.kind"), &burst.kind, "jobs", scenario.jobs.iter().map(|kind| &kind.name))?;
    }
    for (n, of_outage) in scenario.outages.iter().enumerate() {
        outage(&format!("outages[{n}]"), of_outage, scenario)?;
    }
    how_much(scenario)
}

fn planner(planner: &Planner) -> Result<(), Problem> {
    seconds("planner.period", planner.period, 1.0..=600.0)?;
    seconds("planner.drain_within", planner.drain_within, 10.0..=7.0 * DAY)?;
    seconds("planner.stabilization", planner.stabilization, 0.0..=DAY)?;
    seconds("planner.idle_exit", planner.idle_exit, 1.0..=DAY)
}

fn pool(place: &str, pool: &Pool, scenario: &Scenario) -> Result<(), Problem> {
    let at = |field: &str| format!("{place}.{field}");
    if pool.queues.is_empty() {
        return Err(problem(&at("queues"), "names no queue: name at least one, such as { normal = 1 }"));
    }
    for (queue, weight) in &pool.queues {
        named(&at("queues"), queue, "queues", scenario.queues.iter().map(|queue| &queue.name))?;
        number(&at(&format!("queues.{queue}")), *weight, 1.0..=1e6)?;
    }
    number(&at("max_workers"), pool.max_workers, 1.0..=10_000.0)?;
    number(&at("min_workers"), pool.min_workers, 0.0..=f64::from(pool.max_workers))?;
    number(&at("slots"), pool.slots, 1.0..=256.0)?;
    number(&at("price_per_hour"), pool.price_per_hour, 0.0..=100_000.0)?;
    if let Some(budget) = pool.budget_per_hour {
        number(&at("budget_per_hour"), budget, 0.0..=1e9)?;
    }
    number(&at("speed"), pool.speed, 0.001..=1000.0)?;
    seconds(&at("cold_start"), pool.cold_start, 0.0..=DAY)?;
    let nodes = &pool.nodes;
    number(&at("nodes.gpus"), nodes.gpus, 1.0..=64.0)?;
    number(&at("nodes.boot_sigma"), nodes.boot_sigma, 0.0..=3.0)?;
    for (field, time) in [("boot", nodes.boot), ("image", nodes.image), ("model", nodes.model), ("keep", nodes.keep)] {
        seconds(&at(&format!("nodes.{field}")), time, 0.0..=DAY)?;
    }
    nodes.lost_after.map_or(Ok(()), |mean| seconds(&at("nodes.lost_after"), mean, 60.0..=365.0 * DAY))
}

fn kind(place: &str, kind: &Kind, scenario: &Scenario) -> Result<(), Problem> {
    let at = |field: &str| format!("{place}.{field}");
    named(&at("queue"), &kind.queue, "queues", scenario.queues.iter().map(|queue| &queue.name))?;
    named(&at("model"), &kind.model, "models", scenario.models.iter().map(|model| &model.name))?;
    if !scenario.pools.iter().any(|pool| pool.queues.contains_key(&kind.queue)) {
        return Err(problem(&at("queue"), &format!("no pool serves {:?}: add it to the queues of one", kind.queue)));
    }
    number(&at("per_hour"), kind.per_hour, 0.0..=1e6)?;
    if ![0, 24].contains(&kind.rhythm.len()) {
        return Err(problem(&at("rhythm"), &format!("has {} factors, not 24", kind.rhythm.len())));
    }
    for (hour, factor) in kind.rhythm.iter().enumerate() {
        number(&at(&format!("rhythm[{hour}]")), *factor, 0.0..=1000.0)?;
    }
    seconds(&at("length.most"), kind.length.most, 0.1..=DAY)?;
    seconds(&at("length.least"), kind.length.least, 0.1..=kind.length.most.0)?;
    number(&at("length.tail"), kind.length.tail, 0.01..=100.0)?;
    if let Some(deadline) = &kind.deadline {
        number(&at("deadline.part"), deadline.part, 0.0..=1.0)?;
        seconds(&at("deadline.after"), deadline.after, 1.0..=14.0 * DAY)?;
    }
    Ok(())
}

fn outage(place: &str, outage: &Outage, scenario: &Scenario) -> Result<(), Problem> {
    seconds(&format!("{place}.at"), outage.at, 0.0..=scenario.duration.0)?;
    seconds(&format!("{place}.lasts"), outage.lasts, 1.0..=DAY)?;
    let Some(pool) = &outage.pool else { return Ok(()) };
    named(&format!("{place}.pool"), pool, "pools", scenario.pools.iter().map(|pool| &pool.name))
}

/// Refuses what would take days, and what is nothing.
fn how_much(scenario: &Scenario) -> Result<(), Problem> {
    // Each video ends with a piece that is not full.
    let of_one = |kind: &Kind| kind.length.mean() / scenario.segment.0 + 1.0;
    let flow = |kind: &Kind| {
        let rhythm = kind.rhythm.iter().sum::<f64>() / kind.rhythm.len().max(1) as f64;
        let factor = if kind.rhythm.is_empty() { 1.0 } else { rhythm };
        kind.per_hour * factor * scenario.duration.0 / 3600.0 * of_one(kind)
    };
    let bursts = scenario.bursts.iter();
    let at_once = bursts.map(|burst| f64::from(burst.count) * of_one(&scenario.jobs[scenario.kind(&burst.kind)]));
    let segments = scenario.jobs.iter().map(flow).sum::<f64>() + at_once.sum::<f64>();
    if segments > MOST_SEGMENTS {
        let said = format!("about {segments:.0} segments may come: at most {MOST_SEGMENTS:.0} can be simulated");
        return Err(problem("jobs", &said));
    }
    if segments <= 0.0 {
        return Err(problem("jobs", "no job would come: give one of them per_hour, or add bursts"));
    }
    Ok(())
}

impl super::Length {
    /// Seconds.
    fn mean(&self) -> f64 {
        let (least, most, tail) = (self.least.0, self.most.0, self.tail);
        if (most - least).abs() < 1e-9 {
            return least;
        }
        // The general form has no value at 1, and a neighbour will do.
        let tail = if (tail - 1.0).abs() < 1e-6 { 1.000_001 } else { tail };
        let ratio = (least / most).powf(tail);
        least.powf(tail) / (1.0 - ratio) * tail / (tail - 1.0) * (least.powf(1.0 - tail) - most.powf(1.0 - tail))
    }
}

fn seconds(place: &str, Duration(value): Duration, range: RangeInclusive<f64>) -> Result<(), Problem> {
    if range.contains(&value) {
        return Ok(());
    }
    let said = |seconds: f64| match std::time::Duration::try_from_secs_f64(seconds) {
        Ok(time) => humantime::format_duration(time).to_string(),
        Err(_) => format!("{seconds} s"),
    };
    let (least, most) = (said(*range.start()), said(*range.end()));
    Err(problem(place, &format!("{} is not between {least} and {most}", said(value))))
}

fn number(place: &str, value: impl Into<f64>, range: RangeInclusive<f64>) -> Result<(), Problem> {
    let value = value.into();
    // Not a number is in no range.
    if range.contains(&value) {
        return Ok(());
    }
    Err(problem(place, &format!("{value} is not between {} and {}", range.start(), range.end())))
}

fn some<T>(place: &str, list: &[T]) -> Result<(), Problem> {
    const MOST: usize = 1000;
    match list.len() {
        0 => Err(problem(place, "there is none: add at least one")),
        1..=MOST => Ok(()),
        more => Err(problem(place, &format!("{more} are more than {MOST}"))),
    }
}

fn unique<'a>(place: &str, names: impl Iterator<Item = &'a String>) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(problem(place, &format!("two are called {name:?}: names must differ")));
        }
    }
    Ok(())
}

fn named<'a>(place: &str, name: &str, of: &str, names: impl Iterator<Item = &'a String>) -> Result<(), Problem> {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.contains(&name) {
        return Ok(());
    }
    Err(problem(place, &format!("{name:?} is none of the {of}: {}", names.join(", "))))
}

fn problem(place: &str, what: &str) -> Problem {
    Problem { place: place.to_owned(), what: what.to_owned() }
}
