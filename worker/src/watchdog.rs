//! Notices a call into FFmpeg or into a model that does not come back, and a device that is lost. Nothing inside the
//! process can end such a call, or reach such a device.

use crate::error::JobError;
use crate::infer::UnderWay;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use framefleet_native::ffmpeg::pulse;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// Looks as long as it lives.
#[derive(Debug)]
pub struct Watchdog {
    /// Dropped, it ends the thread.
    _alive: Sender<()>,
    looked: LastLook,
}

/// When a watchdog looked last.
#[derive(Debug, Clone)]
pub struct LastLook(Arc<Mutex<Instant>>);

impl LastLook {
    pub fn elapsed(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn is_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Between two looks: a twentieth of the limit, in these bounds.
const SHORTEST_PERIOD: Duration = Duration::from_millis(5);
const LONGEST_PERIOD: Duration = Duration::from_millis(250);

impl Watchdog {
    /// Calls `end` when a device is lost, or when a call has lasted longer than its limit, of which `stall_s` is the shortest, in seconds. One at a
    /// time: each lets time pass for all.
    pub fn start(stall_s: f64, inference: UnderWay, end: impl FnOnce(JobError) + Send + 'static) -> Self {
        let period = Duration::try_from_secs_f64(stall_s / 20.0).unwrap_or(LONGEST_PERIOD);
        let period = period.clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
        let (alive, dropped) = bounded::<()>(0);
        let looked = LastLook(Arc::new(Mutex::new(Instant::now())));
        let looks = looked.clone();
        let look = move || {
            let mut before = Instant::now();
            while dropped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                // Between two looks that are far apart the whole process stood still, which is nobody's stall.
                pulse::advance(before.elapsed().min(2 * period).as_millis() as u64);
                before = Instant::now();
                looks.is_now();
                let stall = pulse::stalled().map(JobError::from).or_else(|| inference.stalled(stall_s));
                if let Some(error) = inference.lost().or(stall) {
                    return end(error);
                }
            }
        };
        if let Err(e) = Builder::new().name("watchdog".to_owned()).spawn(look) {
            tracing::warn!("no thread for a watchdog ({e}): what hangs will not be noticed");
        }
        Self { _alive: alive, looked }
    }

    pub fn looked(&self) -> LastLook {
        self.looked.clone()
    }
}
