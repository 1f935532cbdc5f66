//! Where a role's work comes from: one consumer for each queue, which take turns by their weights.

use framefleet_contract::message::segment_task::FRAMES_HEADER;
use framefleet_queue::consume::Signal;
use framefleet_queue::turns::{Turn, Turns};
use framefleet_queue::{Connection, Consumer, Delivery, QueueError};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The consumers of one role. Several threads take work from it.
#[derive(Debug)]
pub struct Intake {
    /// By the queue's name.
    consumers: BTreeMap<String, Consumer>,
    turns: Mutex<Turns>,
    signal: Arc<Signal>,
}

impl Intake {
    /// Follows `topics`, by the queue's name, each with its weight.
    pub fn start(connection: &Connection, topics: &BTreeMap<String, (String, u32)>) -> Result<Self, QueueError> {
        let signal = Arc::new(Signal::default());
        let consumer = |(queue, (topic, _)): (&String, &(String, u32))| {
            Ok((queue.clone(), Consumer::start(connection, topic, &signal)?))
        };
        let weights = topics.iter().map(|(queue, (_, weight))| (queue.clone(), *weight)).collect();
        let consumers = topics.iter().map(consumer).collect::<Result<_, QueueError>>()?;
        Ok(Self { consumers, turns: Mutex::new(Turns::new(&weights)), signal })
    }

    /// The next piece of work, or `None` if there was none for so long. The turn is to be given back when it is done.
    pub fn next(&self, patience: Duration) -> Option<(Delivery, Turn)> {
        let seen = self.signal.now();
        self.take().or_else(|| {
            self.signal.wait(seen, patience);
            self.take()
        })
    }

    /// Of the queues that have something, the one whose turn it is.
    fn take(&self) -> Option<(Delivery, Turn)> {
        let mut turns = self.turns();
        loop {
            let with_work = self.consumers.iter().filter(|(_, consumer)| consumer.has_some());
            let queue = turns.next(with_work.map(|(queue, _)| queue.as_str()))?.to_owned();
            // There may be none where all that waited is somebody else's by now.
            if let Some(delivery) = self.consumers.get(&queue)?.take() {
                let turn = turns.begin(&queue, frames(&delivery));
                return Some((delivery, turn));
            }
        }
    }

    /// A piece of work took so long, whatever became of it.
    pub fn done(&self, turn: &Turn, took: Duration) {
        self.turns().end(turn, took.as_secs_f64());
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.values()
    }

    /// Takes nothing more, or goes on.
    pub fn pause(&self, pause: bool) {
        self.consumers.values().for_each(|consumer| consumer.pause(pause));
    }
}

/// How much work a message says that it is.
fn frames(delivery: &Delivery) -> f64 {
    /// A video of a day in one piece. Whatever a header says, its queue does not wait for longer.
    const MOST: f64 = 5e6;
    let header = delivery.headers.iter().find(|(name, _)| name == FRAMES_HEADER);
    header
        .and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse::<u32>().ok())
        .map_or(1.0, |frames| f64::from(frames).min(MOST))
}
