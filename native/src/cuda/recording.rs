//! Who may call the driver while a graph is recorded.
//!
//! ONNX Runtime records with `cudaStreamCaptureModeGlobal`: from any thread of the process, calls that take or give back
//! memory, or that wait, fail meanwhile, and so does the recording (CUDA runtime API, "Stream management").

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

static RECORDING: RwLock<()> = RwLock::new(());

/// Held around such calls by every thread that does not record itself. Not to be asked for by who has it already.
pub fn beside_recordings() -> RwLockReadGuard<'static, ()> {
    RECORDING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no thread is inside such a call, and keeps all of them waiting while it is held.
pub(super) fn alone() -> RwLockWriteGuard<'static, ()> {
    RECORDING.write().unwrap_or_else(PoisonError::into_inner)
}
