//! One track: what is known of one object, and its life.

use super::TrackedDetection;
use super::iou::PixelBox;
use super::kalman::BoxFilter;

/// A detection that may belong to a track.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// Position in the caller's slice.
    pub detection: usize,
    pub pixels: PixelBox,
    pub score: f64,
}

/// How sure the tracker is of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Seen once, and not in the tracker's first frame: it is not reported, and ends if it is missed.
    Unconfirmed,
    /// Seen in the last frame.
    Tracked,
    /// Not seen in the last frame, but tracked before.
    Lost,
}

/// An object that is followed. Frames are counted from 1, each call of the tracker being one.
#[derive(Debug, Clone)]
pub struct Tracklet {
    pub id: i64,
    pub first_frame: u64,
    /// The frame in which it was last matched.
    pub last_frame: u64,
    pub state: State,
    /// Once set, the track ends as soon as a frame passes in which it is not matched.
    pub expired: bool,
    /// Another track follows the same object.
    pub duplicate: bool,
    detection: usize,
    score: f64,
    filter: BoxFilter,
}

impl Tracklet {
    pub fn start(id: i64, frame: u64, observation: &Observation) -> Self {
        Self {
            id,
            first_frame: frame,
            last_frame: frame,
            state: if frame == 1 { State::Tracked } else { State::Unconfirmed },
            expired: false,
            duplicate: false,
            detection: observation.detection,
            score: observation.score,
            filter: BoxFilter::starting_at(&observation.pixels),
        }
    }

    /// Moves the track on to the next frame. The height of a lost track stays as it is.
    pub fn predict(&mut self) {
        if self.state == State::Lost {
            self.filter.hold_height();
        }
        self.filter.predict();
    }

    pub fn take(&mut self, frame: u64, observation: &Observation) {
        self.filter.update(&observation.pixels);
        self.last_frame = frame;
        self.state = State::Tracked;
        self.detection = observation.detection;
        self.score = observation.score;
    }

    pub fn into_lost(self) -> Self {
        Self { state: State::Lost, ..self }
    }

    /// Frames from the first to the last in which it was seen.
    pub fn life(&self) -> u64 {
        self.last_frame - self.first_frame
    }

    /// What the caller learns of the track and of the detection that it was last matched with.
    pub fn report(&self) -> TrackedDetection {
        let PixelBox { x1, y1, x2, y2 } = self.pixels();
        TrackedDetection { detection: self.detection, track_id: self.id, x1, y1, x2, y2, score: self.score }
    }

    pub fn pixels(&self) -> PixelBox {
        self.filter.pixel_box()
    }
}
