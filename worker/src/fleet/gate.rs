//! Lets pieces of work run side by side, and one alone where a worker was lost with it before.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The pieces of work that this process may do at once.
#[derive(Debug, Default)]
pub struct Gate {
    lock: RwLock<()>,
}

/// As long as it is held, the work may go on.
#[derive(Debug)]
#[expect(dead_code, reason = "guards are held, not looked at")]
pub enum Permit<'a> {
    Beside(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Gate {
    /// Waits only for work that has to be alone.
    pub fn beside_others(&self) -> Permit<'_> {
        Permit::Beside(self.lock.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until everything else is done, and lets nothing begin.
    pub fn alone(&self) -> Permit<'_> {
        Permit::Alone(self.lock.write().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn what_runs_alone_runs_alone() {
        let (gate, running) = (Gate::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for n in 0..8 {
                let (gate, running) = (&gate, &running);
                scope.spawn(move || {
                    for _ in 0..200 {
                        if n % 4 == 0 {
                            let _permit = gate.alone();
                            assert_eq!(running.load(Ordering::SeqCst), 0);
                        } else {
                            let _permit = gate.beside_others();
                            running.fetch_add(1, Ordering::SeqCst);
                            std::thread::yield_now();
                            running.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }
}
