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
//! The directory itself, and what keeps a model from doing harm:
//!
//! ```text
//! layout ─► directory: waiting ─► checking ─► ready | refused ─► retired          Serving ─► Lease: a session
//!                                  │ check: a child without rights ─► Report        ▲
//!                                  └────────────────────────────────────────────────┘
//! pins, store (what jobs were planned with), compare (old against new, on recorded frames): <results>/models/
//! ```
//!
//! Nothing here guesses: a model whose outputs are not known for certain is refused with what was seen
//! ([`ModelError::Unrecognised`]). All of it is safe code, and no bytes of a file make it panic.

// From files to a model.
mod version;
mod layout;
mod catalog;
mod onnx;
mod model_toml;
mod recognise;
pub mod manifest;
mod model;
// From a picture to detections.
mod runtime;
pub mod letterbox;
pub mod preprocess;
mod session;
pub mod heads;
pub mod nms;
mod select;
pub mod device;
pub mod cuda;
// The directory, and what becomes of what is dropped into it.
mod known_picture;
pub mod check;
pub mod directory;
pub mod pins;
mod serving;
mod recorded_frames;
mod compare;
pub mod store;
pub mod metrics;
mod error;
#[cfg(test)]
mod fixtures;

pub use catalog::Catalog;
pub use directory::{Follow, ModelDirectory, ModelStatus};
pub use error::ModelError;
pub use manifest::Manifest;
pub use model::{Model, recognise_bytes};
pub use recorded_frames::{OwnedPicture, RecordedFrames};
pub use runtime::{Installed, Runtime};
pub use serving::{Lease, Serving};
pub use session::{Detector, StageTimes, Thresholds};
