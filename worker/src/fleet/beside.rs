//! What is done again and again beside the work, each on a thread of its own: what one of them waits for, no other does.

use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Between two looks at whether it is over.
const LOOK: Duration = Duration::from_millis(100);

/// Calls `work` every `period` until `ends` is asked for.
pub fn again_and_again(
    name: &str,
    period: Duration,
    ends: &Stop,
    mut work: impl FnMut() + Send + 'static,
) -> Result<()> {
    let ends = ends.clone();
    let run = move || {
        while !ends.is_asked() {
            let begun = Instant::now();
            work();
            while begun.elapsed() < period && !ends.is_asked() {
                std::thread::sleep(LOOK.min(period));
            }
        }
    };
    Builder::new().name(name.to_owned()).spawn(run).map(|_| ()).map_err(|_| JobError::ThreadLost)
}
