//! How a job is cut into segments, decided once and kept: `plan.json`.

use crate::request::ModelRef;
use serde::{Deserialize, Serialize};

/// The decision that every later step follows. On a resume, the stored plan wins over the command line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    pub model: ModelRef,
    pub video: Video,
    pub numbering: Numbering,
    pub segments: Vec<Segment>,
    /// Why the video was not cut, where it could have been long enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_segment_because: Option<String>,
}

impl Plan {
    /// Whether everything in a plan that was read back can be relied on.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        if !self.video.time_base.is_positive() || !self.video.frame_rate.is_positive() {
            return Err("a time base or frame rate that is not positive".to_owned());
        }
        let mut next = 0;
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.index as usize != index || segment.start != next || segment.end <= segment.start {
                return Err(format!("segment {index} does not begin where the one before it ends"));
            }
            next = segment.end;
        }
        if next == 0 || next != self.video.packets {
            return Err(format!("its segments hold {next} packets, the video {}", self.video.packets));
        }
        Ok(())
    }
}

/// What the probe found in the container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Video {
    /// FFmpeg's short names: `mov,mp4,m4a,3gp,3g2,mj2`, `h264`, `yuv420p`.
    pub container: String,
    pub codec: String,
    pub pixel_format: String,
    /// Pixels as coded, before rotation and aspect ratio.
    pub coded_width: u32,
    pub coded_height: u32,
    /// Pixels as displayed: upright, square. The space of every box.
    pub width: u32,
    pub height: u32,
    /// Quarter turns clockwise that bring the coded picture upright, in degrees: 0, 90, 180 or 270.
    pub rotation_degrees: u32,
    /// Seconds per tick of a packet's timestamps.
    pub time_base: Ratio,
    /// Frames per second, on average.
    pub frame_rate: Ratio,
    /// Video packets in the file.
    pub packets: u64,
    /// The smallest presentation timestamp of the packets, in ticks; absent where they carry none. Time zero of
    /// `pts_us` where frames are numbered by packets; where they are counted, that is the first decoded frame's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_pts: Option<i64>,
    /// Last minus first presentation time plus one frame.
    pub duration_us: i64,
}

/// A positive fraction, as FFmpeg's `AVRational`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratio {
    pub num: i32,
    pub den: i32,
}

impl Ratio {
    fn is_positive(self) -> bool {
        self.num > 0 && self.den > 0
    }

    pub fn as_f64(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// `ticks` of this time base in microseconds, rounded to the nearest, halves away from zero.
    pub fn ticks_to_us(self, ticks: i64) -> i64 {
        let scaled = i128::from(ticks) * i128::from(self.num) * 1_000_000;
        let den = i128::from(self.den);
        let half = if scaled < 0 { -den / 2 } else { den / 2 };
        ((scaled + half) / den).clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }
}

/// Where a frame's number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Numbering {
    /// From the rank of its packet's timestamp among all packets: known before anything is decoded, so any segment knows its own.
    Packets,
    /// From counting what the decoder puts out. Only for a plan of one segment.
    Output,
}

/// Packets `[start, end)` by ordinal (place in the file, counted from 0): decoded on their own, and published on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub index: u32,
    pub start: u64,
    pub end: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_rounded_to_the_nearest_microsecond() {
        let ntsc = Ratio { num: 1001, den: 30000 };
        assert_eq!(ntsc.ticks_to_us(1), 33367);
        assert_eq!(ntsc.ticks_to_us(-1), -33367);
        assert_eq!(Ratio { num: 1, den: 90000 }.ticks_to_us(45), 500);
    }

    #[test]
    fn absurd_ticks_saturate() {
        assert_eq!(Ratio { num: i32::MAX, den: 1 }.ticks_to_us(i64::MAX), i64::MAX);
    }
}
