//! How a job is cut into segments, decided once and kept: `plan.json`.

use crate::request::ModelRef;
use serde::{Deserialize, Serialize};

/// The decision that every later step follows. On a resume, the stored plan wins over the command line.
///
/// Whoever decodes a segment checks that exactly the planned frames come out. Where they do not, the plan is refuted,
/// and [`Plan::next`] takes its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub version: u32,
    pub model: ModelRef,
    pub video: Video,
    pub numbering: Numbering,
    pub segments: Vec<Segment>,
    /// Whether damage is put up with, and every picture decoded over an empty one, so that it shows the same every time.
    #[serde(default)]
    pub clears_pictures: bool,
    /// Why the video is one segment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_segment_because: Option<String>,
}

impl Plan {
    /// The plan for a video that refuted this one: first everything in one segment, and if that is refuted too, frames
    /// counted as they come, which cannot be wrong. So a video that is cut ends with the plan of one that is not. Both
    /// put up with damage.
    ///
    /// Its segment has a number of its own, so that it meets nothing that was published under this plan.
    #[must_use]
    pub fn next(&self, because: String) -> Self {
        let was_whole = self.clears_pictures;
        let index = self.segments.last().map_or(0, |last| last.index + 1);
        Self {
            numbering: if was_whole { Numbering::Output } else { self.numbering },
            clears_pictures: true,
            segments: vec![Segment::whole(index, self.video.packets)],
            one_segment_because: Some(because),
            ..self.clone()
        }
    }

    /// Whether everything in a plan that was read back can be relied on.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        if !self.video.time_base.is_positive() || !self.video.frame_rate.is_positive() {
            return Err("a time base or frame rate that is not positive".to_owned());
        }
        let first = self.segments.first().map_or(0, |segment| segment.index);
        let mut next = 0;
        for (index, segment) in (first..).zip(&self.segments) {
            if segment.index != index || segment.start != next || segment.end <= segment.start {
                return Err(format!("segment {index} does not begin where the one before it ends"));
            }
            if segment.decode_from > segment.start || segment.seek_to > segment.decode_from || segment.first_frame < 0 {
                return Err(format!("segment {index} is to be decoded from behind its start"));
            }
            next = segment.end;
        }
        if self.numbering == Numbering::Output && self.segments.len() != 1 {
            return Err("several segments, and frames that only the order of decoding numbers".to_owned());
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
    /// Packets of which each announces a frame: neither left out by the container nor a reference only.
    #[serde(default)]
    pub announced_frames: u64,
    /// The smallest presentation timestamp of the packets that are shown, in ticks; absent where they carry none. Time
    /// zero of `pts_us` where frames are numbered by packets; where they are counted, that is the first decoded frame's.
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
    /// From the rank of its packet's timestamp among the packets that are shown: known before anything is decoded, so
    /// any segment knows its own.
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
    /// The keyframe from which decoding begins, at or before `start`; what comes before `start` is thrown away.
    pub decode_from: u64,
    /// The keyframe to aim at when seeking, at or before `decode_from`; 0 is the beginning of the file.
    pub seek_to: u64,
    /// The number of its first frame. 0 where frames are counted.
    pub first_frame: i64,
}

impl Segment {
    /// All packets of a video, decoded from the beginning.
    pub fn whole(index: u32, packets: u64) -> Self {
        Self { index, start: 0, end: packets, decode_from: 0, seek_to: 0, first_frame: 0 }
    }
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

    fn plan(numbering: Numbering, segments: Vec<Segment>) -> Plan {
        let one = Ratio { num: 1, den: 1 };
        let video = Video {
            container: "mp4".into(),
            codec: "h264".into(),
            pixel_format: "yuv420p".into(),
            coded_width: 2,
            coded_height: 2,
            width: 2,
            height: 2,
            rotation_degrees: 0,
            time_base: one,
            frame_rate: one,
            packets: 10,
            announced_frames: 10,
            first_pts: Some(0),
            duration_us: 0,
        };
        let model = ModelRef { name: "m".into(), sha256: crate::identity::Sha256::of(b"m") };
        Plan { version: 1, model, video, numbering, segments, clears_pictures: false, one_segment_because: None }
    }

    #[test]
    fn the_next_plan_meets_no_segment_of_the_one_it_replaces() {
        let second = Segment { index: 1, start: 4, end: 10, decode_from: 4, seek_to: 0, first_frame: 4 };
        let cut = plan(Numbering::Packets, vec![Segment { end: 4, ..Segment::whole(0, 10) }, second]);
        assert_eq!(cut.check(), Ok(()));
        let whole = cut.next("frames are missing".into());
        assert_eq!(
            (whole.segments.as_slice(), whole.numbering),
            ([Segment::whole(2, 10)].as_slice(), Numbering::Packets)
        );
        assert_eq!(whole.check(), Ok(()));
        assert_eq!(whole.one_segment_because.as_deref(), Some("frames are missing"));
        let counted = whole.next("frames are still missing".into());
        assert_eq!(
            (counted.segments.as_slice(), counted.numbering),
            ([Segment::whole(3, 10)].as_slice(), Numbering::Output)
        );
        assert_eq!(counted.check(), Ok(()));
    }

    #[test]
    fn a_plan_that_cannot_be_followed_is_told_from_one_that_can() {
        let whole = Segment::whole(0, 10);
        let refused = |numbering, segments| plan(numbering, segments).check().unwrap_err();
        let halves = [Segment { end: 4, ..whole }, Segment { index: 1, start: 4, ..whole }];
        assert!(refused(Numbering::Output, halves.to_vec()).contains("several segments"));
        assert!(refused(Numbering::Packets, halves[..1].to_vec()).contains("hold 4 packets"));
        assert!(refused(Numbering::Packets, vec![halves[1]]).contains("does not begin"));
        assert!(refused(Numbering::Packets, vec![Segment { decode_from: 1, ..whole }]).contains("behind its start"));
        assert!(refused(Numbering::Packets, Vec::new()).contains("hold 0 packets"));
    }

    #[test]
    fn absurd_ticks_saturate() {
        assert_eq!(Ratio { num: i32::MAX, den: 1 }.ticks_to_us(i64::MAX), i64::MAX);
    }
}
