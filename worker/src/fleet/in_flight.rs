//! The work that is in hand, for heartbeats, for health, and to tell whether it fits into the time that is left.

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
    begun: Instant,
}

/// A piece of work in hand. Dropped, it is no more.
#[derive(Debug)]
pub struct InHand {
    work: InFlightWork,
    number: u64,
    /// Frames that are done.
    pub done: Arc<AtomicU64>,
}

impl InFlightWork {
    pub fn begin(&self, job_id: &JobId, step: &impl ToString, frames: u64) -> InHand {
        let done = Arc::new(AtomicU64::new(0));
        let item =
            Item { job_id: job_id.clone(), step: step.to_string(), frames, done: done.clone(), begun: Instant::now() };
        let mut items = self.items();
        items.next += 1;
        let number = items.next;
        items.open.insert(number, item);
        InHand { work: self.clone(), number, done }
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

    /// Until everything in hand is done, as fast as it went so far. `None` where that cannot be said yet.
    pub fn time_left(&self) -> Option<Duration> {
        let left = |item: &Item| {
            let (done, elapsed) = (item.done.load(Ordering::Relaxed), item.begun.elapsed().as_secs_f64());
            if item.frames == 0 {
                return Some(0.0);
            }
            (done > 0).then(|| elapsed / done as f64 * item.frames.saturating_sub(done) as f64)
        };
        let items = self.items();
        let longest = items.open.values().map(left).try_fold(0.0_f64, |longest, left| Some(longest.max(left?)))?;
        Duration::try_from_secs_f64(longest).ok()
    }

    fn items(&self) -> MutexGuard<'_, Items> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn the_slowest_piece_says_how_long_it_takes() {
        let work = InFlightWork::default();
        assert_eq!(work.time_left(), Some(Duration::ZERO));
        let job = JobId::new("a").unwrap();
        let half = work.begin(&job, &"00000", 100);
        assert_eq!(work.time_left(), None, "nothing is known yet");
        std::thread::sleep(Duration::from_millis(20));
        half.done.store(50, Ordering::Relaxed);
        let nearly = work.begin(&job, &"00001", 100);
        nearly.done.store(99, Ordering::Relaxed);
        assert!(work.time_left().unwrap() >= Duration::from_millis(20));
        assert_eq!(work.list()[0].frames_done, 50);
        drop((half, nearly));
        assert!(work.is_empty());
    }
}
