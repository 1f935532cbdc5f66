//! Pieces of work that a thread of this process is at, so that no other one does the same meanwhile.

use crate::error::Result;
use crate::interrupt::Stop;
use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub struct Occupied<K> {
    taken: Mutex<HashSet<K>>,
    freed: Condvar,
}

/// As long as it is held, the piece is this thread's.
#[derive(Debug)]
pub struct Ours<'a, K: Hash + Eq + Clone> {
    occupied: &'a Occupied<K>,
    key: K,
}

/// Between two looks at whether the waiting is to end.
const LOOK: Duration = Duration::from_millis(100);

impl<K: Hash + Eq + Clone> Occupied<K> {
    /// Waits until nobody else is at it. Whoever waited finds what the other one did.
    ///
    /// It must not be passed over instead: of two deliveries of one message, the one that the other thread has may be of
    /// an assignment that is over, so that only this one keeps the message from being lost with the process.
    pub fn wait_for(&self, key: &K, stop: &Stop) -> Result<Ours<'_, K>> {
        loop {
            if let Some(ours) = self.wait_unless(key, stop, || false)? {
                return Ok(ours);
            }
        }
    }

    /// The same; `None` where waiting turns out not to be needed.
    pub fn wait_unless(&self, key: &K, stop: &Stop, needless: impl Fn() -> bool) -> Result<Option<Ours<'_, K>>> {
        let mut taken = self.taken();
        while !taken.insert(key.clone()) {
            stop.check()?;
            if needless() {
                return Ok(None);
            }
            taken = self.freed.wait_timeout(taken, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(Some(Ours { occupied: self, key: key.clone() }))
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<K>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Default for Occupied<K> {
    fn default() -> Self {
        Self { taken: Mutex::default(), freed: Condvar::new() }
    }
}

impl<K: Hash + Eq + Clone> Drop for Ours<'_, K> {
    fn drop(&mut self) {
        self.occupied.taken().remove(&self.key);
        self.occupied.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn the_second_one_waits_for_the_first_and_then_has_its_turn() {
        let (occupied, stop, is_done) = (Occupied::default(), Stop::default(), AtomicBool::new(false));
        let first = occupied.wait_for(&"a", &stop).unwrap();
        let _other = occupied.wait_for(&"b", &stop).unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _ours = occupied.wait_for(&"a", &stop).unwrap();
                is_done.load(Ordering::SeqCst)
            });
            is_done.store(true, Ordering::SeqCst);
            drop(first);
            assert!(second.join().unwrap(), "both had it at once");
        });
        let _again = occupied.wait_for(&"a", &stop).unwrap();
        assert!(occupied.wait_unless(&"a", &stop, || true).unwrap().is_none());
        stop.fail();
        assert!(occupied.wait_for(&"a", &stop).is_err(), "whoever is to stop does not wait");
    }
}
