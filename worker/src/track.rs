//! Multi-object tracking: gives every detection of a frame the id of the object that it shows.
//!
//! The tracker is `ByteTrack` (Zhang et al., "`ByteTrack`: Multi-Object Tracking by Associating Every Detection
//! Box", ECCV 2022, arXiv 2110.06864). It decides as the authors' own program does, which at some points says more
//! than the paper; `worker/tests/bytetrack_goldens` holds what that program answers, and the tests compare with it.
//!
//! ```text
//! detections ─► split by score ─┬─ high ─► 1. confirmed and lost tracks ─► 3. unconfirmed tracks ─► new tracks
//!                               └─ low ──► 2. tracks that stage 1 missed
//! ```
//!
//! It is plain arithmetic on one thread, in `f64`, without clocks and without randomness: the same detections in the
//! same order give the same ids. Classes play no part, as in the original.

mod assignment;
mod bytetrack;
mod iou;
mod kalman;
mod tracklet;

pub use bytetrack::ByteTrack;
pub use framefleet_contract::tracker_settings::{ByteTrackSettings, ByteTrackSettingsError};

/// One detection of one frame, as the tracker sees it.
///
/// Corners are in pixels of the displayed picture, `x2 > x1` and `y2 > y1`; the score is from 0 to 1. A box that is
/// empty, not finite or absurdly large belongs to no object and is passed over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackerInput {
    pub x1: f64,
    pub y1: f64,
    pub x2: f64,
    pub y2: f64,
    pub score: f64,
}

/// A detection that the tracker took, with its track.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackedDetection {
    /// Position of the detection in the slice that was passed in.
    pub detection: usize,
    /// Counts from 1 in each tracker. Ids of tracks that were never confirmed are not used again, so there are gaps.
    pub track_id: i64,
    /// Corners of the track's filtered box, after this detection was taken in: pixels, near those of the detection.
    pub x1: f64,
    pub y1: f64,
    pub x2: f64,
    pub y2: f64,
    /// Score of the detection.
    pub score: f64,
}
