//! Drivers have been seen to hang. What waits in one cannot be called back, so people are told what it is.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Some drivers take seconds to start on machines with many GPUs, and so does loading 2 GB of libraries from a slow disk.
const LONG: Duration = Duration::from_secs(15);

/// Asks NVIDIA's driver and libraries on this thread, and warns when that takes long, with what else people can do.
pub fn patiently<T>(otherwise: &str, ask: impl FnOnce() -> T) -> T {
    telling_after(LONG, ask, || {
        let seconds = LONG.as_secs();
        tracing::warn!(
            "NVIDIA's driver and libraries have not answered for {seconds} s: a slow disk takes that long, and a driver that hangs needs the machine to be started again{otherwise}"
        );
    })
}

fn telling_after<T>(long: Duration, work: impl FnOnce() -> T, tell: impl FnOnce() + Send) -> T {
    let (done, is_done) = channel::<()>();
    let wait = move || {
        if is_done.recv_timeout(long) == Err(RecvTimeoutError::Timeout) {
            tell();
        }
    };
    thread::scope(|scope| {
        scope.spawn(wait);
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_long_is_told_of_and_while_it_does() {
        let (told, is_told) = channel();
        let patience = Duration::from_mins(1);
        let result = telling_after(Duration::ZERO, || is_told.recv_timeout(patience), || told.send("slow").unwrap());
        assert_eq!(result, Ok("slow"));
        let quick = telling_after(Duration::from_hours(1), || "quick", || panic!("it did not take an hour"));
        assert_eq!(quick, "quick");
    }
}
