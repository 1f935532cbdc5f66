//! The model directory, and what a detector makes of a picture.
//!
//! ```text
//! models/                                         a decoded picture (planar YUV)
//!    │ Catalog: name -> file                           │
//!    ▼                                                 ▼
//! Model ── onnx header ─► recognise ─► Manifest ─► preprocess   one pass: letterbox or stretch, colour, scale
//!    │        model.toml ──┘                           │ f32, f16 or u8; NCHW, NHWC or CHW
//!    └─ bytes ─────────────────────────────────────► session    ONNX Runtime, one thread
//!                                                      │ the head's tensor
//!                                                    heads      rows above the confidence
//!                                                      │ candidates, pixels of the model's input
//!                                                     nms
//!                                                      │ Letterbox::source_from_model
//!                                                      ▼
//!                                                  Detection    pixels of the picture as displayed
//! ```
//!
//! Nothing here guesses: a model whose outputs are not known for certain is refused with what was seen
//! ([`ModelError::Unrecognised`]). All of it is safe code, and no bytes of a file make it panic.

mod catalog;
pub mod check;
pub mod compare;
pub mod directory;
mod error;
#[cfg(test)]
mod fixtures;
pub mod heads;
mod known_picture;
mod layout;
pub mod letterbox;
pub mod manifest;
pub mod metrics;
mod model;
pub mod nms;
pub mod model_toml;
mod onnx;
pub mod pins;
pub mod preprocess;
mod recognise;
mod recorded_frames;
mod runtime;
mod serving;
mod session;
pub mod store;
mod version;

pub use catalog::Catalog;
pub use directory::{Follow, ModelDirectory, ModelStatus};
pub use error::ModelError;
pub use manifest::Manifest;
pub use model::{Model, recognise_bytes};
pub use recorded_frames::{OwnedPicture, RecordedFrames};
pub use runtime::Runtime;
pub use serving::{Lease, Serving};
pub use session::{Detector, StageTimes, Thresholds};
