//! FFmpeg's handle of a GPU.

use super::super::MediaError;
use super::super::messages;
use crate::cuda::Gpu;
use cudarc::driver::CudaStream;
use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;
use std::ptr::NonNull;
use std::sync::Arc;

/// The GPU's primary context, and a stream of one decoder's own, as FFmpeg wants them.
///
/// Made for each decoder, since FFmpeg keeps the stream here, on which NVDEC writes its pictures. FFmpeg's own way to the
/// primary context fails where that has other flags than it would give it.
#[derive(Debug)]
pub(super) struct DeviceContext {
    buffer: NonNull<ffi::AVBufferRef>,
    /// Outlives `buffer`, and with it the context that it belongs to.
    stream: Arc<CudaStream>,
}

// SAFETY: FFmpeg counts references to the buffer atomically, and what is behind it may be used by any one thread at a time.
unsafe impl Send for DeviceContext {}

impl DeviceContext {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, MediaError> {
        let stream = gpu.stream()?;
        // SAFETY: makes a reference to a new context, or null.
        let buffer = unsafe { ffi::av_hwdevice_ctx_alloc(ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_CUDA) };
        let Some(buffer) = NonNull::new(buffer) else {
            let reason = "FFmpeg is built without CUDA".to_owned();
            return Err(MediaError::HardwareRefused { reason });
        };
        let made = Self { buffer, stream };
        messages::take();
        // SAFETY: a device context of the kind CUDA holds an `AVCUDADeviceContext`, to be filled before it is initialised.
        // The CUDA context and the stream are live, and stay so as long as `made.stream`.
        #[expect(clippy::cast_ptr_alignment, reason = "FFmpeg allocated the structure, and gives it as bytes")]
        let result = unsafe {
            let device = buffer.as_ref().data.cast::<ffi::AVHWDeviceContext>();
            let cuda = (*device).hwctx.cast::<ffi::AVCUDADeviceContext>();
            (*cuda).cuda_ctx = gpu.context().cu_ctx().cast();
            (*cuda).stream = made.stream.cu_stream().cast();
            ffi::av_hwdevice_ctx_init(buffer.as_ptr())
        };
        let said = messages::take_words();
        if result < 0 {
            let reason = format!("FFmpeg cannot use the GPU ({})", said.unwrap_or_else(|| result.to_string()));
            return Err(MediaError::HardwareRefused { reason });
        }
        Ok(made)
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Gives the decoder its own reference.
    pub(super) fn install(&self, context: &mut ffmpeg::codec::Context) {
        // SAFETY: the context is not open yet; it frees its reference when it is freed itself.
        unsafe { (*context.as_mut_ptr()).hw_device_ctx = ffi::av_buffer_ref(self.buffer.as_ptr()) };
    }
}

impl Drop for DeviceContext {
    fn drop(&mut self) {
        let mut buffer = self.buffer.as_ptr();
        // SAFETY: a reference of our own, given up once.
        unsafe { ffi::av_buffer_unref(&raw mut buffer) };
    }
}
