use super::super::kernels::Survivor;
use super::super::{error::CudaError, pinned::Pinned, stream::Stream};
use cudarc::driver::{CudaSlice, DevicePtr, result};

/// Room for what a head found, on the device, and for the first of it on the host.
#[derive(Debug)]
pub struct SurvivorList {
    pub capacity: usize,
    pub list: CudaSlice<Survivor>,
    /// How many there are, on the device.
    pub count: CudaSlice<u32>,
    /// The count, then the first of the list.
    host: Pinned,
    pub found: Vec<Survivor>,
}

/// Those that are copied back with the count, without knowing how many there are. The rest, if any, comes later.
const FIRST_SURVIVORS: usize = 4096;
/// Of the count, in front of the survivors.
const COUNT_BYTES: usize = size_of::<u32>();
impl SurvivorList {
    pub fn new(stream: &Stream, capacity: usize) -> Result<Self, CudaError> {
        let failed = CudaError::of("make room for survivors");
        let host =
            Pinned::new(stream.gpu.context(), COUNT_BYTES + FIRST_SURVIVORS.min(capacity) * size_of::<Survivor>())?;
        Ok(Self {
            capacity,
            list: stream.raw.alloc_zeros(capacity).map_err(&failed)?,
            count: stream.raw.alloc_zeros(1).map_err(&failed)?,
            host,
            found: Vec::new(),
        })
    }

    pub fn ask_for_first(&mut self, stream: &Stream) -> Result<(), CudaError> {
        let failed = CudaError::of("copy survivors");
        let (count, list) = (self.count.device_ptr(&stream.raw).0, self.list.device_ptr(&stream.raw).0);
        let (stream, host) = (stream.raw.cu_stream(), self.host.bytes_mut());
        let (count_bytes, list_bytes) = host.split_at_mut(COUNT_BYTES);
        // SAFETY: the list has at least as many bytes as there is room for here; nobody looks before the batch is finished.
        unsafe {
            result::memcpy_dtoh_async(count_bytes, count, stream).map_err(&failed)?;
            result::memcpy_dtoh_async(list_bytes, list, stream).map_err(&failed)
        }
    }

    /// `false` where there were more than there is room for.
    pub fn collect(&mut self, stream: &Stream) -> Result<bool, CudaError> {
        self.found.clear();
        let (count, first) = self.host.bytes().split_at(COUNT_BYTES);
        let count = count.try_into().map_or(0, u32::from_ne_bytes) as usize;
        if count > self.capacity {
            return Ok(false);
        }
        let here = first.len() / size_of::<Survivor>();
        self.found.extend(first.chunks_exact(size_of::<Survivor>()).take(count).map(survivor));
        if count > here {
            let failed = CudaError::of("copy survivors");
            let rest = stream.raw.clone_dtoh(&self.list.slice(here..count)).map_err(&failed)?;
            stream.raw.synchronize().map_err(&failed)?;
            self.found.extend(rest);
        }
        Ok(true)
    }
}

fn survivor(bytes: &[u8]) -> Survivor {
    assert_eq!(bytes.len(), size_of::<Survivor>());
    // SAFETY: there are as many bytes as it has, and all of its fields are numbers.
    unsafe { bytes.as_ptr().cast::<Survivor>().read_unaligned() }
}
