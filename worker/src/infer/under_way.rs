//! What the inference threads are doing, for a watchdog that notices a model which does not come back.

use crate::error::JobError;
use framefleet_models::Serving;
use framefleet_native::cuda::CudaError;
use framefleet_native::ffmpeg::pulse;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The marks of all threads of a pool. Its clock is the watchdog's, as that of [`pulse`].
#[derive(Debug, Clone, Default)]
pub struct UnderWay(Arc<[Mark]>);

/// A frame takes a large model on a slow core some seconds, and the limit for reading and decoding, which is about disks
/// and decoders, may be far below that.
const LEAST_LIMIT_S: f64 = 60.0;

/// Of one thread.
#[derive(Debug, Default)]
pub(super) struct Mark {
    /// [`pulse::now_ms`] when the model was called, or [`IDLE`].
    since_ms: AtomicU64,
    model: Mutex<Option<Arc<Serving>>>,
    /// The device that the thread works with does not answer any more, and why.
    lost: OnceLock<CudaError>,
}

const IDLE: u64 = 0;

/// While it lives, its thread is inside a model.
pub(super) struct Inside<'a>(&'a Mark);

impl UnderWay {
    pub(super) fn of(threads: usize) -> Self {
        Self((0..threads).map(|_| Mark::default()).collect())
    }

    pub(super) fn first(&self) -> Option<&Mark> {
        self.0.first()
    }

    pub(super) fn mark(&self, thread: usize) -> &Mark {
        &self.0[thread]
    }

    /// Why a device does not answer this process any more, if that is so.
    pub fn lost(&self) -> Option<JobError> {
        self.0.iter().find_map(|mark| mark.lost.get().cloned()).map(|error| JobError::Model(error.into()))
    }

    /// The first frame that has been inside its model for longer than it may: `stall_s` seconds, or a minute where that is
    /// more.
    pub fn stalled(&self, stall_s: f64) -> Option<JobError> {
        self.lasting_longer_than(limit_s(stall_s))
    }

    fn lasting_longer_than(&self, seconds: f64) -> Option<JobError> {
        let limit_ms = (seconds * 1000.0) as u64;
        let stuck = self.0.iter().find(|mark| mark.lasted_ms() > limit_ms)?;
        let model = stuck.model().as_ref().map(|serving| serving.checked().model.name.clone())?;
        Some(JobError::InferenceStalled { model, seconds })
    }
}

fn limit_s(stall_s: f64) -> f64 {
    stall_s.max(LEAST_LIMIT_S)
}

impl Mark {
    /// Asks for the end of the process.
    pub fn lose(&self, error: CudaError) {
        // The first error is the cause of all that follow.
        let _ = self.lost.set(error);
    }

    pub fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }

    pub fn enter(&self, serving: &Arc<Serving>) -> Inside<'_> {
        *self.model() = Some(Arc::clone(serving));
        self.since_ms.store(pulse::now_ms(), Ordering::Relaxed);
        Inside(self)
    }

    fn lasted_ms(&self) -> u64 {
        match self.since_ms.load(Ordering::Relaxed) {
            IDLE => 0,
            since => pulse::now_ms().saturating_sub(since),
        }
    }

    fn model(&self) -> MutexGuard<'_, Option<Arc<Serving>>> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.since_ms.store(IDLE, Ordering::Relaxed);
        *self.0.model() = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_a_minute_at_least() {
        assert!((limit_s(0.05) - 60.0).abs() < 1e-9);
        assert!((limit_s(90.0) - 90.0).abs() < 1e-9);
    }
}
