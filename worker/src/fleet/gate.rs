//! Lets pieces of work run side by side, and one alone where a worker was lost with it before.

use crate::error::Result;
use crate::interrupt::Stop;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The pieces of work that this process may do at once.
#[derive(Debug, Default)]
pub struct Gate {
    inside: Mutex<Inside>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inside {
    running: usize,
    /// Of those that run, one that has to be alone.
    is_alone: bool,
    /// Those that have to be alone, and wait: nothing begins before them.
    waiting: usize,
}

/// As long as it is held, the work may go on.
#[derive(Debug)]
pub struct Permit<'a> {
    gate: &'a Gate,
}

/// Between two looks at whether the waiting is to end.
const LOOK: Duration = Duration::from_millis(100);

impl Gate {
    /// Waits only for work that has to be alone.
    pub fn beside_others(&self, stop: &Stop) -> Result<Permit<'_>> {
        let mut inside = self.inside();
        while inside.is_alone || inside.waiting > 0 {
            stop.check()?;
            inside = self.wait(inside);
        }
        inside.running += 1;
        Ok(Permit { gate: self })
    }

    /// Waits until everything else is done, and lets nothing begin meanwhile.
    pub fn alone(&self, stop: &Stop) -> Result<Permit<'_>> {
        let mut inside = self.inside();
        inside.waiting += 1;
        while inside.running > 0 && !stop.is_asked() {
            inside = self.wait(inside);
        }
        inside.waiting -= 1;
        self.changed.notify_all();
        stop.check()?;
        inside.running = 1;
        inside.is_alone = true;
        Ok(Permit { gate: self })
    }

    fn wait<'a>(&self, inside: MutexGuard<'a, Inside>) -> MutexGuard<'a, Inside> {
        self.changed.wait_timeout(inside, LOOK).unwrap_or_else(PoisonError::into_inner).0
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut inside = self.gate.inside();
        inside.running -= 1;
        inside.is_alone = false;
        self.gate.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_runs_alone_runs_alone() {
        let (gate, running, stop) = (Gate::default(), AtomicUsize::new(0), Stop::default());
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (gate, running, stop) = (&gate, &running, &stop);
                scope.spawn(move || {
                    for _ in 0..200 {
                        if n % 4 == 0 {
                            let _permit = gate.alone(stop).unwrap();
                            assert_eq!(running.load(Ordering::SeqCst), 0);
                        } else {
                            let _permit = gate.beside_others(stop).unwrap();
                            running.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            running.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn who_is_told_to_stop_waits_no_longer_and_lets_others_begin() {
        let (gate, stop, other) = (Gate::default(), Stop::default(), Stop::default());
        let long = gate.beside_others(&other).unwrap();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| gate.alone(&stop).map(|_| ()));
            while gate.inside().waiting == 0 {
                std::thread::yield_now();
            }
            stop.fail();
            assert!(waits.join().unwrap().is_err());
        });
        drop(gate.beside_others(&other).unwrap());
        assert!(gate.inside().running == 1, "the long one");
        drop(long);
        let alone = gate.alone(&other).unwrap();
        assert!(gate.beside_others(&stop).is_err());
        drop(alone);
        assert_eq!(gate.inside().running, 0);
    }
}
