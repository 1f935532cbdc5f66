//! How long a thread was at work, and how long it waited for its neighbours.

use framefleet_contract::summary::StageTime;
use std::time::Instant;

/// The clock of one thread of a stage. Time not spent waiting is busy.
#[derive(Debug)]
pub struct StageClock {
    started: Instant,
    starved_s: f64,
    blocked_s: f64,
}

impl StageClock {
    pub fn start() -> Self {
        Self { started: Instant::now(), starved_s: 0.0, blocked_s: 0.0 }
    }

    /// Runs a wait for the stage before this one.
    pub fn starved<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        timed(&mut self.starved_s, wait)
    }

    /// Runs a wait for the stage after this one.
    pub fn blocked<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        timed(&mut self.blocked_s, wait)
    }

    pub fn stop(self) -> StageTime {
        let waited = self.starved_s + self.blocked_s;
        let busy_s = (self.started.elapsed().as_secs_f64() - waited).max(0.0);
        StageTime { threads: 1, busy_s, starved_s: self.starved_s, blocked_s: self.blocked_s }
    }
}

fn timed<T>(seconds: &mut f64, wait: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = wait();
    *seconds += start.elapsed().as_secs_f64();
    value
}
