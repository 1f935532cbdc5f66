//! What every part of FrameFleet agrees on: the request for a job, its plan, the rows of its results, its outcome, the
//! codes of its errors, and how a file is published so that nothing is ever lost or overwritten.
//!
//! ```text
//! Request ─► Plan ─► segments/*.parquet ─► tracks.parquet ─► Summary ─► Outcome
//!                        all of it inside one JobFolder, put there by a Volume
//!
//! Submission ─► SegmentTask ─► Finish ─► Status, Outcome      messages of a fleet
//! ```

pub mod error_code;
pub mod identity;
pub mod tracker_settings;
pub mod source_url;
pub mod request;
pub mod plan;
pub mod packet_table;
pub mod detection;
pub mod detection_file;
pub mod summary;
pub mod outcome;
pub mod volume;
pub mod attempt;
pub mod job_folder;
pub mod retention;
pub mod message;

mod parquet_file;

pub use error_code::{Disposition, ErrorCode};
