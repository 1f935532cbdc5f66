//! Hostile bytes for the two places that parse files which others made.
//!
//! ```text
//! clips (ffmpeg) ─► mutate ─► child: look at each as the worker does ◄─ watch: limits, findings
//! ```
//!
//! FFmpeg's libraries are not built for coverage, so the demux-decode path gets many mutants of many kinds of clip, each
//! looked at in a child process that may crash, hang or eat memory. The Parquet reader is ours and its library's, in
//! Rust: it is fuzzed by libFuzzer with coverage (`bin/segments.rs`).

pub mod random;
pub mod clips;
pub mod mutate;
pub mod look;
pub mod memory;
pub mod child;
pub mod watch;
