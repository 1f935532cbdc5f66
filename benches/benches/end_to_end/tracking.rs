//! The tracker by itself, on one core.

use framefleet_benches::crowd;
use framefleet_benches::series::Series;
use framefleet_worker::track::{ByteTrack, ByteTrackSettings};
use std::time::Instant;

pub const OBJECTS: usize = 50;
/// Each of 600 frames.
const PERIODS: usize = 20;

pub fn microseconds_per_frame(repeats: u32) -> Series {
    let frames = crowd::walk(OBJECTS);
    let once = |_| {
        let mut tracker = ByteTrack::new(ByteTrackSettings::default(), crowd::FRAME_RATE);
        let start = Instant::now();
        for detections in frames.iter().cycle().take(PERIODS * frames.len()) {
            std::hint::black_box(tracker.update(detections));
        }
        1e6 * start.elapsed().as_secs_f64() / (PERIODS * frames.len()) as f64
    };
    (0..repeats).map(once).collect()
}
