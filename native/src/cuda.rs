//! NVIDIA GPUs, through a driver that is loaded when somebody asks for it. Nothing here is linked, so that the same program
//! runs where there is none.
//!
//! ```text
//! Libraries: what there is, loaded
//! Gpu (primary context) ─► Stream (a stream, and the kernels on it) ─► GpuModel (ONNX Runtime on the same stream) ─► Batch
//!   └─ NVDEC, through FFmpeg ─► DevicePicture (NV12, P010: stays on the GPU) ────────────────────────────────────────┘
//! ```

mod error;
pub mod libraries;
mod gpu;
mod compile;
mod kernels;
mod recording;
mod stream;
mod pinned;
mod stacked;
pub mod nvdec;
mod picture;
mod model;
mod batch;
mod trial;

pub use batch::{Batch, BatchPicture, BatchShape, DeviceTimes, Finished, OutputBytes, OutputShape, PictureMemory};
pub use compile::{Program, cache_folder, compile};
pub use error::{CudaError, is_sticky};
pub use gpu::{Gpu, Memory};
pub use kernels::{
    ChannelParameters, DeviceRange, Element, HeadParameters, InputLayout, InputParameters, Kernels, PictureParameters,
    Plain, Survivor, Values,
};
pub use libraries::Libraries;
pub use model::{GpuModel, GpuModelError, ModelBytes, Provider};
pub(crate) use picture::Surface;
pub use picture::{DevicePicture, SemiPlanar};
pub use recording::beside_recordings;
pub use stacked::{ShortPlane, StackedPlane, StackedPlanes};
pub use stream::Stream;
pub use trial::try_out;
