//! Who is inside FFmpeg, and for how long already: how a call that never returns is noticed.
//!
//! A hang cannot be interrupted from outside. So every demuxer and decoder marks when it enters FFmpeg and when it comes
//! back, and somebody else, a watchdog, looks at the marks. Waiting for a neighbour's channel is no call and never counts.

use super::MediaError;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// Milliseconds that the watchdog has been looking, plus one. It counts its own looks instead of asking a clock: a
/// process that was stopped for an hour has not been stuck for one.
static NOW_MS: AtomicU64 = AtomicU64::new(1);
/// All that are alive.
static PULSES: Mutex<Vec<Weak<Pulse>>> = Mutex::new(Vec::new());
/// How much longer than its limit a read may last before it is taken for one that does not return: a slow one ends by
/// itself when its next part arrives.
const READ_GRACE_MS: u64 = 1000;
const IDLE: u64 = 0;

/// Lets `ms` milliseconds pass for all calls into FFmpeg.
pub fn advance(ms: u64) {
    NOW_MS.fetch_add(ms, Ordering::Relaxed);
}

/// How much time has passed so, plus one: for whoever marks calls of other kinds against the same clock.
pub fn now_ms() -> u64 {
    NOW_MS.load(Ordering::Relaxed)
}

/// The first call into FFmpeg that has lasted longer than it may, as the error that it comes to.
pub fn stalled() -> Option<MediaError> {
    let mut pulses = PULSES.lock().unwrap_or_else(PoisonError::into_inner);
    pulses.retain(|pulse| pulse.strong_count() > 0);
    pulses.iter().filter_map(Weak::upgrade).find(|pulse| pulse.is_stuck()).map(|pulse| pulse.error())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Read,
    Decode,
}

/// The marks of one demuxer or decoder.
#[derive(Debug)]
pub(super) struct Pulse {
    work: Work,
    path: PathBuf,
    limit_s: f64,
    /// [`NOW_MS`] when the call that lasts began, or [`IDLE`].
    since_ms: AtomicU64,
}

/// While it lives, its owner is inside FFmpeg.
pub(super) struct Working<'a>(&'a Pulse);

impl Pulse {
    pub(super) fn new(work: Work, path: &Path, limit_s: f64) -> Arc<Self> {
        let pulse = Arc::new(Self { work, path: path.to_owned(), limit_s, since_ms: AtomicU64::new(IDLE) });
        PULSES.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&pulse));
        pulse
    }

    pub(super) fn working(&self) -> Working<'_> {
        let working = Working(self);
        working.again();
        working
    }

    /// Whether the call that lasts has lasted longer than it may.
    pub(super) fn is_late(&self) -> bool {
        self.lasted_ms() > self.limit_ms()
    }

    /// What the call that lasts may still take.
    pub(super) fn time_left(&self) -> Duration {
        Duration::from_millis(self.limit_ms().saturating_sub(self.lasted_ms()))
    }

    pub(super) fn error(&self) -> MediaError {
        let (path, seconds) = (self.path.clone(), self.limit_s);
        match self.work {
            Work::Read => MediaError::ReadTimeout { path, seconds },
            Work::Decode => MediaError::DecodeStalled { path, seconds },
        }
    }

    fn is_stuck(&self) -> bool {
        let grace = if self.work == Work::Read { READ_GRACE_MS } else { 0 };
        self.lasted_ms() > self.limit_ms().saturating_add(grace)
    }

    fn lasted_ms(&self) -> u64 {
        match self.since_ms.load(Ordering::Relaxed) {
            IDLE => 0,
            since => NOW_MS.load(Ordering::Relaxed).saturating_sub(since),
        }
    }

    fn limit_ms(&self) -> u64 {
        (self.limit_s * 1000.0) as u64
    }
}

impl Working<'_> {
    /// The call goes on with the next packet, which has all the time again.
    pub(super) fn again(&self) {
        self.0.since_ms.store(NOW_MS.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.since_ms.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_call_that_lasts_is_late() {
        let decoder = Pulse::new(Work::Decode, Path::new("v.mp4"), 1e6);
        advance(2_000_000_000);
        assert!(!decoder.is_late(), "nobody is inside");
        let inside = decoder.working();
        assert!(!decoder.is_late());
        advance(1_000_000_001);
        assert!(decoder.is_late());
        assert!(matches!(stalled(), Some(MediaError::DecodeStalled { .. })));
        drop(inside);
        assert!(stalled().is_none());
    }
}
