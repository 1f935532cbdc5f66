//! A rate at full swing: from when a fifth of all frames is through until four fifths are. Before that sources and their
//! decoders are still being opened, and behind it some have ended.

use crate::Failure;
use crate::card::Card;
use crate::monitor::{self, Reading};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What was seen in the middle of a measurement.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    pub frames_per_second: f64,
    /// Of all of this process's threads.
    pub processor_s_per_frame: f64,
    pub card: Reading,
    /// As the card itself counts what it receives.
    pub received_bytes_per_frame: Option<f64>,
}

/// Where NVML is not there to take some time.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    frames: u64,
    processor_s: f64,
}

/// Does `work` beside watching how `frames` grows to `total`.
pub fn over<T: Send>(
    card: &Card,
    total: u64,
    frames: &(dyn Fn() -> u64 + Sync),
    work: impl FnOnce() -> Result<T, Failure> + Send,
) -> Result<(T, Window), Failure> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let working = scope.spawn(|| {
            let done = work();
            is_over.store(true, Ordering::Relaxed);
            done
        });
        let seen = watch(card, total, frames, &is_over);
        let done = working.join().map_err(|_| "a measurement panicked")??;
        Ok((done, seen.ok_or("it was over before it had begun: longer clips are needed")?))
    })
}

fn watch(card: &Card, total: u64, frames: &dyn Fn() -> u64, is_over: &AtomicBool) -> Option<Window> {
    let nvml = card.nvml();
    let moment = || Moment { at: Instant::now(), frames: frames(), processor_s: monitor::processor_s() };
    let wait_for = |least: u64, readings: &mut Vec<Reading>| {
        while frames() < least && !is_over.load(Ordering::Relaxed) {
            match &nvml {
                Some(device) => readings.push(monitor::read(device)),
                None => thread::sleep(LOOK),
            }
        }
        moment()
    };
    let mut readings = Vec::new();
    let from = wait_for(total / 5, &mut readings);
    // Those of the beginning.
    readings.clear();
    let to = wait_for(4 * total / 5, &mut readings);
    let (taken, seconds) = (to.frames.checked_sub(from.frames)? as f64, (to.at - from.at).as_secs_f64());
    let card = monitor::mean(&readings);
    (taken > 0.0 && seconds > 0.0).then(|| Window {
        frames_per_second: taken / seconds,
        processor_s_per_frame: (to.processor_s - from.processor_s) / taken,
        card,
        received_bytes_per_frame: card.received_bytes_per_s.map(|bytes| bytes * seconds / taken),
    })
}
