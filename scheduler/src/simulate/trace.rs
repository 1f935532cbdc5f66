//! What comes: the same jobs for all policies.

use super::random::Random;
use super::scenario::{Kind, Scenario};

#[derive(Debug)]
pub struct Trace {
    /// In the order in which they come.
    pub jobs: Vec<Job>,
    /// Of all jobs, one after the other.
    pub segments: Vec<Segment>,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub comes: f64,
    /// Indices into the scenario's lists.
    pub queue: usize,
    pub model: usize,
    pub deadline: Option<f64>,
    /// Into the trace's segments.
    pub segments: std::ops::Range<u32>,
}

#[derive(Debug, Clone, Copy)]
pub struct Segment {
    pub job: u32,
    pub frames: u32,
    /// How much dearer its frames are than the model's usual ones.
    pub factor: f32,
}

impl Trace {
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut comes: Vec<(f64, usize, u64)> = Vec::new();
        for (index, kind) in scenario.jobs.iter().enumerate() {
            let mut random = Random::new(seed, "arrivals", index as u64);
            let times = flow(kind, scenario.duration.0, &mut random);
            comes.extend(times.into_iter().enumerate().map(|(n, time)| (time, index, n as u64)));
        }
        for (n, burst) in scenario.bursts.iter().enumerate() {
            let mut random = Random::new(seed, "bursts", n as u64);
            let kind = scenario.kind(&burst.kind);
            let ids = (n as u64 + 1) << 32;
            let time = |random: &mut Random| burst.at.0 + random.unit() * burst.over.0;
            comes.extend((0..burst.count).map(|job| (time(&mut random), kind, ids + u64::from(job))));
        }
        comes.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut trace = Self { jobs: Vec::with_capacity(comes.len()), segments: Vec::new() };
        for (time, kind, id) in comes {
            let mut random = Random::new(seed, &scenario.jobs[kind].name, id);
            trace.add(scenario, &scenario.jobs[kind], time, &mut random);
        }
        trace
    }

    fn add(&mut self, scenario: &Scenario, kind: &Kind, comes: f64, random: &mut Random) {
        /// Some scenes are full of what is looked for, and cost more.
        const SIGMA: f64 = 0.1;
        let first = self.segments.len() as u32;
        let mut left = random.bounded_pareto(kind.length.least.0, kind.length.most.0, kind.length.tail);
        while left > 0.0 {
            let frames = (left.min(scenario.segment.0) * scenario.frame_rate).ceil().max(1.0) as u32;
            let factor = random.lognormal(1.0, SIGMA) as f32;
            self.segments.push(Segment { job: self.jobs.len() as u32, frames, factor });
            left -= scenario.segment.0;
        }
        let due = kind.deadline.as_ref().filter(|deadline| random.unit() < deadline.part);
        self.jobs.push(Job {
            comes,
            queue: scenario.queue(&kind.queue),
            model: scenario.model(&kind.model),
            deadline: due.map(|deadline| comes + deadline.after.0),
            segments: first..self.segments.len() as u32,
        });
    }
}

/// A Poisson process whose rate follows the rhythm, by thinning (Lewis and Shedler, 1979).
fn flow(kind: &Kind, duration: f64, random: &mut Random) -> Vec<f64> {
    let most = kind.per_hour * kind.rhythm.iter().copied().reduce(f64::max).unwrap_or(1.0);
    let mut times = Vec::new();
    if most <= 0.0 {
        return times;
    }
    let mut time = 0.0;
    loop {
        time += random.exponential(3600.0 / most);
        if time >= duration {
            return times;
        }
        if random.unit() * most < kind.per_hour * factor(&kind.rhythm, time) {
            times.push(time);
        }
    }
}

fn factor(rhythm: &[f64], time: f64) -> f64 {
    if rhythm.is_empty() {
        return 1.0;
    }
    let hours = time / 3600.0;
    let (before, part) = (hours.floor() as usize % rhythm.len(), hours.fract());
    rhythm[before] * (1.0 - part) + rhythm[(before + 1) % rhythm.len()] * part
}
