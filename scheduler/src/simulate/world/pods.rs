//! How workers come and go.

use super::super::events::Event;
use super::super::policy::Leaves;
use super::World;
use super::work::InHand;
use framefleet_queue::turns::Turns;
use std::collections::BTreeMap;

/// A pod with one worker.
#[derive(Debug)]
pub struct Pod {
    pub pool: usize,
    /// The Kubernetes Job that it was started with.
    job: u32,
    pub asked: f64,
    pub state: State,
    pub(super) node: u32,
    pub(super) hand: Vec<InHand>,
    /// Until when the work in its hand is accounted for.
    pub(super) advanced: f64,
    /// Of what it plans to do next.
    pub(super) generation: u32,
    pub(super) idle_since: f64,
    pub(super) turns: Turns,
    /// One of the pool's least number, which never leave by themselves.
    stays: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its node or its image is not there yet.
    Pending,
    /// Its model is being loaded.
    Starting,
    Ready,
    /// It was told to go, and ends what it has in hand.
    Draining,
    Gone,
}

impl Pod {
    pub fn is_idle(&self) -> bool {
        self.hand.is_empty()
    }
}

/// After so long the broker gives a silent worker's partitions to others: what the worker's consumers ask for.
const SESSION: f64 = 15.0;

impl World<'_> {
    pub(super) fn start(&mut self, pool: usize, job: u32) {
        let of_pool = &self.scenario.pools[pool];
        let alive = self.pools[pool].alive.iter().map(|pod| &self.pods[*pod as usize]);
        let staying = alive.filter(|pod| pod.stays && pod.state != State::Draining).count() as u32;
        let pod = self.pods.len() as u32;
        self.pods.push(Pod {
            pool,
            job,
            asked: self.now,
            state: State::Pending,
            node: 0,
            hand: Vec::new(),
            advanced: self.now,
            generation: 0,
            idle_since: self.now,
            turns: Turns::new(&of_pool.queues),
            stays: staying < of_pool.min_workers,
        });
        self.pools[pool].alive.push(pod);
        self.ledger.starts += 1;
        self.place(pod);
    }

    pub(super) fn pod_runs(&mut self, pod: u32) {
        let this = &mut self.pods[pod as usize];
        if this.state == State::Pending {
            this.state = State::Starting;
            let job = this.job;
            self.begun.insert(job);
        }
    }

    pub(super) fn pod_ready(&mut self, pod: u32) {
        const REMEMBERED: usize = 50;
        let this = &mut self.pods[pod as usize];
        if this.state != State::Starting {
            return;
        }
        this.state = State::Ready;
        this.advanced = self.now;
        this.idle_since = self.now;
        let (pool, took) = (this.pool, self.now - this.asked);
        let cold_starts = &mut self.pools[pool].cold_starts;
        cold_starts.push_back(took);
        if cold_starts.len() > REMEMBERED {
            cold_starts.pop_front();
        }
        for queue in self.queues(pool) {
            self.topics[queue].join(pod);
        }
        self.ask_whether_idle(pod);
        self.feed_group(pool);
    }

    pub(super) fn queues(&self, pool: usize) -> Vec<usize> {
        self.scenario.pools[pool].queues.keys().map(|name| self.scenario.queue(name)).collect()
    }

    /// When it has had nothing to do for long enough, it will ask itself again.
    pub(super) fn ask_whether_idle(&mut self, pod: u32) {
        let this = &self.pods[pod as usize];
        if this.state == State::Ready && this.is_idle() && !this.stays && self.rules.leaves[this.pool] != Leaves::Never
        {
            self.events.at(self.now + self.scenario.planner.idle_exit.0, Event::IsIdle(pod, this.generation));
        }
    }

    pub(super) fn is_idle(&mut self, pod: u32, generation: u32) {
        let this = &self.pods[pod as usize];
        if this.state != State::Ready || this.generation != generation || !this.is_idle() || self.broker_fails {
            return;
        }
        let mut since = this.idle_since.max(self.broker_back);
        if self.rules.leaves[this.pool] == Leaves::WhenQueuesAreEmpty {
            let queues = self.queues(this.pool);
            if queues.iter().any(|queue| self.backlogs[*queue].items() > 0) {
                // It will be asked again when they are empty.
                return;
            }
            since = queues.iter().map(|queue| self.empty_since[*queue]).fold(since, f64::max);
        }
        let when = since + self.scenario.planner.idle_exit.0;
        if when > self.now + 1e-6 {
            self.events.at(when, Event::IsIdle(pod, generation));
        } else {
            self.go(pod);
        }
    }

    /// Pods that do not run yet, the newest first, then workers that have nothing in hand.
    pub(super) fn dismiss_idle(&mut self, pool: usize, workers: u32) {
        let mut idle: Vec<u32> = self.pools[pool].alive.clone();
        idle.retain(|pod| self.pods[*pod as usize].is_idle() && self.pods[*pod as usize].state != State::Draining);
        idle.sort_by_key(|pod| {
            let this = &self.pods[*pod as usize];
            (this.stays, this.state == State::Ready, this.state == State::Starting, std::cmp::Reverse(*pod))
        });
        idle.into_iter().take(workers as usize).for_each(|pod| self.go(pod));
    }

    /// Jobs that have begun are left alone, and each is taken back as a whole.
    pub(super) fn take_back(&mut self, pool: usize, mut workers: u32) {
        let mut jobs: BTreeMap<u32, (Vec<u32>, bool)> = BTreeMap::new();
        for pod in &self.pools[pool].alive {
            let this = &self.pods[*pod as usize];
            let (pods, has_begun) = jobs.entry(this.job).or_default();
            pods.push(*pod);
            *has_begun |= this.state != State::Pending || self.begun.contains(&this.job);
        }
        for (pods, _) in jobs.into_values().filter(|(_, has_begun)| !has_begun) {
            if pods.len() as u32 <= workers {
                workers -= pods.len() as u32;
                for pod in pods {
                    self.go(pod);
                }
            }
        }
    }

    /// As a `ReplicaSet` takes them: those that are not ready first, then the newest, whatever they do.
    pub(super) fn kill(&mut self, pool: usize, workers: u32) {
        let mut alive: Vec<u32> = self.pools[pool].alive.clone();
        alive.retain(|pod| self.pods[*pod as usize].state != State::Draining);
        alive.sort_by_key(|pod| (self.pods[*pod as usize].state == State::Ready, std::cmp::Reverse(*pod)));
        for pod in alive.into_iter().take(workers as usize) {
            self.drain(pod);
        }
    }

    /// What fits into the grace period is ended, the rest is handed back, and its work so far is lost.
    fn drain(&mut self, pod: u32) {
        if self.pods[pod as usize].state != State::Ready || self.pods[pod as usize].is_idle() {
            self.go(pod);
            return;
        }
        self.advance(pod);
        self.leave_groups(pod);
        let this = &mut self.pods[pod as usize];
        this.state = State::Draining;
        this.hand.sort_by(|a, b| a.left.total_cmp(&b.left));
        let mut back = Vec::new();
        while this.hand.iter().map(|piece| piece.left).sum::<f64>() > self.rules.grace {
            back.extend(this.hand.pop());
        }
        self.ledger.killed += back.iter().map(InHand::done).sum::<f64>();
        self.hand_back(back);
        if self.pods[pod as usize].is_idle() {
            self.go(pod);
        } else {
            self.plan_next(pod);
        }
    }

    pub(super) fn go(&mut self, pod: u32) {
        if self.pods[pod as usize].state == State::Ready {
            self.leave_groups(pod);
        }
        self.end_pod(pod);
        self.leave_node(pod);
    }

    fn end_pod(&mut self, pod: u32) {
        let this = &mut self.pods[pod as usize];
        this.state = State::Gone;
        let pool = this.pool;
        self.pools[pool].alive.retain(|other| *other != pod);
    }

    fn leave_groups(&mut self, pod: u32) {
        let pool = self.pods[pod as usize].pool;
        for queue in self.queues(pool) {
            self.topics[queue].leave(pod);
        }
        self.feed_group(pool);
    }

    /// Its node is gone. Whoever made the pod makes another one at once; the broker takes a while to see it.
    pub(super) fn lose(&mut self, pod: u32) {
        self.advance(pod);
        let this = &self.pods[pod as usize];
        let (pool, job, state) = (this.pool, this.job, this.state);
        self.ledger.lost += this.hand.iter().map(InHand::done).sum::<f64>();
        self.ledger.lost_workers += u32::from(matches!(state, State::Ready | State::Draining));
        self.end_pod(pod);
        self.events.at(self.now + SESSION, Event::SessionOver(pod));
        if state != State::Draining {
            self.start(pool, job);
        }
    }

    pub(super) fn session_over(&mut self, pod: u32) {
        let back = std::mem::take(&mut self.pods[pod as usize].hand);
        self.leave_groups(pod);
        self.hand_back(back);
    }
}
