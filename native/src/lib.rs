//! The only crate with `unsafe`: FFmpeg behind owned types that cannot outlive what they rest on.
//!
//! ```text
//! Demuxer ─► Packet ─► Decoder ─► Frame ─► Picture (a borrowed view of its planes)
//!                                   └────► BgrConverter ─► bytes ─► Mp4Encoder
//! ```
//!
//! [`cuda`] has the GPU, [`onnxruntime`] what a build of it says. Beside these, [`process`] settles what the libraries do behind the process's back, and ends it.
#![allow(unsafe_code)]

pub mod cuda;
pub mod ffmpeg;
pub mod onnxruntime;
pub mod picture;
pub mod process;
