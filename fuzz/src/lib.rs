//! Hostile bytes for the places that parse files which others made.
//!
//! ```text
//! clips (ffmpeg) ─► mutate ─► child: look at each as the worker does ◄─ watch: limits, findings
//! ```
//!
//! FFmpeg's libraries are not built for coverage, so the demux-decode path gets many mutants of many kinds of clip, each
//! looked at in a child process that may crash, hang or eat memory. The readers of Parquet and of models are ours and
//! their libraries', in Rust: they are fuzzed by libFuzzer with coverage (`bin/segments.rs`, `bin/models.rs`).

pub mod random;
pub mod clips;
pub mod mutate;
pub mod look;
pub mod memory;
pub mod child;
pub mod watch;
pub mod model_input;
