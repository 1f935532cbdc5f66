//! The wish to stop: from a signal, or from a stage that failed.

use crate::error::{JobError, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by all stages, which look at it between two pieces of work.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    /// Of whom this was derived from: the process, a job, a call.
    above: Vec<Arc<AtomicBool>>,
}

impl Stop {
    /// The first SIGINT or SIGTERM asks for a stop, the second ends the process at once.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, stop.asked.clone())?;
            signal_hook::flag::register(signal, stop.asked.clone())?;
        }
        Ok(stop)
    }

    /// The same wish, and one more way to have it: [`Stop::fail`], which does not reach the original.
    #[must_use]
    pub fn for_stages(&self) -> Self {
        let above = self.above.iter().chain([&self.asked]).cloned().collect();
        Self { asked: Arc::default(), above }
    }

    /// Asks all who share this to stop, and all whose own was derived from it.
    pub fn fail(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    pub fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.above.iter().any(|asked| asked.load(Ordering::Relaxed))
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

    #[test]
    fn who_stops_a_call_stops_its_stages() {
        let process = Stop::default();
        let call = process.for_stages();
        let (stages, other_call) = (call.for_stages(), process.for_stages());
        call.fail();
        assert!(stages.is_asked() && !other_call.is_asked() && !process.is_asked());
        process.fail();
        assert!(other_call.is_asked());
    }
}
