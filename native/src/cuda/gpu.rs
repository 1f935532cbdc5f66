use super::error::{CudaError, described};
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};
use libloading::Library;
use std::ffi::CStr;
use std::sync::Arc;

/// One GPU and this process's primary context on it, which ONNX Runtime uses too.
#[derive(Debug)]
pub struct Gpu {
    context: Arc<CudaContext>,
    ordinal: usize,
    name: String,
    /// Major and minor: (9, 0) is `sm_90`.
    compute_capability: (u32, u32),
}

/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub free: usize,
    pub total: usize,
}

impl Gpu {
    /// Whether there is a driver, with the calls that come before its version is known: asked for before any other call,
    /// since the binding ends the process where one is missing.
    pub fn has_driver() -> bool {
        // SAFETY: loads the driver's library, as the binding does.
        let Ok(driver) = (unsafe { Library::new(DRIVER) }) else { return false };
        // SAFETY: nothing is called through what is found.
        FIRST_CALLS.iter().all(|call| unsafe { driver.get::<*const ()>(call.to_bytes_with_nul()) }.is_ok())
    }

    /// How many GPUs the driver shows to this process.
    ///
    /// # Errors
    /// [`CudaError::Missing`] without a driver, and with one that does not start.
    pub fn count() -> Result<usize, CudaError> {
        driver()?;
        match CudaContext::device_count() {
            Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
            Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => Ok(0),
            Err(error) => Err(CudaError::Missing {
                what: "the NVIDIA driver does not start".to_owned(),
                reason: described(error),
                remedy: "`nvidia-smi` says more; after an update of the driver the machine must be started again"
                    .to_owned(),
            }),
        }
    }

    /// Takes up `cuda:ordinal`.
    ///
    /// # Errors
    /// [`CudaError::Missing`] without a driver, [`CudaError::NoSuchDevice`] without such a GPU.
    pub fn open(ordinal: usize) -> Result<Arc<Self>, CudaError> {
        let count = Self::count()?;
        let version = driver_version()?;
        if version < OLDEST_DRIVER {
            let reason = format!("it has CUDA {}.{}", version / 1000, version % 1000 / 10);
            return Err(CudaError::Missing {
                what: "the NVIDIA driver is too old".to_owned(),
                reason,
                remedy: CudaError::INSTALL_DRIVER.to_owned(),
            });
        }
        if ordinal >= count {
            let found = format!("{count} GPU{} can be seen", if count == 1 { "" } else { "s" });
            return Err(CudaError::NoSuchDevice { ordinal, found });
        }
        let failed = |error: DriverError| CudaError::Missing {
            what: format!("cuda:{ordinal} cannot be taken up"),
            reason: described(error),
            remedy: "`nvidia-smi` says more; another process may have it, or the machine must be started again"
                .to_owned(),
        };
        let context = CudaContext::new(ordinal).map_err(&failed)?;
        // SAFETY: from here on nobody relies on cudarc's own events between streams: whoever uses memory on another stream
        // waits for it first, as `DevicePicture` and the sessions say.
        unsafe { context.disable_event_tracking() };
        // A thread that waits sleeps: there is one for each source.
        context.set_blocking_synchronize().map_err(&failed)?;
        let name = context.name().map_err(&failed)?;
        let (major, minor) = context.compute_capability().map_err(&failed)?;
        if (major, minor) < OLDEST_GPU {
            return Err(CudaError::Missing {
                what: format!("cuda:{ordinal} ({name}) is too old"),
                reason: format!(
                    "its compute capability is {major}.{minor}, and CUDA 13 begins with {}.{}",
                    OLDEST_GPU.0, OLDEST_GPU.1
                ),
                remedy: "take a GPU of the Turing generation (a T4) or later".to_owned(),
            });
        }
        Ok(Arc::new(Self { context, ordinal, name, compute_capability: (major as u32, minor as u32) }))
    }

    pub fn ordinal(&self) -> usize {
        self.ordinal
    }

    /// As the driver calls it, such as `NVIDIA H200`.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn compute_capability(&self) -> (u32, u32) {
        self.compute_capability
    }

    /// Of CUDA, as the driver knows it: 13000 is 13.0.
    pub fn driver_version(&self) -> Result<i32, CudaError> {
        driver_version()
    }

    /// As NVIDIA's other programs write it: `GPU-` and a UUID. None where the driver does not tell.
    pub fn uuid(&self) -> Option<String> {
        let bytes = self.context.uuid().ok()?.bytes.map(|byte| byte as u8);
        let hex = format!("{:032x}", u128::from_be_bytes(bytes));
        let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Some(format!("GPU-{}", groups.join("-")))
    }

    pub fn memory(&self) -> Result<Memory, CudaError> {
        let (free, total) = self.context.mem_get_info().map_err(CudaError::of("ask for the memory that is free"))?;
        Ok(Memory { free, total })
    }

    /// A stream of its own, that waits for no other.
    pub(crate) fn stream(&self) -> Result<Arc<CudaStream>, CudaError> {
        self.context.new_stream().map_err(CudaError::of("make a stream"))
    }

    /// Lets the driver keep so many bytes of memory that was given back, for whoever asks next. Otherwise it gives all of it
    /// to the system whenever somebody waits for the GPU, which is after each picture.
    pub(crate) fn keep_freed(&self, bytes: u64) -> Result<(), CudaError> {
        let failed = CudaError::of("set up the memory of pictures");
        let pools = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED;
        if self.context.attribute(pools).map_err(&failed)? == 0 {
            return Ok(());
        }
        let mut bytes = bytes;
        let threshold = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        // SAFETY: the device is of a live context, and its pool is the driver's own; the attribute is a number of 64 bits,
        // which is read.
        unsafe {
            let pool = result::device::get_default_mem_pool(self.context.cu_device()).map_err(&failed)?;
            sys::cuMemPoolSetAttribute(pool, threshold, (&raw mut bytes).cast()).result().map_err(&failed)
        }
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    /// Waits until everything that was asked of the GPU is done, and gives the error that its context is in, if any: other
    /// libraries tell of their errors in words.
    pub fn check(&self, action: &'static str) -> Result<(), CudaError> {
        self.context.synchronize().map_err(CudaError::of(action))
    }
}

fn driver() -> Result<(), CudaError> {
    if Gpu::has_driver() { Ok(()) } else { Err(CudaError::no_driver("libcuda.so.1 cannot be loaded".to_owned())) }
}

fn driver_version() -> Result<i32, CudaError> {
    let mut version = 0;
    // SAFETY: a number is written to where one is.
    let asked = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    asked.result().map_err(CudaError::of("ask for the driver's version"))?;
    Ok(version)
}

const DRIVER: &str = "libcuda.so.1";
/// What is called before the driver's version is known, and to say what went wrong.
const FIRST_CALLS: [&CStr; 5] =
    [c"cuInit", c"cuDriverGetVersion", c"cuDeviceGetCount", c"cuGetErrorName", c"cuGetErrorString"];
/// Turing.
const OLDEST_GPU: (i32, i32) = (7, 5);
/// CUDA 13.0, of which all libraries are. The binding ends the process where a driver lacks a call of it.
const OLDEST_DRIVER: i32 = 13_000;
