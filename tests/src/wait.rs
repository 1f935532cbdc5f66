//! Waiting for something to be so, never for a time to pass.

use std::thread;
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes this long.
const DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(200);

/// Waits until `condition` holds; fails at the deadline.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < DEADLINE, "still not so after {DEADLINE:?}: {what}");
        thread::park_timeout(PAUSE);
    }
}
