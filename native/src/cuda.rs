//! NVIDIA GPUs, through a driver that is loaded when somebody asks for it. Nothing here is linked, so that the same program
//! runs where there is none.
//!
//! ```text
//! Libraries: what there is, loaded
//! Gpu (primary context) ─► stream ─► Kernels: pictures ─► a model's input; a head's outputs ─► survivors
//!   └─ NVDEC, through FFmpeg ─► DevicePicture (NV12, P010: stays on the GPU)
//! ```

mod error;
pub mod libraries;
mod gpu;
pub mod nvdec;
mod picture;

pub use error::{CudaError, is_sticky};
pub use gpu::{Gpu, Memory};
pub use libraries::Libraries;
pub use picture::{DevicePicture, SemiPlanar};
