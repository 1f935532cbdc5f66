//! NVIDIA GPUs, through a driver that is loaded when somebody asks for it. Nothing here is linked, so that the same program
//! runs where there is none.
//!
//! ```text
//! Gpu (primary context) ─► stream ─► Kernels: pictures ─► a model's input; a head's outputs ─► survivors
//!   └─ NVDEC, through FFmpeg ─► DevicePicture (NV12, P010: stays on the GPU)
//! ```

mod error;
mod gpu;
mod picture;

pub use error::{CudaError, is_sticky};
pub use gpu::{Gpu, Memory};
pub(crate) use picture::Surface;
pub use picture::{DevicePicture, SemiPlanar};
