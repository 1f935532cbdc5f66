//! Where a role's work comes from: one consumer for each queue, which take turns by their weights.

use crossbeam_channel::{Select, TryRecvError};
use framefleet_contract::message::segment_task::FRAMES_HEADER;
use framefleet_queue::turns::Turns;
use framefleet_queue::{Connection, Consumer, Delivery, QueueError};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The consumers of one role. Several threads take work from it.
#[derive(Debug)]
pub struct Intake {
    /// By the queue's name.
    consumers: BTreeMap<String, Consumer>,
    turns: Mutex<Turns>,
}

impl Intake {
    /// Follows `topics`, by the queue's name, each with its weight. `ahead` messages of each are handed out beforehand.
    pub fn start(
        connection: &Connection,
        topics: &BTreeMap<String, (String, u32)>,
        ahead: usize,
    ) -> Result<Self, QueueError> {
        let consumer = |(queue, (topic, _)): (&String, &(String, u32))| {
            Ok((queue.clone(), Consumer::start(connection, topic, ahead)?))
        };
        let weights = topics.iter().map(|(queue, (_, weight))| (queue.clone(), *weight)).collect();
        let consumers = topics.iter().map(consumer).collect::<Result<_, QueueError>>()?;
        Ok(Self { consumers, turns: Mutex::new(Turns::new(&weights)) })
    }

    /// The next piece of work, or `None` if there was none for so long.
    pub fn next(&self, patience: Duration) -> Option<Delivery> {
        self.take().or_else(|| {
            let mut select = Select::new();
            for consumer in self.consumers.values() {
                select.recv(consumer.deliveries());
            }
            select.ready_timeout(patience).ok()?;
            self.take()
        })
    }

    /// Of the queues that have something, the one whose turn it is.
    fn take(&self) -> Option<Delivery> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let with_work = self.consumers.iter().filter(|(_, consumer)| !consumer.deliveries().is_empty());
            let queue = turns.next(with_work.map(|(queue, _)| queue.as_str()))?.to_owned();
            match self.consumers.get(&queue)?.deliveries().try_recv() {
                // Somebody else has it now, who will do it before or after this one would have.
                Ok(delivery) if !delivery.is_ours() => {}
                Ok(delivery) => {
                    turns.served(&queue, frames(&delivery));
                    return Some(delivery);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return None,
            }
        }
    }

    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.consumers.values()
    }

    /// Commits what is finished, and leaves the groups.
    pub fn leave(&self) {
        self.consumers.values().for_each(Consumer::leave);
    }

    /// Takes nothing more, or goes on.
    pub fn pause(&self, pause: bool) {
        self.consumers.values().for_each(|consumer| consumer.pause(pause));
    }
}

/// How much work a message says that it is.
fn frames(delivery: &Delivery) -> f64 {
    let header = delivery.headers.iter().find(|(name, _)| name == FRAMES_HEADER);
    header.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(1.0)
}
