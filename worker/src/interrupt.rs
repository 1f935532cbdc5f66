//! The wish to stop: from a signal, or from a stage that failed.

use crate::error::{JobError, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by all stages, which look at it between two pieces of work.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    signalled: Arc<AtomicBool>,
    /// One of the stages that share this failed.
    failed: Arc<AtomicBool>,
}

impl Stop {
    /// The first SIGINT or SIGTERM asks for a stop, the second ends the process at once.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.signalled.clone())?;
            signal_hook::flag::register(signal, stop.signalled.clone())?;
        }
        Ok(stop)
    }

    /// The same wish, and one more way to have it: [`Stop::fail`], which does not reach the original.
    #[must_use]
    pub fn for_stages(&self) -> Self {
        Self { signalled: self.signalled.clone(), failed: Arc::default() }
    }

    /// Asks the stages that share this to stop, since one of them failed.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    pub fn is_asked(&self) -> bool {
        self.signalled.load(Ordering::Relaxed) || self.failed.load(Ordering::Relaxed)
    }

    pub fn check(&self) -> Result<()> {
        if self.is_asked() { Err(JobError::Interrupted) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_fails_stops_its_neighbours_and_not_the_program() {
        let stop = Stop::default();
        let (stages, other_stages) = (stop.for_stages(), stop.for_stages());
        let neighbour = stages.clone();
        stages.fail();
        assert!(neighbour.is_asked());
        assert!(!stop.is_asked() && !other_stages.is_asked());
    }
}
