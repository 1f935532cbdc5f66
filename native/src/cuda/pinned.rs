use super::error::CudaError;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result};
use std::sync::Arc;

/// Host memory that stays where it is, so that the GPU copies to and from it by itself while threads go on.
#[derive(Debug)]
pub(super) struct Pinned {
    memory: *mut u8,
    bytes: usize,
    context: Arc<CudaContext>,
}

// SAFETY: the memory is this value's alone, and may be freed by any thread that has the context, which `drop` binds.
unsafe impl Send for Pinned {}

impl Pinned {
    /// Zeroes.
    pub fn new(context: &Arc<CudaContext>, bytes: usize) -> Result<Self, CudaError> {
        let failed = CudaError::of("pin memory of the host");
        context.bind_to_thread().map_err(&failed)?;
        // SAFETY: the context is bound. Flags of 0 are those of memory that is also read by the host.
        let memory = unsafe { result::malloc_host(bytes.max(1), 0) }.map_err(&failed)?.cast::<u8>();
        // SAFETY: so many bytes were given a line above.
        unsafe { memory.write_bytes(0, bytes) };
        Ok(Self { memory, bytes, context: Arc::clone(context) })
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: they were zeroed, and nobody else has them: copies are asked for through `&mut self`, and whoever does
        // waits for them before he looks.
        unsafe { std::slice::from_raw_parts(self.memory, self.bytes) }
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.memory, self.bytes) }
    }

    /// Copies the first bytes to the device, as soon as the stream comes to it.
    ///
    /// # Safety
    /// Until then, nobody writes to these bytes, and `to` is where there is room for them.
    pub unsafe fn upload(&self, bytes: usize, to: u64, stream: &CudaStream) -> Result<(), DriverError> {
        self.context.bind_to_thread()?;
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_htod_async(to, &self.bytes()[..bytes], stream.cu_stream()) }
    }

    /// Copies from the device to the first bytes, as soon as the stream comes to it.
    ///
    /// # Safety
    /// Until then, nobody looks at these bytes, and `from` is where as many are.
    pub unsafe fn download(&mut self, bytes: usize, from: u64, stream: &CudaStream) -> Result<(), DriverError> {
        self.context.bind_to_thread()?;
        // SAFETY: the caller's promise.
        unsafe { result::memcpy_dtoh_async(&mut self.bytes_mut()[..bytes], from, stream.cu_stream()) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // An error is one that the next call meets too.
        let _bound = self.context.bind_to_thread();
        // SAFETY: it came from `malloc_host` and is freed once.
        let _freed = unsafe { result::free_host(self.memory.cast()) };
    }
}
