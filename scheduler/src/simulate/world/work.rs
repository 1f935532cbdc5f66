//! What workers do with segments: as many at once as they have slots, in equal parts of one GPU.

use super::super::events::Event;
use super::pods::Pod;
use super::{State, World};
use framefleet_queue::turns::Turn;

/// A piece of work of a worker. In worker-seconds.
#[derive(Debug, Clone)]
pub struct InHand {
    segment: u32,
    came: f64,
    begun: f64,
    turn: Turn,
    total: f64,
    pub left: f64,
}

impl InHand {
    pub fn done(&self) -> f64 {
        self.total - self.left
    }
}

/// What is less is done: times are sums of many.
const ALMOST: f64 = 1e-6;

impl Pod {
    /// By segment, the part that is done.
    pub fn progress(&self, now: f64) -> impl Iterator<Item = (u32, f64)> {
        let since = (now - self.advanced) / self.hand.len().max(1) as f64;
        self.hand.iter().map(move |piece| (piece.segment, ((piece.done() + since) / piece.total).clamp(0.0, 1.0)))
    }
}

impl World<'_> {
    /// Accounts for what was done since the last time.
    pub(super) fn advance(&mut self, pod: u32) {
        let this = &mut self.pods[pod as usize];
        let passed = (self.now - this.advanced).max(0.0);
        this.advanced = self.now;
        if !this.hand.is_empty() && matches!(this.state, State::Ready | State::Draining) {
            self.ledger.busy += passed;
            let each = passed / this.hand.len() as f64;
            this.hand.iter_mut().for_each(|piece| piece.left -= each);
        }
    }

    /// Takes as much as there is, and the worker has slots for.
    pub(super) fn feed(&mut self, pod: u32) {
        let this = &self.pods[pod as usize];
        let (pool, slots) = (this.pool, self.scenario.pools[this.pool].slots as usize);
        if this.state != State::Ready || this.hand.len() >= slots || self.broker_fails {
            return;
        }
        self.advance(pod);
        let before = self.pods[pod as usize].hand.len();
        let queues = self.queues(pool);
        while self.pods[pod as usize].hand.len() < slots && self.take(pod, pool, &queues) {}
        if self.pods[pod as usize].hand.len() > before {
            self.plan_next(pod);
        }
    }

    fn take(&mut self, pod: u32, pool: usize, queues: &[usize]) -> bool {
        let name = |queue: usize| self.scenario.queues[queue].name.as_str();
        let with_work = queues.iter().filter(|queue| self.topics[**queue].oldest(pod).is_some());
        let Some(turn) = self.pods[pod as usize].turns.next(with_work.map(|queue| name(*queue))) else { return false };
        let queue = self.scenario.queue(turn);
        let Some((came, segment)) = self.topics[queue].take(pod) else { return false };
        let of_segment = self.trace.segments[segment as usize];
        let frames = f64::from(of_segment.frames);
        let model = self.trace.jobs[of_segment.job as usize].model;
        let total = frames * self.scenario.cost(pool, model) * f64::from(of_segment.factor);
        self.ledger.waited[segment as usize] = (self.now - came) as f32;
        let this = &mut self.pods[pod as usize];
        let turn = this.turns.begin(&self.scenario.queues[queue].name, frames);
        this.hand.push(InHand { segment, came, begun: self.now, turn, total, left: total });
        true
    }

    /// All workers that have the pool's topics in common with it.
    pub(super) fn feed_group(&mut self, pool: usize) {
        for queue in self.queues(pool) {
            if self.topics[queue].waiting() > 0 {
                let members: Vec<u32> = self.topics[queue].members().collect();
                for member in members {
                    self.feed(member);
                }
            }
        }
    }

    pub(super) fn plan_next(&mut self, pod: u32) {
        let this = &mut self.pods[pod as usize];
        this.generation += 1;
        let least = this.hand.iter().map(|piece| piece.left).fold(f64::INFINITY, f64::min);
        if least.is_finite() {
            let when = self.now + least.max(0.0) * this.hand.len() as f64;
            self.events.at(when, Event::WorkDone(pod, this.generation));
        }
    }

    pub(super) fn work_done(&mut self, pod: u32, generation: u32) {
        if self.pods[pod as usize].generation != generation || self.pods[pod as usize].state == State::Gone {
            return;
        }
        self.advance(pod);
        let this = &mut self.pods[pod as usize];
        let pool = this.pool;
        let done: Vec<InHand> = this.hand.extract_if(.., |piece| piece.left <= ALMOST).collect();
        for piece in &done {
            this.turns.end(&piece.turn, self.now - piece.begun);
        }
        for piece in done {
            self.settle(pool, &piece);
        }
        self.feed(pod);
        self.plan_next(pod);
        let this = &mut self.pods[pod as usize];
        if this.is_idle() && this.state == State::Draining {
            self.go(pod);
        } else if this.is_idle() {
            this.idle_since = self.now;
            self.ask_whether_idle(pod);
        }
    }

    fn settle(&mut self, pool: usize, piece: &InHand) {
        let of_segment = self.trace.segments[piece.segment as usize];
        let (frames, job) = (f64::from(of_segment.frames), of_segment.job);
        let of_job = &self.trace.jobs[job as usize];
        self.measure(pool, of_job.model, frames, piece.total);
        self.ledger.done[piece.segment as usize] += 1;
        self.ledger.done_work += piece.total;
        let group = self.group(job);
        self.backlogs[of_job.queue].remove(group, frames);
        self.open[job as usize].1 -= 1;
        self.last_done = self.now;
        if self.open[job as usize].1 == 0 {
            self.unfinished_jobs -= 1;
            self.ledger.finished[job as usize] = Some((self.open[job as usize].0, self.now));
        }
        if self.backlogs[of_job.queue].items() == 0 {
            self.queue_is_empty(of_job.queue);
        }
    }

    /// As workers do: what is long ago counts less and less.
    fn measure(&mut self, pool: usize, model: usize, frames: f64, busy: f64) {
        const MEMORY_FRAMES: f64 = 20_000.0;
        let sum = &mut self.pools[pool].measured[model];
        if sum.0 > MEMORY_FRAMES {
            *sum = (sum.0 / 2.0, sum.1 / 2.0);
        }
        *sum = (sum.0 + frames, sum.1 + busy);
    }

    fn queue_is_empty(&mut self, queue: usize) {
        self.empty_since[queue] = self.now;
        let members: Vec<u32> = self.topics[queue].members().collect();
        for member in members {
            self.ask_whether_idle(member);
        }
    }

    pub(super) fn hand_back(&mut self, pieces: Vec<InHand>) {
        for piece in pieces {
            self.ledger.redone[piece.segment as usize] += 1;
            let job = self.trace.segments[piece.segment as usize].job;
            let queue = self.trace.jobs[job as usize].queue;
            if let Some(owner) = self.topics[queue].hand_back(piece.segment, piece.came) {
                self.feed(owner);
            }
        }
    }
}
