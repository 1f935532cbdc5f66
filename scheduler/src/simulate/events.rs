//! What happens when.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Event {
    JobComes(u32),
    BrokerFails,
    BrokerIsBack,
    NodeGranted(u32),
    NodeUp(u32),
    NodeLost(u32),
    /// Its last pod went, in this generation of it.
    NodeUnneeded(u32, u32),
    PodRuns(u32),
    PodReady(u32),
    /// A piece of work is done, if nothing changed since this generation.
    WorkDone(u32, u32),
    /// A worker asks itself whether it should go.
    IsIdle(u32, u32),
    /// The broker has not heard of a worker for so long that it takes it for gone.
    SessionOver(u32),
    Decide,
    Sample,
}

/// Those of the same time happen in the order in which they were put in.
#[derive(Debug, Default)]
pub struct Events {
    heap: BinaryHeap<Reverse<Due>>,
    count: u64,
}

#[derive(Debug)]
struct Due {
    time: f64,
    number: u64,
    event: Event,
}

impl Events {
    pub fn at(&mut self, time: f64, event: Event) {
        self.count += 1;
        self.heap.push(Reverse(Due { time, number: self.count, event }));
    }

    pub fn next(&mut self) -> Option<(f64, Event)> {
        self.heap.pop().map(|Reverse(due)| (due.time, due.event))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.time.total_cmp(&other.time).then(self.number.cmp(&other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}
