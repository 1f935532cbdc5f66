//! The only crate with `unsafe`: FFmpeg behind owned types that cannot outlive what they rest on.
//!
//! ```text
//! Demuxer ─► Packet ─► Decoder ─► Frame ─► Picture (a borrowed view of its planes)
//!                                   └────► BgrConverter ─► bytes ─► Mp4Encoder
//! ```
//!
//! [`cuda`] has the GPU, and [`onnxruntime`] tells which version a build is. Beside these, [`process`] settles what the
//! libraries do behind the process's back, and ends it.
#![allow(unsafe_code)]

pub mod cuda;
pub mod ffmpeg;
mod loader;
pub mod onnxruntime;
pub mod picture;
pub mod process;
