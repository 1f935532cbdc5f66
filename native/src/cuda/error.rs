use cudarc::driver::DriverError;
use framefleet_contract::ErrorCode;

/// What can be wrong with a GPU, or with what it needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// A library that is not installed, or not where anybody looks; or one of another version.
    #[error("{what} ({reason}); {remedy}")]
    Missing { what: String, reason: String, remedy: String },
    #[error("there is no cuda:{ordinal}: {found}; `framefleet devices` lists what there is")]
    NoSuchDevice { ordinal: usize, found: String },
    #[error(
        "the GPU's memory does not suffice to {action}; see with `nvidia-smi` who else uses it, or take a smaller model"
    )]
    OutOfMemory { action: &'static str },
    /// An error after which no call of this process reaches the GPU any more.
    #[error(
        "the GPU was lost ({reason}, while trying to {action}); the process must be started again, and if it happens again the node should be drained: `dmesg | grep -i xid` says why"
    )]
    Lost { action: &'static str, reason: String },
    #[error("the GPU failed to {action}: {reason}")]
    Failed { action: &'static str, reason: String },
}

impl CudaError {
    /// Debian 12's own driver is of the branch 535, which has CUDA 12.2.
    pub(crate) const INSTALL_DRIVER: &str = "install NVIDIA's driver 580 or later (`apt-get install cuda-drivers libnvcuvid1` from NVIDIA's package repository; Debian 12's own is too old)";

    pub(crate) fn no_driver(reason: String) -> Self {
        let remedy = Self::INSTALL_DRIVER.to_owned();
        Self::Missing { what: "there is no NVIDIA driver".to_owned(), reason, remedy }
    }

    /// Says of a driver's error what was being tried.
    pub(crate) fn of(action: &'static str) -> impl Fn(DriverError) -> Self {
        move |error| Self::classify(action, error.0 as u32, described(error))
    }

    /// What an error of this number means (`CUresult`; the runtime's `cudaError_t` has the same numbers for these).
    pub fn classify(action: &'static str, number: u32, reason: String) -> Self {
        match number {
            OUT_OF_MEMORY => Self::OutOfMemory { action },
            number if is_sticky(number) => Self::Lost { action, reason },
            _ => Self::Failed { action, reason },
        }
    }

    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing { .. } | Self::NoSuchDevice { .. } => ErrorCode::DeviceUnavailable,
            Self::OutOfMemory { .. } => ErrorCode::DeviceMemory,
            Self::Lost { .. } => ErrorCode::DeviceLost,
            Self::Failed { .. } => ErrorCode::InferenceFailed,
        }
    }
}

const OUT_OF_MEMORY: u32 = 2;

/// Whether an error of this number leaves the context unusable: every call after it gives the same
/// (CUDA driver API, "Data types used by CUDA driver", `CUresult`).
pub fn is_sticky(number: u32) -> bool {
    // ECC, NVLink and contained errors of the hardware; then what a kernel did: an illegal address, a timeout, a device-side
    // assertion, a broken stack, an illegal instruction, a misaligned or foreign address, an invalid program counter, an
    // unspecified failure. 46 and 999 are said of devices that fell off the bus.
    matches!(number, 46 | 214 | 220 | 226 | 700 | 702 | 709 | 710 | 714..=719 | 721 | 999)
}

pub(super) fn described(DriverError(result): DriverError) -> String {
    let text = |text: Result<&std::ffi::CStr, DriverError>| text.ok().map(|text| text.to_string_lossy().into_owned());
    let error = DriverError(result);
    let words = text(error.error_string()).unwrap_or_else(|| "unknown".to_owned());
    format!("{words}, CUDA error {}", result as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(number: u32) -> ErrorCode {
        CudaError::classify("copy", number, "it said so".to_owned()).code()
    }

    #[test]
    fn only_what_breaks_the_context_ends_the_process() {
        for sticky in [700, 716, 718, 719, 214, 999] {
            assert_eq!(class(sticky), ErrorCode::DeviceLost, "{sticky}");
        }
        // Too many resources for a launch, not ready, invalid value, not supported.
        for passing in [701, 600, 1, 801] {
            assert_eq!(class(passing), ErrorCode::InferenceFailed, "{passing}");
        }
        assert_eq!(class(2), ErrorCode::DeviceMemory);
    }
}
