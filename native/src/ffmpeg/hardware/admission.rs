//! How many sources are decoded on one GPU at a time.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the sources that are decoded on one GPU may take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeBudget {
    pub sources: usize,
    /// Of the GPU's memory.
    pub bytes: u64,
}

/// Four sources keep one of NVDEC's engines busy, since a source waits for each of its pictures. The rest is for those
/// whose pictures nobody takes at the moment; more would share the same engine, and only take memory.
const SOURCES_OF_AN_ENGINE: u32 = 16;
/// The models are larger than the pictures, and are loaded after this is settled.
const SHARE_OF_FREE_MEMORY: u64 = 2;
/// Between two looks of a source that waits at whether it still wants to.
const PATIENCE: Duration = Duration::from_millis(50);

impl DecodeBudget {
    /// For a GPU with so many engines of NVDEC and so many bytes that nobody uses.
    pub fn of(engines: u32, free_bytes: u64) -> Self {
        let sources = engines.max(1).saturating_mul(SOURCES_OF_AN_ENGINE);
        Self { sources: sources as usize, bytes: free_bytes / SHARE_OF_FREE_MEMORY }
    }
}

/// Lets sources in as long as the budget suffices, in the order in which they come: so one that needs much is not passed
/// by others for ever.
#[derive(Debug)]
pub struct Admission {
    budget: DecodeBudget,
    state: Mutex<State>,
    /// Somebody left, or gave up waiting.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sources: usize,
    bytes: u64,
    next_ticket: u64,
    /// Those who wait, the one who came first in front.
    waiting: VecDeque<u64>,
}

/// What became of somebody who wanted in.
#[derive(Debug)]
pub enum Admitted<'a> {
    /// Until the permit is dropped.
    In(Permit<'a>),
    /// There would be no room for it either if it were alone.
    TooLarge,
    GivenUp,
}

/// One source's part of the budget.
#[derive(Debug)]
pub struct Permit<'a> {
    admission: &'a Admission,
    bytes: u64,
}

impl Admission {
    pub fn new(budget: DecodeBudget) -> Self {
        Self { budget, state: Mutex::default(), changed: Condvar::new() }
    }

    pub fn budget(&self) -> DecodeBudget {
        self.budget
    }

    /// Waits until a source that takes `bytes` may decode, or `given_up` says that it does not want to any more.
    pub fn admit(&self, bytes: u64, given_up: impl Fn() -> bool) -> Admitted<'_> {
        if bytes > self.budget.bytes || self.budget.sources == 0 {
            return Admitted::TooLarge;
        }
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(ticket);
        while state.waiting.front() != Some(&ticket) || !state.has_room(self.budget, bytes) {
            if given_up() {
                state.waiting.retain(|waiting| *waiting != ticket);
                drop(state);
                self.changed.notify_all();
                return Admitted::GivenUp;
            }
            state = self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting.pop_front();
        state.sources += 1;
        state.bytes += bytes;
        drop(state);
        // The one behind may fit too.
        self.changed.notify_all();
        Admitted::In(Permit { admission: self, bytes })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, budget: DecodeBudget, bytes: u64) -> bool {
        self.sources < budget.sources && bytes <= budget.bytes - self.bytes
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        state.sources -= 1;
        state.bytes -= self.bytes;
        drop(state);
        self.admission.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    fn never() -> bool {
        false
    }

    fn permit(admission: &Admission, bytes: u64) -> Permit<'_> {
        match admission.admit(bytes, never) {
            Admitted::In(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    /// Until so many wait.
    fn wait_for_waiting(admission: &Admission, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while admission.state().waiting.len() != count {
            assert!(Instant::now() < deadline, "{admission:?}");
            thread::yield_now();
        }
    }

    #[test]
    fn many_threads_never_take_more_than_the_budget_and_all_come_in() {
        let budget = DecodeBudget { sources: 3, bytes: 100 };
        let admission = &Admission::new(budget);
        let (inside, most_bytes) = (&AtomicU64::new(0), &AtomicU64::new(0));
        let came_in = &AtomicU64::new(0);
        thread::scope(|scope| {
            for thread in 0..8u64 {
                scope.spawn(move || {
                    for round in 0..200 {
                        let bytes = 10 + (thread * 13 + round * 7) % 50;
                        let permit = permit(admission, bytes);
                        // Sources in the high half, bytes in the low one.
                        let now = inside.fetch_add((1 << 32) + bytes, Ordering::SeqCst) + (1 << 32) + bytes;
                        assert!(now >> 32 <= 3 && now & 0xffff_ffff <= 100, "{now:x}");
                        most_bytes.fetch_max(now & 0xffff_ffff, Ordering::SeqCst);
                        came_in.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        inside.fetch_sub((1 << 32) + bytes, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(came_in.load(Ordering::SeqCst), 1600);
        assert!(most_bytes.load(Ordering::SeqCst) > 59, "they never were in together");
        let state = admission.state();
        assert_eq!((state.sources, state.bytes, state.waiting.len()), (0, 0, 0));
    }

    #[test]
    fn a_large_source_is_not_passed_by_small_ones() {
        let admission = &Admission::new(DecodeBudget { sources: 10, bytes: 100 });
        let (came, order) = mpsc::channel();
        thread::scope(|scope| {
            let first = permit(admission, 60);
            let large = came.clone();
            scope.spawn(move || {
                let permit = permit(admission, 80);
                large.send("large").unwrap();
                drop(permit);
            });
            wait_for_waiting(admission, 1);
            scope.spawn(move || {
                // There is room for it all the time.
                let permit = permit(admission, 30);
                came.send("small").unwrap();
                drop(permit);
            });
            wait_for_waiting(admission, 2);
            drop(first);
        });
        assert_eq!(order.iter().collect::<Vec<_>>(), ["large", "small"]);
    }

    #[test]
    fn who_gives_up_leaves_no_place_in_the_line() {
        let admission = &Admission::new(DecodeBudget { sources: 2, bytes: 100 });
        let stop = &AtomicBool::new(false);
        thread::scope(|scope| {
            let first = permit(admission, 50);
            let waits =
                scope.spawn(|| matches!(admission.admit(80, || stop.load(Ordering::SeqCst)), Admitted::GivenUp));
            wait_for_waiting(admission, 1);
            let behind = scope.spawn(|| drop(permit(admission, 50)));
            wait_for_waiting(admission, 2);
            stop.store(true, Ordering::SeqCst);
            assert!(waits.join().unwrap());
            behind.join().unwrap();
            drop(first);
        });
    }

    #[test]
    fn what_is_larger_than_the_budget_does_not_wait() {
        let admission = Admission::new(DecodeBudget { sources: 1, bytes: 100 });
        let _all = permit(&admission, 100);
        assert!(matches!(admission.admit(101, never), Admitted::TooLarge));
        assert!(matches!(admission.admit(1, || true), Admitted::GivenUp));
    }

    #[test]
    fn the_budget_follows_from_engines_and_memory() {
        assert_eq!(DecodeBudget::of(7, 140 << 30), DecodeBudget { sources: 112, bytes: 70 << 30 });
        assert_eq!(DecodeBudget::of(0, 0), DecodeBudget { sources: 16, bytes: 0 });
    }
}
