//! The model directory, and what a detector makes of a picture.
//!
//! ```text
//! models/                                         a decoded picture (planar YUV)
//!    │ Catalog: name -> file                           │
//!    ▼                                                 ▼
//! Model ── onnx header ─► recognise ─► Manifest ─► preprocess   one pass: letterbox, colour, scale
//!    │                                                 │ [B,3,H,W] f32
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
mod error;
pub mod heads;
pub mod letterbox;
pub mod manifest;
mod model;
pub mod nms;
mod onnx;
pub mod preprocess;
mod recognise;
mod runtime;
mod session;
mod version;

pub use catalog::Catalog;
pub use error::ModelError;
pub use manifest::Manifest;
pub use model::Model;
pub use runtime::Runtime;
pub use session::{Detector, StageTimes, Thresholds};
