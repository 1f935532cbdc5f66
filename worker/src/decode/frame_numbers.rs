//! Gives frames their numbers and times.

use crate::error::Result;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::plan::{Numbering, Plan, Segment, Video};
use framefleet_native::ffmpeg::decode::Frame;

/// A frame's place in the video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Rank in presentation order, counting every frame.
    pub number: i64,
    /// Since the first frame, microseconds.
    pub pts_us: i64,
}

/// The numbers of one segment's frames.
#[derive(Debug)]
pub enum FrameNumbers {
    Ranks(Ranks),
    Counter(Counter),
}

impl FrameNumbers {
    pub fn new(plan: &Plan, segment: &Segment, folder: &JobFolder) -> Result<Self> {
        Ok(match plan.numbering {
            Numbering::Packets => Self::Ranks(Ranks::new(plan, segment, folder)?),
            Numbering::Output => Self::Counter(Counter::new(plan.video.clone())),
        })
    }
}

/// Numbers that are known before anything is decoded. Sixteen bytes a packet.
#[derive(Debug)]
pub struct Ranks {
    video: Video,
    start: u64,
    first_frame: i64,
    /// By ordinal from `start`; `NOT_SHOWN` where no frame is expected.
    pts: Vec<i64>,
    sorted: Vec<i64>,
}

const NOT_SHOWN: i64 = i64::MIN;

impl Ranks {
    fn new(plan: &Plan, segment: &Segment, folder: &JobFolder) -> Result<Self> {
        let mut pts = Vec::new();
        for row in folder.packets(segment.start, segment.end)? {
            let row = row?;
            pts.push(row.pts.filter(|_| row.shown).unwrap_or(NOT_SHOWN));
        }
        let mut sorted: Vec<i64> = pts.iter().copied().filter(|pts| *pts != NOT_SHOWN).collect();
        sorted.sort_unstable();
        Ok(Self { video: plan.video.clone(), start: segment.start, first_frame: segment.first_frame, pts, sorted })
    }

    /// The place of the frame that belongs to a packet of the segment; `None` if no frame is expected of it.
    pub fn place_of(&self, ordinal: u64) -> Option<Place> {
        let index = usize::try_from(ordinal.checked_sub(self.start)?).ok()?;
        let pts = self.pts.get(index).copied().filter(|pts| *pts != NOT_SHOWN)?;
        let rank = self.sorted.binary_search(&pts).ok()?;
        let ticks = pts.saturating_sub(self.video.first_pts?);
        Some(Place { number: self.first_frame + rank as i64, pts_us: self.video.time_base.ticks_to_us(ticks) })
    }

    /// How many frames are expected.
    pub fn frames(&self) -> u64 {
        self.sorted.len() as u64
    }

    /// One more than the last number.
    pub fn end(&self) -> i64 {
        self.first_frame + self.sorted.len() as i64
    }
}

/// Counts frames as they come.
#[derive(Debug)]
pub struct Counter {
    video: Video,
    end: i64,
    /// The first frame's timestamp, and the last one's time.
    first_pts: Option<i64>,
    last_us: i64,
}

impl Counter {
    fn new(video: Video) -> Self {
        Self { video, end: 0, first_pts: None, last_us: 0 }
    }

    pub fn next(&mut self, frame: &Frame) -> Place {
        let number = self.end;
        self.end += 1;
        let frame_us = (1e6 / self.video.frame_rate.as_f64()).round() as i64;
        let guess = if number == 0 { 0 } else { self.last_us.saturating_add(frame_us) };
        let pts_us = frame.best_effort_pts().map_or(guess, |pts| {
            let first = *self.first_pts.get_or_insert(pts);
            self.video.time_base.ticks_to_us(pts.saturating_sub(first))
        });
        self.last_us = pts_us;
        Place { number, pts_us }
    }
}
