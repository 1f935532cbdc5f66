use super::super::{error::CudaError, pinned::Pinned, stream::Stream};
use cudarc::driver::{CudaSlice, DevicePtr};

/// Memory on the device, and on the host as much that is copied there or from there.
#[derive(Debug)]
pub struct Transfer {
    pub host: Pinned,
    device: CudaSlice<u8>,
}

impl Transfer {
    pub fn new(stream: &Stream, bytes: usize) -> Result<Self, CudaError> {
        let failed = CudaError::of("make room for pictures");
        let device = stream.raw.alloc_zeros(bytes.max(1)).map_err(&failed)?;
        Ok(Self { host: Pinned::new(stream.gpu.context(), bytes)?, device })
    }

    /// Nothing of it may be in use. It never shrinks.
    pub fn make_room(&mut self, stream: &Stream, bytes: usize) -> Result<(), CudaError> {
        if self.host.bytes().len() < bytes {
            *self = Self::new(stream, bytes)?;
        }
        Ok(())
    }

    pub fn address(&self, stream: &Stream) -> u64 {
        self.device.device_ptr(&stream.raw).0
    }

    /// The first bytes.
    pub fn upload(&self, stream: &Stream, bytes: usize) -> Result<(), CudaError> {
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both are of one size; the host's are written again only when the batch is finished.
        unsafe { self.host.upload(bytes, self.address(stream), &stream.raw) }
            .map_err(CudaError::of("copy pictures to the GPU"))
    }
}
