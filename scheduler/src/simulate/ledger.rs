//! What a run of a policy cost, and what it did for it.

use super::scenario::Scenario;
use super::trace::Trace;
use serde::Serialize;

/// Raw, by segment and job of the trace.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// From the beginning until the last job is done, seconds.
    pub end: f64,
    pub gpu_hours: f64,
    pub price: f64,
    /// Worker-seconds in which something was in hand.
    pub busy: f64,
    /// Worker-seconds of pieces that were ended.
    pub done_work: f64,
    /// Worker-seconds of pieces that were taken away from workers that were told to go.
    pub killed: f64,
    /// Worker-seconds of pieces that were lost with their nodes.
    pub lost: f64,
    pub lost_workers: u32,
    pub starts: u32,
    /// By segment, seconds in the queue.
    pub waited: Vec<f32>,
    pub done: Vec<u8>,
    /// By segment, how often it was handed back.
    pub redone: Vec<u16>,
    /// By job, when its messages came and when the last of them was done.
    pub finished: Vec<Option<(f64, f64)>>,
    pub samples: Vec<Sample>,
}

/// A moment.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sample {
    pub time: f64,
    /// Worker-seconds, on the slowest pool.
    pub waiting: f64,
    pub wanted: u32,
    pub ready: u32,
    pub gpus: u32,
}

/// What is told of a run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Outcome {
    pub gpu_hours: f64,
    pub price: f64,
    pub jobs: f64,
    /// Jobs that were not done by their deadlines.
    pub late: f64,
    /// Jobs without a deadline that were not done within `drain_within` and the time of their longest segment.
    pub slow: f64,
    /// Seconds that segments waited until they were taken for the last time.
    pub wait_p50: f64,
    pub wait_p95: f64,
    pub killed_worker_seconds: f64,
    pub lost_worker_seconds: f64,
    pub lost_workers: f64,
    pub starts: f64,
    /// Part of the GPUs' time in which work was in hand.
    pub utilisation: f64,
    /// Of the last job, seconds.
    pub end: f64,
}

impl Ledger {
    pub fn new(scenario: &Scenario, trace: &Trace) -> Self {
        Self {
            end: scenario.duration.0,
            gpu_hours: 0.0,
            price: 0.0,
            busy: 0.0,
            done_work: 0.0,
            killed: 0.0,
            lost: 0.0,
            lost_workers: 0,
            starts: 0,
            waited: vec![f32::NAN; trace.segments.len()],
            done: vec![0; trace.segments.len()],
            redone: vec![0; trace.segments.len()],
            finished: vec![None; trace.jobs.len()],
            samples: Vec::new(),
        }
    }

    pub fn outcome(&self, scenario: &Scenario, trace: &Trace) -> Outcome {
        let (mut late, mut slow) = (0_u32, 0_u32);
        for (job, finished) in trace.jobs.iter().zip(&self.finished) {
            match (job.deadline, finished) {
                (Some(deadline), Some((_, end))) => late += u32::from(*end > deadline),
                (None, Some((came, end))) => slow += u32::from(end - came > allowed(scenario, trace, job)),
                (Some(_), None) => late += 1,
                (None, None) => slow += 1,
            }
        }
        let mut waited: Vec<f32> = self.waited.iter().copied().filter(|seconds| !seconds.is_nan()).collect();
        waited.sort_by(f32::total_cmp);
        let quantile = |part: f64| waited.get((waited.len() as f64 * part) as usize).copied().map_or(0.0, f64::from);
        Outcome {
            gpu_hours: self.gpu_hours,
            price: self.price,
            jobs: trace.jobs.len() as f64,
            late: f64::from(late),
            slow: f64::from(slow),
            wait_p50: quantile(0.5),
            wait_p95: quantile(0.95),
            killed_worker_seconds: self.killed,
            lost_worker_seconds: self.lost,
            lost_workers: f64::from(self.lost_workers),
            starts: f64::from(self.starts),
            utilisation: self.busy / (self.gpu_hours * 3600.0).max(f64::MIN_POSITIVE),
            end: self.end,
        }
    }
}

/// What a job without a deadline may take: the fleet's target, and the time of its longest segment in a full worker.
fn allowed(scenario: &Scenario, trace: &Trace, job: &super::trace::Job) -> f64 {
    let segments = &trace.segments[job.segments.start as usize..job.segments.end as usize];
    let frames = segments.iter().map(|segment| segment.frames).max().unwrap_or(0);
    let queue = &scenario.queues[job.queue].name;
    let serving = scenario.pools.iter().enumerate().filter(|(_, pool)| pool.queues.contains_key(queue));
    let slowest = serving.map(|(n, pool)| scenario.cost(n, job.model) * f64::from(pool.slots)).fold(0.0, f64::max);
    scenario.planner.drain_within.0 + f64::from(frames) * slowest
}

impl Outcome {
    pub fn misses(&self) -> f64 {
        self.late + self.slow
    }

    /// Of several runs, number by number.
    pub fn combine(runs: &[Self], of: impl Fn(&[f64]) -> f64) -> Self {
        let each = |field: fn(&Self) -> f64| of(&runs.iter().map(field).collect::<Vec<f64>>());
        Self {
            gpu_hours: each(|run| run.gpu_hours),
            price: each(|run| run.price),
            jobs: each(|run| run.jobs),
            late: each(|run| run.late),
            slow: each(|run| run.slow),
            wait_p50: each(|run| run.wait_p50),
            wait_p95: each(|run| run.wait_p95),
            killed_worker_seconds: each(|run| run.killed_worker_seconds),
            lost_worker_seconds: each(|run| run.lost_worker_seconds),
            lost_workers: each(|run| run.lost_workers),
            starts: each(|run| run.starts),
            utilisation: each(|run| run.utilisation),
            end: each(|run| run.end),
        }
    }

    pub fn mean(runs: &[Self]) -> Self {
        Self::combine(runs, mean)
    }

    /// Standard deviation of the sample.
    pub fn spread(runs: &[Self]) -> Self {
        Self::combine(runs, |values| {
            let centre = mean(values);
            let squares: f64 = values.iter().map(|value| (value - centre).powi(2)).sum();
            (squares / (values.len() as f64 - 1.0).max(1.0)).sqrt()
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
