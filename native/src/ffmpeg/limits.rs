//! What a video may ask of the machine that looks at it.

use super::{LARGEST_ALLOCATION, MediaError, input};
use std::path::Path;

/// What [`Limits::pixels`] can be at most. A pixel has up to eight bytes, and FFmpeg may get no more than
/// `LARGEST_ALLOCATION` for a picture.
pub const MOST_PIXELS: u64 = (LARGEST_ALLOCATION / 8) as u64;

/// Bounds on one source. A video beyond one of them is refused with an error that names the setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Width times height of a picture, as coded and as displayed, pixels. The default lets 4K pass and refuses 8K.
    pub pixels: u64,
    /// Length of the video, as its container claims it and as its timestamps tell, seconds.
    pub duration_s: f64,
    /// Streams in the container, of every kind.
    pub streams: u32,
    /// Bytes that may be read to find out what is in the file.
    pub probe_bytes: u64,
    /// Bytes that the file may have. A pass over it may read twice as many, and what is read to find out what is in it.
    pub read_bytes: u64,
    /// Wall-clock seconds that reading or decoding one packet may take. Counted only while somebody calls
    /// [`advance`](super::pulse::advance).
    pub stall_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pixels: 1 << 24,
            duration_s: 7.0 * 86_400.0,
            streams: 128,
            probe_bytes: 16 << 20,
            read_bytes: 1 << 40,
            stall_s: 60.0,
        }
    }
}

impl Limits {
    /// The bound that FFmpeg is given for the room that it makes for a picture, which is a little more than the picture:
    /// it rounds rows up to 64 pixels and heights to 16. What is beyond it is never allocated, what is between the two is
    /// refused when it is decoded.
    pub(super) fn pixels_of_buffer(&self) -> u64 {
        const LONGEST_SIDE: u64 = 1 << 16;
        self.pixels.saturating_add((64 + 16) * LONGEST_SIDE).min(i64::MAX as u64)
    }

    /// Fails if a video of so many seconds is longer than it may be.
    pub fn check_duration(&self, path: &Path, seconds: f64) -> Result<(), MediaError> {
        input::refuse_duration(path, "lasts", seconds, *self)
    }

    /// Bytes that may be read of a file in one pass over it. FFmpeg reads some of them again wherever it goes back or
    /// ahead, to an index, or from the pictures to their sound.
    pub(super) fn pass_bytes(&self) -> u64 {
        const LOOKS: u64 = 1 << 20;
        self.read_bytes.saturating_mul(2).saturating_add(self.probe_bytes).saturating_add(LOOKS)
    }

    /// Whether a picture of this size has more pixels than it may.
    pub(super) fn refuse_picture(&self, width: u32, height: u32) -> bool {
        u64::from(width) * u64::from(height) > self.pixels
    }
}
