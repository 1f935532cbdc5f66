//! The work that is in hand, for heartbeats, for health, and to tell whether it fits into the time that is left.

use crate::interrupt::Stop;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::heartbeat::InFlight;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Default)]
pub struct InFlightWork {
    items: Arc<Mutex<Items>>,
}

#[derive(Debug, Default)]
struct Items {
    next: u64,
    open: BTreeMap<u64, Item>,
}

#[derive(Debug)]
struct Item {
    job_id: JobId,
    step: String,
    frames: u64,
    done: Arc<AtomicU64>,
    /// When it was first seen to move while the worker leaves, and the frames that were done by then: opening a video and
    /// loading a model say nothing of how long the rest takes.
    moving: Option<(Instant, u64)>,
    stop: Stop,
}

/// What a piece does in this time says how fast it is.
const OBSERVED: Duration = Duration::from_millis(500);

/// A piece of work in hand. Dropped, it is no more.
#[derive(Debug)]
pub struct InHand {
    work: InFlightWork,
    number: u64,
    /// Frames that are done.
    pub done: Arc<AtomicU64>,
    /// Asked for when it is to be left to others.
    pub stop: Stop,
}

impl InFlightWork {
    pub fn begin(&self, job_id: &JobId, step: &impl ToString, frames: u64, stop: &Stop) -> InHand {
        let (done, stop) = (Arc::new(AtomicU64::new(0)), stop.for_stages());
        let item = Item {
            job_id: job_id.clone(),
            step: step.to_string(),
            frames,
            done: done.clone(),
            moving: None,
            stop: stop.clone(),
        };
        let mut items = self.items();
        items.next += 1;
        let number = items.next;
        items.open.insert(number, item);
        InHand { work: self.clone(), number, done, stop }
    }

    pub fn list(&self) -> Vec<InFlight> {
        let listed = |item: &Item| InFlight {
            job_id: item.job_id.clone(),
            step: item.step.clone(),
            frames_done: item.done.load(Ordering::Relaxed),
            frames: item.frames,
        };
        self.items().open.values().map(listed).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.items().open.is_empty()
    }

    /// Asks for what will not be done in the time that is left, as fast as it goes, to be left to others. Gives how many
    /// pieces these are. To be called often: of what was not seen to move, nothing can be said while there is time.
    pub fn leave_what_does_not_fit(&self, left: Duration) -> usize {
        let mut too_long = 0;
        for item in self.items().open.values_mut().filter(|item| !item.stop.is_asked()) {
            let fits = item.time_left().is_none_or(|time| time <= left) && !left.is_zero();
            if !fits {
                item.stop.fail();
                too_long += 1;
            }
        }
        too_long
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Item {
    fn time_left(&mut self) -> Option<Duration> {
        let done = self.done.load(Ordering::Relaxed);
        if self.frames == 0 || done == 0 {
            return None;
        }
        let (since, first) = *self.moving.get_or_insert_with(|| (Instant::now(), done));
        let observed = Some(since.elapsed()).filter(|time| *time >= OBSERVED)?;
        let a_frame = observed.as_secs_f64() / done.saturating_sub(first).max(1) as f64;
        Duration::try_from_secs_f64(a_frame * self.frames.saturating_sub(done) as f64).ok()
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.work.items().open.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_does_not_fit_is_left_to_others() {
        let (work, process, job) = (InFlightWork::default(), Stop::default(), JobId::new("a").unwrap());
        let begin = |step: &str, done: u64| {
            let in_hand = work.begin(&job, &step, 1_000_000, &process);
            in_hand.done.store(done, Ordering::Relaxed);
            in_hand
        };
        let (nearly, hardly, unknown) = (begin("00000", 999_999), begin("00001", 1), begin("00002", 0));
        assert_eq!(work.leave_what_does_not_fit(Duration::from_secs(30)), 0, "nothing was seen to move");
        for (since, _) in work.items().open.values_mut().filter_map(|item| item.moving.as_mut()) {
            *since -= OBSERVED;
        }
        assert_eq!(work.leave_what_does_not_fit(Duration::from_secs(30)), 1);
        assert!(hardly.stop.is_asked() && !nearly.stop.is_asked() && !unknown.stop.is_asked());
        assert_eq!(work.leave_what_does_not_fit(Duration::ZERO), 2, "when time is up, everything");
        assert!(!process.is_asked());
        assert_eq!(work.list()[0].frames_done, 999_999);
        drop((nearly, hardly, unknown));
        assert!(work.is_empty());
    }
}
