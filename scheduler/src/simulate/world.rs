//! A cluster, a broker and workers, simulated by discrete events.
//!
//! ```text
//! trace ─► topics ─► workers (pods on nodes) ─► done
//!            │           ▲
//!            └► policy ──┘ orders
//! ```
//!
//! What takes time: a node's boot, the image, the model, the work itself, a lost worker's session. What takes none here:
//! planning and finishing jobs, rebalances, the cluster's own controllers.

mod nodes;
mod pods;
mod work;

#[cfg(test)]
mod tests;

pub use pods::{Pod, State};

use super::backlog::{Backlog, Group};
use super::events::{Event, Events};
use super::ledger::{Ledger, Sample};
use super::policy::{Order, Policy, WorkerRules};
use super::scenario::Scenario;
use super::topic::Topic;
use super::trace::Trace;
use nodes::Node;
use std::collections::{BTreeSet, VecDeque};

pub struct World<'a> {
    pub scenario: &'a Scenario,
    pub trace: &'a Trace,
    pub now: f64,
    seed: u64,
    rules: WorkerRules,
    events: Events,
    topics: Vec<Topic>,
    backlogs: Vec<Backlog>,
    /// When the last piece of work of each queue was done.
    empty_since: Vec<f64>,
    broker_fails: bool,
    broker_back: f64,
    /// Jobs that came while the broker did not answer.
    held: Vec<u32>,
    /// By job: when its messages came, and how many are not done.
    open: Vec<(f64, u32)>,
    unfinished_jobs: usize,
    pods: Vec<Pod>,
    nodes: Vec<Node>,
    jobs_made: u32,
    /// Jobs of which some worker runs or ran.
    begun: BTreeSet<u32>,
    pools: Vec<PoolState>,
    pub ledger: Ledger,
    last_done: f64,
}

/// What there is of a pool.
#[derive(Debug, Default)]
pub struct PoolState {
    /// Pods that are not gone, in the order in which they were asked for.
    alive: Vec<u32>,
    nodes: Vec<u32>,
    nodes_ever: u64,
    /// The last times from asking to being ready.
    pub cold_starts: VecDeque<f64>,
    /// By model: frames, and busy seconds that they took.
    pub measured: Vec<(f64, f64)>,
}

/// After the last jobs came, so much time is given to those that are not done.
const PATIENCE: f64 = 24.0 * 3600.0;
/// Points of a chart.
const SAMPLES: f64 = 480.0;

impl<'a> World<'a> {
    pub fn new(scenario: &'a Scenario, trace: &'a Trace, seed: u64, rules: WorkerRules) -> Self {
        let known = |pool: usize, model: usize| {
            if scenario.models[model].measured { (1.0, scenario.cost(pool, model)) } else { (0.0, 0.0) }
        };
        let measured = |pool: usize| (0..scenario.models.len()).map(|model| known(pool, model)).collect();
        let pool = |pool: usize| PoolState { measured: measured(pool), ..PoolState::default() };
        Self {
            scenario,
            trace,
            now: 0.0,
            seed,
            rules,
            events: Events::default(),
            topics: scenario.queues.iter().map(|queue| Topic::new(&queue.name, queue.partitions)).collect(),
            backlogs: scenario.queues.iter().map(|_| Backlog::default()).collect(),
            empty_since: vec![0.0; scenario.queues.len()],
            broker_fails: false,
            broker_back: 0.0,
            held: Vec::new(),
            open: trace.jobs.iter().map(|job| (job.comes, job.segments.len() as u32)).collect(),
            unfinished_jobs: trace.jobs.len(),
            pods: Vec::new(),
            nodes: Vec::new(),
            jobs_made: 0,
            begun: BTreeSet::new(),
            pools: (0..scenario.pools.len()).map(pool).collect(),
            ledger: Ledger::new(scenario, trace),
            last_done: 0.0,
        }
    }

    /// Until all that came is done.
    pub fn run(mut self, policy: &mut dyn Policy) -> Ledger {
        let duration = self.scenario.duration.0;
        if let Some(first) = self.trace.jobs.first() {
            self.events.at(first.comes, Event::JobComes(0));
        }
        for outage in self.scenario.broker_outages() {
            self.events.at(outage.at.0, Event::BrokerFails);
            self.events.at(outage.at.0 + outage.lasts.0, Event::BrokerIsBack);
        }
        self.events.at(0.0, Event::Decide);
        self.events.at(0.0, Event::Sample);
        while let Some((time, event)) = self.events.next() {
            if time > duration && (self.unfinished_jobs == 0 || time > duration + PATIENCE) {
                break;
            }
            self.now = time;
            match event {
                Event::Decide => {
                    for order in policy.decide(&self) {
                        self.obey(order);
                    }
                    self.events.at(time + policy.period(), Event::Decide);
                }
                Event::Sample => {
                    let sample = self.sample(policy.wanted());
                    self.ledger.samples.push(sample);
                    self.events.at(time + duration / SAMPLES, Event::Sample);
                }
                other => self.happens(other),
            }
        }
        self.close();
        self.ledger
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::JobComes(job) => self.job_comes(job),
            Event::BrokerFails => self.broker_fails = true,
            Event::BrokerIsBack => self.broker_is_back(),
            Event::NodeGranted(node) => self.node_granted(node),
            Event::NodeUp(node) => self.node_up(node),
            Event::NodeLost(node) => self.node_lost(node),
            Event::NodeUnneeded(node, generation) => self.node_unneeded(node, generation),
            Event::PodRuns(pod) => self.pod_runs(pod),
            Event::PodReady(pod) => self.pod_ready(pod),
            Event::WorkDone(pod, generation) => self.work_done(pod, generation),
            Event::IsIdle(pod, generation) => self.is_idle(pod, generation),
            Event::SessionOver(pod) => self.session_over(pod),
            Event::Decide | Event::Sample => {}
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start { pool, workers } => {
                self.jobs_made += 1;
                (0..workers).for_each(|_| self.start(pool, self.jobs_made));
            }
            Order::TakeBack { pool, workers } => self.take_back(pool, workers),
            Order::DismissIdle { pool, workers } => self.dismiss_idle(pool, workers),
            Order::Resize { pool, replicas } => {
                let there = self.pods(pool).count() as u32;
                (there..replicas).for_each(|_| self.start(pool, 0));
                self.kill(pool, there.saturating_sub(replicas));
            }
        }
    }

    fn job_comes(&mut self, job: u32) {
        if let Some(next) = self.trace.jobs.get(job as usize + 1) {
            self.events.at(next.comes, Event::JobComes(job + 1));
        }
        if self.broker_fails {
            self.held.push(job);
        } else {
            self.publish(job);
        }
    }

    fn publish(&mut self, job: u32) {
        let of_job = &self.trace.jobs[job as usize];
        self.open[job as usize].0 = self.now;
        let group = self.group(job);
        for segment in of_job.segments.clone() {
            let frames = f64::from(self.trace.segments[segment as usize].frames);
            self.backlogs[of_job.queue].add(group, frames, self.now);
            if let Some(owner) = self.topics[of_job.queue].publish(segment, self.now) {
                self.feed(owner);
            }
        }
    }

    fn group(&self, job: u32) -> Group {
        let of_job = &self.trace.jobs[job as usize];
        Group::new(self.open[job as usize].0, of_job.model, of_job.deadline)
    }

    fn broker_is_back(&mut self) {
        self.broker_fails = false;
        self.broker_back = self.now;
        for job in std::mem::take(&mut self.held) {
            self.publish(job);
        }
        for pod in self.pools.iter().flat_map(|pool| pool.alive.clone()).collect::<Vec<u32>>() {
            self.feed(pod);
            self.ask_whether_idle(pod);
        }
    }

    /// Pods that are not gone or going.
    pub fn pods(&self, pool: usize) -> impl Iterator<Item = &Pod> {
        let alive = self.pools[pool].alive.iter().map(|pod| &self.pods[*pod as usize]);
        alive.filter(|pod| pod.state != State::Draining)
    }

    pub fn pool(&self, pool: usize) -> &PoolState {
        &self.pools[pool]
    }

    /// Unless the broker does not answer.
    pub fn backlog(&self, queue: usize) -> Option<&Backlog> {
        (!self.broker_fails).then(|| &self.backlogs[queue])
    }

    /// Frames that are done of the pieces that workers have in hand.
    pub fn in_hand(&self, queue: usize) -> impl Iterator<Item = (Group, f64)> {
        let pods = self.pools.iter().flat_map(|pool| &pool.alive).map(|pod| &self.pods[*pod as usize]);
        pods.flat_map(|pod| pod.progress(self.now)).filter_map(move |(segment, part)| {
            let of_segment = &self.trace.segments[segment as usize];
            let is_here = self.trace.jobs[of_segment.job as usize].queue == queue;
            is_here.then(|| (self.group(of_segment.job), part * f64::from(of_segment.frames)))
        })
    }

    fn sample(&self, wanted: u32) -> Sample {
        let slowest = |model| (0..self.pools.len()).map(|pool| self.scenario.cost(pool, model)).fold(0.0, f64::max);
        let sums = self.backlogs.iter().flat_map(Backlog::groups);
        let nodes = self.nodes.iter().filter(|node| node.is_paid());
        Sample {
            time: self.now,
            waiting: sums.map(|(group, sum)| sum.frames * slowest(group.model)).sum(),
            wanted,
            ready: self.pods.iter().filter(|pod| pod.state == State::Ready).count() as u32,
            gpus: nodes.map(|node| self.scenario.pools[node.pool].nodes.gpus).sum(),
        }
    }

    /// Who is there at the end is paid for until then.
    fn close(&mut self) {
        let end = self.scenario.duration.0.max(if self.unfinished_jobs == 0 { self.last_done } else { self.now });
        self.ledger.end = end;
        self.now = end;
        for node in 0..self.nodes.len() as u32 {
            self.end_node(node);
        }
        for pod in 0..self.pods.len() as u32 {
            self.advance(pod);
        }
    }
}
