use super::{error::CudaError, gpu::Gpu, kernels::Kernels};
use cudarc::driver::{CudaEvent, CudaStream, sys::CUevent_flags};
use std::sync::Arc;

/// What the GPU is asked for in turn: a stream, and the kernels that run on it. Every copy of it is the same stream.
#[derive(Debug, Clone)]
pub struct Queue {
    pub(super) gpu: Arc<Gpu>,
    pub(super) stream: Arc<CudaStream>,
    pub(super) kernels: Arc<Kernels>,
}

impl Queue {
    pub fn new(gpu: &Arc<Gpu>, kernels: &Arc<Kernels>) -> Result<Self, CudaError> {
        Ok(Self { gpu: Arc::clone(gpu), stream: gpu.stream()?, kernels: Arc::clone(kernels) })
    }

    /// One that tells the time, and lets whoever waits for it sleep.
    pub(super) fn event(&self) -> Result<CudaEvent, CudaError> {
        let flags = CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        self.gpu.context().new_event(Some(flags)).map_err(CudaError::of("make an event"))
    }
}
