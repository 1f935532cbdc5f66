//! Waiting for something to be so, never for a time to pass.

use std::thread;
use std::time::{Duration, Instant};

/// Nothing that a test waits for takes this long.
const DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(200);

/// Waits until `condition` holds; fails at the deadline.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    within(DEADLINE, what, condition);
}

/// The same with a deadline of its own.
pub fn within(deadline: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(is_so_within(deadline, condition), "still not so after {deadline:?}: {what}");
}

/// Waits until `condition` holds, and says whether it came to that.
pub fn is_so_within(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let started = Instant::now();
    while !condition() {
        if started.elapsed() > deadline {
            return false;
        }
        thread::park_timeout(PAUSE);
    }
    true
}
