use super::error::CudaError;
use super::recording::beside_recordings;
use crate::picture::{Display, Matrix, Range, Rotation};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, sys};
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

/// Where a row of our own begins, in bytes: what the GPU reads in one piece is never on both sides of it.
const PITCH_STEP: usize = 256;

impl SemiPlanar {
    /// With as little between the rows as is good for a GPU. Of BT.601 and limited range until it is told otherwise.
    pub(crate) fn packed(width: usize, height: usize, depth: u32) -> Self {
        let display = Display { width: width as u32, height: height as u32, rotation: Rotation::None };
        let (matrix, range) = (Matrix::Bt601, Range::Limited);
        let mut layout = Self { width, height, pitch: 0, depth, matrix, range, display };
        layout.pitch = layout.chroma_row_bytes().next_multiple_of(PITCH_STEP);
        layout
    }

    pub(crate) fn seen_as(self, matrix: Matrix, range: Range, display: Display) -> Self {
        Self { matrix, range, display, ..self }
    }

    /// Of the samples of one row of luma.
    pub fn luma_row_bytes(&self) -> usize {
        self.width * self.sample_bytes()
    }

    /// Of the samples of one row of both chromas, of which there are `height.div_ceil(2)`.
    pub fn chroma_row_bytes(&self) -> usize {
        2 * self.width.div_ceil(2) * self.sample_bytes()
    }

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
///
/// Its memory goes back to the driver's pool when it is dropped, in the order of the stream on which it was made, and the
/// next picture may be written there at once. So whoever reads it on another stream waits for that before dropping it.
#[derive(Debug)]
pub struct DevicePicture {
    memory: CudaSlice<u8>,
    stream: Arc<CudaStream>,
    layout: SemiPlanar,
}

/// Where somebody else's picture lies on the device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surface {
    /// Addresses of the first samples.
    pub luma: u64,
    pub chroma: u64,
    /// Bytes from one row to the next, of luma and of chroma.
    pub pitch: [usize; 2],
}

impl DevicePicture {
    /// A copy in memory of its own. It is there when this returns.
    ///
    /// # Safety
    /// Until this returns, the surface must hold both planes of a picture of the layout's size and depth, each row whole.
    /// Whatever writes it must have been given to the stream before, or be done.
    pub(crate) unsafe fn copy_of(
        stream: &Arc<CudaStream>,
        surface: &Surface,
        layout: SemiPlanar,
    ) -> Result<Self, CudaError> {
        let failed = CudaError::of("copy a decoded picture");
        // SAFETY: what lies between the rows is never read as samples, and all else is written below.
        let memory = unsafe { stream.alloc::<u8>(layout.bytes()) }.map_err(&failed)?;
        let picture = Self::new(memory, Arc::clone(stream), layout);
        let planes = [
            (surface.luma, 0, layout.luma_row_bytes(), layout.height),
            (surface.chroma, layout.chroma_offset(), layout.chroma_row_bytes(), layout.height.div_ceil(2)),
        ];
        for ((source, offset, row_bytes, rows), pitch) in planes.into_iter().zip(surface.pitch) {
            let copy = sys::CUDA_MEMCPY2D {
                srcXInBytes: 0,
                srcY: 0,
                srcMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
                srcHost: std::ptr::null(),
                srcDevice: source,
                srcArray: std::ptr::null_mut(),
                srcPitch: pitch,
                dstXInBytes: 0,
                dstY: 0,
                dstMemoryType: sys::CUmemorytype::CU_MEMORYTYPE_DEVICE,
                dstHost: std::ptr::null_mut(),
                dstDevice: picture.address() + offset as u64,
                dstArray: std::ptr::null_mut(),
                dstPitch: layout.pitch,
                WidthInBytes: row_bytes,
                Height: rows,
            };
            // SAFETY: the source is promised by the caller; the target's plane has `rows` rows of `pitch` bytes. Making the
            // memory has bound the context to this thread.
            unsafe { sys::cuMemcpy2DAsync_v2(&raw const copy, stream.cu_stream()) }.result().map_err(&failed)?;
        }
        stream.synchronize().map_err(&failed)?;
        Ok(picture)
    }

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
        let _beside = beside_recordings();
        let bytes = self.stream.clone_dtoh(&self.memory).map_err(&failed)?;
        self.stream.synchronize().map_err(&failed)?;
        Ok(bytes)
    }
}

impl Drop for DevicePicture {
    fn drop(&mut self) {
        // The memory is given back by calls that act on the thread's context, and this may be any thread. An error is one
        // that the next call meets too.
        let _bound = self.stream.context().bind_to_thread();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_layout_holds_both_planes_of_an_odd_picture() {
        let layout = SemiPlanar::packed(257, 3, 8);
        assert_eq!((layout.luma_row_bytes(), layout.chroma_row_bytes(), layout.pitch), (257, 258, 512));
        assert_eq!((layout.chroma_offset(), layout.bytes()), (3 * 512, 5 * 512));
        let deep = SemiPlanar::packed(256, 2, 10);
        assert_eq!((deep.luma_row_bytes(), deep.pitch, deep.bytes()), (512, 512, 3 * 512));
    }
}
