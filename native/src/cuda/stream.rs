use super::{error::CudaError, gpu::Gpu, kernels::Kernels};
use cudarc::driver::{CudaEvent, CudaStream, result, sys};
use std::sync::Arc;
use sys::CUevent_flags;

/// What the GPU is asked for in turn: a stream, and the kernels that run on it. Every copy of it is the same stream.
#[derive(Debug, Clone)]
pub struct Stream {
    pub(super) gpu: Arc<Gpu>,
    pub(super) raw: Arc<CudaStream>,
    pub(super) kernels: Arc<Kernels>,
}

impl Stream {
    pub fn new(gpu: &Arc<Gpu>, kernels: &Arc<Kernels>) -> Result<Self, CudaError> {
        Ok(Self { gpu: Arc::clone(gpu), raw: gpu.stream()?, kernels: Arc::clone(kernels) })
    }

    /// Ends a recording that failed, so that what is asked for next is done and not recorded.
    pub(super) fn end_recording(&self) -> Result<(), CudaError> {
        let failed = CudaError::of("end the recording of a graph");
        self.gpu.context().bind_to_thread().map_err(&failed)?;
        // SAFETY: the stream is live, and its context is this thread's.
        let status = unsafe { result::stream::is_capturing(self.raw.cu_stream()) }.map_err(&failed)?;
        if status == sys::CUstreamCaptureStatus::CU_STREAM_CAPTURE_STATUS_NONE {
            return Ok(());
        }
        // SAFETY: as above, and it is recording. Of a recording that failed there is no graph, which the error says.
        if let Ok(graph) = unsafe { result::stream::end_capture(self.raw.cu_stream()) }
            && !graph.is_null()
        {
            // SAFETY: it was given just now, and nobody else has it.
            unsafe { result::graph::destroy(graph) }.map_err(&failed)?;
        }
        Ok(())
    }

    /// One that tells the time, and lets whoever waits for it sleep.
    pub(super) fn event(&self) -> Result<CudaEvent, CudaError> {
        let flags = CUevent_flags::CU_EVENT_BLOCKING_SYNC;
        self.gpu.context().new_event(Some(flags)).map_err(CudaError::of("make an event"))
    }
}
