use super::error::CudaError;
use crate::picture::{Display, Matrix, Range};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};
use std::sync::Arc;

/// How NVDEC lays a picture out: a plane of luma, and one of both chromas side by side, each half as wide and high.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SemiPlanar {
    /// Luma columns.
    pub width: usize,
    /// Luma rows.
    pub height: usize,
    /// Bytes from one row to the next, of both planes.
    pub pitch: usize,
    /// Bits of a sample: 8 (NV12: one byte each) or 9 to 16 (P010 and its kin: the high bits of two bytes, little endian).
    pub depth: u32,
    pub matrix: Matrix,
    pub range: Range,
    pub display: Display,
}

impl SemiPlanar {
    pub fn sample_bytes(&self) -> usize {
        if self.depth > 8 { 2 } else { 1 }
    }

    /// Where the plane of chroma begins, in bytes. It is `height.div_ceil(2)` rows of `2 * width.div_ceil(2)` samples.
    pub fn chroma_offset(&self) -> usize {
        self.pitch * self.height
    }

    /// Of both planes.
    pub fn bytes(&self) -> usize {
        self.pitch * (self.height + self.height.div_ceil(2))
    }
}

/// A decoded picture in the GPU's memory. It is whole: whoever made it waited until it was, so that any stream may read it.
#[derive(Debug)]
pub struct DevicePicture {
    memory: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    layout: SemiPlanar,
}

impl DevicePicture {
    pub(crate) fn new(memory: CudaSlice<u8>, stream: Arc<CudaStream>, layout: SemiPlanar) -> Self {
        Self { memory, stream, layout }
    }

    pub fn layout(&self) -> &SemiPlanar {
        &self.layout
    }

    /// Of the first byte, on the device.
    pub(crate) fn address(&self) -> u64 {
        self.memory.device_ptr(&self.stream).0
    }

    /// Both planes in host memory, as they lie.
    pub fn download(&self) -> Result<Vec<u8>, CudaError> {
        let failed = CudaError::of("copy a picture to the host");
        let bytes = self.stream.clone_dtoh(&self.memory).map_err(&failed)?;
        self.stream.synchronize().map_err(&failed)?;
        Ok(bytes)
    }
}
