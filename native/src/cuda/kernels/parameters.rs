//! What the kernels' parameters have in common.

use cudarc::driver::DeviceRepr;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Element {
    F32 = 0,
    F16 = 1,
    U8 = 2,
}

impl Element {
    pub fn bytes(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }
}

/// Memory on a device that is somebody's while a kernel runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRange {
    /// Of the first byte.
    pub address: u64,
    pub bytes: u64,
}

/// A struct that a kernel reads or writes as it lies in memory.
///
/// # Safety
/// It is `#[repr(C)]` and has no padding.
pub unsafe trait Plain: DeviceRepr + Copy {
    /// As they are to be copied to the device.
    fn bytes_of(values: &[Self]) -> &[u8] {
        // SAFETY: without padding every byte is initialised, and bytes have no alignment.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
    }
}
