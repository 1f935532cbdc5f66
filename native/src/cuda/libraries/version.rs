use super::Component;
use libloading::os::unix::Library;
use std::ffi::{c_int, c_uint};
use std::fmt;

/// Of a library. Where one has no third number, that is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

impl Version {
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// That of CUDA's driver and runtime: 13020 is 13.2.
    fn of_cuda(number: u32) -> Self {
        Self::new(number / 1000, number % 1000 / 10, 0)
    }

    /// That of `cuBLASLt`, cuDNN and `TensorRT`: 92001 is 9.20.1.
    fn of_hundreds(number: u32) -> Self {
        Self::new(number / 10_000, number / 100 % 100, number % 100)
    }

    /// That of cuRAND: 10401 is 10.4.1.
    fn of_curand(number: u32) -> Self {
        Self::new(number / 1000, number / 100 % 10, number % 100)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, patch } = self;
        if *patch == 0 { write!(f, "{major}.{minor}") } else { write!(f, "{major}.{minor}.{patch}") }
    }
}

/// What the library of this component says about itself. None of these calls needs a GPU.
pub(super) fn of(component: Component, library: &Library) -> Option<Version> {
    let symbol = component.symbol()?.to_bytes_with_nul();
    match component {
        Component::Driver | Component::CudaRuntime => written(library, symbol).map(Version::of_cuda),
        Component::Curand => written(library, symbol).map(Version::of_curand),
        Component::CublasLt | Component::Cudnn => {
            // SAFETY: `size_t cublasLtGetVersion(void)` and `size_t cudnnGetVersion(void)`.
            let number = unsafe { library.get::<unsafe extern "C" fn() -> usize>(symbol).ok()?() };
            Some(Version::of_hundreds(number as u32))
        }
        Component::TensorRt => {
            // SAFETY: `int32_t getInferLibVersion(void) noexcept`.
            let number = unsafe { library.get::<unsafe extern "C" fn() -> i32>(symbol).ok()?() };
            Some(Version::of_hundreds(number as u32))
        }
        Component::Cublas => property(library, symbol),
        Component::Nvrtc => pair(library, symbol),
        Component::Nvdec | Component::OnnxRuntimeCuda => None,
    }
}

/// Asks a function that writes the number and returns a status, of which 0 is success.
fn written(library: &Library, symbol: &[u8]) -> Option<u32> {
    let mut number: c_int = 0;
    // SAFETY: `CUresult cuDriverGetVersion(int*)`, `cudaError_t cudaRuntimeGetVersion(int*)` and
    // `curandStatus_t curandGetVersion(int*)`.
    let status = unsafe { library.get::<unsafe extern "C" fn(*mut c_int) -> c_uint>(symbol).ok()?(&raw mut number) };
    (status == 0).then_some(number as u32)
}

fn property(library: &Library, symbol: &[u8]) -> Option<Version> {
    // SAFETY: `cublasStatus_t cublasGetProperty(libraryPropertyType, int*)`.
    let get = unsafe { library.get::<unsafe extern "C" fn(c_uint, *mut c_int) -> c_uint>(symbol) }.ok()?;
    // 0, 1 and 2 are `MAJOR_VERSION`, `MINOR_VERSION` and `PATCH_LEVEL` of library_types.h.
    let [major, minor, patch] = [0, 1, 2].map(|which| {
        let mut number: c_int = 0;
        // SAFETY: as above; it writes one number.
        let status = unsafe { get(which, &raw mut number) };
        (status == 0).then_some(number as u32)
    });
    Some(Version::new(major?, minor?, patch?))
}

fn pair(library: &Library, symbol: &[u8]) -> Option<Version> {
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: `nvrtcResult nvrtcVersion(int*, int*)`.
    let status = unsafe {
        let get = library.get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_uint>(symbol).ok()?;
        get(&raw mut major, &raw mut minor)
    };
    (status == 0).then(|| Version::new(major as u32, minor as u32, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_writes_its_version_in_one_number_of_its_own() {
        assert_eq!(Version::of_cuda(13020).to_string(), "13.2");
        assert_eq!(Version::of_cuda(12080).to_string(), "12.8");
        assert_eq!(Version::of_hundreds(92001).to_string(), "9.20.1");
        assert_eq!(Version::of_hundreds(130_100).to_string(), "13.1");
        assert_eq!(Version::of_curand(10401).to_string(), "10.4.1");
        assert!(Version::of_cuda(12090) < Version::new(13, 0, 0));
    }
}
