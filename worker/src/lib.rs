//! The `framefleet` binary: finds and follows objects in video.
//!
//! ```text
//! cli ─► job ─► probe ─► segment ─► pipeline [ decode ► infer ► write ] ─► finish (track) ─► render ─► summarise
//!                                             └─ N threads, shared by all jobs
//! ```
//!
//! [`job`] has the steps of one job, each of which skips what an earlier process has done, and which the workers of a
//! [`fleet`] take one by one; [`pipeline`] is the only module that joins stages by threads and channels.

pub mod cli;
pub mod error;
pub mod interrupt;
pub mod device;
pub mod source;
pub mod probe;
pub mod segment;
pub mod decode;
pub mod infer;
pub mod write;
pub mod pipeline;
pub mod track;
pub mod finish;
pub mod render;
pub mod summarise;
pub mod job;
pub mod fleet;

pub mod progress;
pub mod watchdog;
mod metrics;
mod report;
mod stage_clock;
