//! The frame by frame decisions of `ByteTrack` (arXiv 2110.06864, Algorithm 1).

use super::ByteTrackSettings;
use super::assignment::Assignment;
use super::iou::PixelBox;
use super::tracklet::{Observation, State, Tracklet};
use super::{TrackedDetection, TrackerInput};

/// Largest cost, 1 - `IoU`, of a match with a low-scored detection.
const LOW_MATCH_THRESH: f64 = 0.5;
/// Largest cost, 1 - `IoU` × score, of the match that confirms a track.
const CONFIRMING_MATCH_THRESH: f64 = 0.7;
/// Two tracks are one object below this 1 - `IoU`.
const DUPLICATE_THRESH: f64 = 0.15;
/// The frame rate for which `track_buffer` counts frames.
const BUFFER_FRAME_RATE: f64 = 30.0;

/// The tracker of one video: call [`update`](Self::update) for each frame in presentation order.
#[derive(Debug)]
pub struct ByteTrack {
    settings: ByteTrackSettings,
    /// A lost track that was last seen more frames ago than this expires.
    max_lost_frames: u64,
    /// Frames so far.
    frame: u64,
    next_id: i64,
    /// Tracks seen in the last frame, in the order in which they are reported.
    tracked: Vec<Tracklet>,
    /// Tracks that may be found again.
    lost: Vec<Tracklet>,
    /// Detections of the present frame that no track has taken yet, in the caller's order.
    high: Vec<Observation>,
    low: Vec<Observation>,
    assignment: Assignment,
    reported: Vec<TrackedDetection>,
}

/// Which tracks and detections one association joins, and at what cost.
struct Association {
    takes_part: fn(&Tracklet, frame: u64) -> bool,
    detections: Detections,
    cost: fn(&PixelBox, &Observation) -> f64,
    limit: f64,
}

enum Detections {
    High,
    Low,
}

impl ByteTrack {
    /// Starts with no tracks.
    ///
    /// `frame_rate` is in frames per second as they are passed to [`update`](Self::update): half of the video's if
    /// every second frame is. With `n = frame_rate / 30 × track_buffer`, rounded down and at least 1, a lost track is
    /// found again up to `n + 2` frames after it was last seen. A rate that is not a positive number counts as 0.
    #[must_use]
    pub fn new(settings: ByteTrackSettings, frame_rate: f64) -> Self {
        let buffer = frame_rate / BUFFER_FRAME_RATE * f64::from(settings.track_buffer);
        // The cast rounds down, saturates, and takes NaN and negative numbers as zero.
        let max_lost_frames = buffer as u64;
        Self {
            settings,
            max_lost_frames,
            frame: 0,
            next_id: 1,
            tracked: Vec::new(),
            lost: Vec::new(),
            high: Vec::new(),
            low: Vec::new(),
            assignment: Assignment::default(),
            reported: Vec::new(),
        }
    }

    /// Takes the detections of the next frame, and returns those that belong to confirmed tracks.
    ///
    /// Every frame counts, also one without detections. At most one row per detection and per track; tracks that were
    /// in the last frame come first, then new ones, then those found again. Detections may come in any order: it
    /// decides the numbers of new tracks and nothing else.
    pub fn update(&mut self, detections: &[TrackerInput]) -> &[TrackedDetection] {
        self.frame += 1;
        self.split_by_score(detections);
        self.predict();
        self.associate(&Association {
            takes_part: |track, _| track.state != State::Unconfirmed,
            detections: Detections::High,
            cost: scored_distance,
            limit: self.settings.match_thresh,
        });
        self.associate(&Association {
            takes_part: |track, frame| track.state == State::Tracked && track.last_frame < frame,
            detections: Detections::Low,
            cost: distance,
            limit: LOW_MATCH_THRESH,
        });
        self.associate(&Association {
            takes_part: |track, _| track.state == State::Unconfirmed,
            detections: Detections::High,
            cost: scored_distance,
            limit: CONFIRMING_MATCH_THRESH,
        });
        self.start_tracks();
        self.regroup();
        self.remove_duplicates();
        self.report()
    }

    fn split_by_score(&mut self, detections: &[TrackerInput]) {
        self.high.clear();
        self.low.clear();
        for (detection, input) in detections.iter().enumerate() {
            let Some(pixels) = PixelBox::of_detection(input) else {
                continue;
            };
            let score = input.score;
            let observation = Observation { detection, pixels, score };
            if score >= self.settings.track_thresh && score.is_finite() {
                self.high.push(observation);
            } else if score > self.settings.low_thresh && score < self.settings.track_thresh {
                self.low.push(observation);
            }
        }
    }

    /// Unconfirmed tracks stay where they were seen: a velocity takes two sightings.
    fn predict(&mut self) {
        let confirmed = self.tracked.iter_mut().filter(|track| track.state == State::Tracked);
        confirmed.chain(&mut self.lost).for_each(Tracklet::predict);
    }

    /// Matches tracks with detections; a match updates the track and uses the detection up.
    fn associate(&mut self, association: &Association) {
        let frame = self.frame;
        let detections = match association.detections {
            Detections::High => &mut self.high,
            Detections::Low => &mut self.low,
        };

        self.assignment.start(detections.len());
        let tracks = self.tracked.iter().chain(&self.lost);
        for track in tracks.filter(|track| (association.takes_part)(track, frame)) {
            let predicted = track.pixels();
            let costs = detections.iter().map(|detection| (association.cost)(&predicted, detection));
            self.assignment.add_row(costs, association.limit);
        }
        self.assignment.solve();

        let tracks = self.tracked.iter_mut().chain(&mut self.lost);
        let rows = tracks.filter(|track| (association.takes_part)(track, frame));
        for (track, column) in rows.zip(self.assignment.columns_of_rows()) {
            if let Some(column) = column {
                track.take(frame, &detections[column]);
            }
        }
        let mut matched = self.assignment.columns_matched();
        detections.retain(|_| !matched.next().unwrap_or(false));
    }

    /// High-scored detections that nobody took are new objects, if they score high enough.
    fn start_tracks(&mut self) {
        let lowest_score = self.settings.track_thresh + self.settings.new_track_margin;
        for observation in self.high.iter().filter(|observation| observation.score >= lowest_score) {
            self.tracked.push(Tracklet::start(self.next_id, self.frame, observation));
            self.next_id += 1;
        }
    }

    /// Moves tracks between the tracked and the lost, and ends those that nobody will find again.
    ///
    /// A track expires after the associations of its frame and is dropped a frame later, so that it can still be
    /// found once. One that is, stays expired: it ends when it is missed the next time.
    fn regroup(&mut self) {
        let frame = self.frame;
        self.tracked.extend(self.lost.extract_if(.., |track| track.last_frame == frame));
        self.lost.retain(|track| !track.expired);
        for track in &mut self.lost {
            track.expired = frame - track.last_frame > self.max_lost_frames;
        }
        let missed = self.tracked.extract_if(.., |track| track.last_frame < frame);
        self.lost
            .extend(missed.filter(|track| track.state == State::Tracked && !track.expired).map(Tracklet::into_lost));
    }

    /// Where a tracked and a lost track are the same object, the one seen for longer stays; on a tie the lost one.
    fn remove_duplicates(&mut self) {
        for tracked in &mut self.tracked {
            let pixels = tracked.pixels();
            for lost in &mut self.lost {
                if 1.0 - pixels.iou(&lost.pixels()) < DUPLICATE_THRESH {
                    let loser = if tracked.life() > lost.life() { &mut *lost } else { &mut *tracked };
                    loser.duplicate = true;
                }
            }
        }
        self.tracked.retain(|track| !track.duplicate);
        self.lost.retain(|track| !track.duplicate);
    }

    fn report(&mut self) -> &[TrackedDetection] {
        let confirmed = self.tracked.iter().filter(|track| track.state == State::Tracked);
        self.reported.clear();
        self.reported.extend(confirmed.map(Tracklet::report));
        &self.reported
    }
}

fn distance(predicted: &PixelBox, observation: &Observation) -> f64 {
    1.0 - predicted.iou(&observation.pixels)
}

/// An uncertain detection is farther away from every track.
fn scored_distance(predicted: &PixelBox, observation: &Observation) -> f64 {
    1.0 - predicted.iou(&observation.pixels) * observation.score
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME_RATE: f64 = 30.0;
    const NOBODY: [i64; 0] = [];

    fn tracker() -> ByteTrack {
        ByteTrack::new(ByteTrackSettings::default(), FRAME_RATE)
    }

    /// A box of 40 × 80 pixels.
    fn person(x: f64, score: f64) -> TrackerInput {
        TrackerInput { x1: x, y1: 100.0, x2: x + 40.0, y2: 180.0, score }
    }

    fn ids(tracked: &[TrackedDetection]) -> Vec<i64> {
        tracked.iter().map(|row| row.track_id).collect()
    }

    fn ids_after(tracker: &mut ByteTrack, detections: &[TrackerInput]) -> Vec<i64> {
        ids(tracker.update(detections))
    }

    #[test]
    fn an_object_is_reported_at_once_in_the_first_frame_and_from_its_second_one_later() {
        let mut tracker = tracker();
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.9)]), [1]);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.9), person(500.0, 0.9)]), [1]);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.9), person(500.0, 0.9)]), [1, 2]);
    }

    #[test]
    fn an_object_seen_once_is_never_reported_and_its_number_is_not_used_again() {
        let mut tracker = tracker();
        tracker.update(&[]);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.9)]), NOBODY);
        assert_eq!(ids_after(&mut tracker, &[]), NOBODY);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.9)]), NOBODY);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.9)]), [2]);
    }

    #[test]
    fn a_row_names_its_detection_and_keeps_its_score() {
        let mut tracker = tracker();
        tracker.update(&[person(0.0, 0.9), person(500.0, 0.8)]);
        let rows = tracker.update(&[person(700.0, 0.3), person(502.0, 0.75), person(0.0, 0.95)]);
        let named: Vec<_> = rows.iter().map(|row| (row.track_id, row.detection, row.score)).collect();
        assert_eq!(named, [(1, 2, 0.95), (2, 1, 0.75)]);
        assert!(rows[1].x1 > 501.0 && rows[1].x1 < 502.0, "{rows:?}");
    }

    #[test]
    fn a_score_between_the_thresholds_prolongs_a_track_but_starts_none() {
        let mut tracker = tracker();
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.9), person(500.0, 0.69)]), [1]);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.11)]), [1]);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.1)]), NOBODY);
    }

    #[test]
    fn a_lost_track_is_found_by_a_high_score_only() {
        let mut tracker = tracker();
        tracker.update(&[person(0.0, 0.9)]);
        tracker.update(&[]);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.59)]), NOBODY);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.61)]), [1]);
    }

    #[test]
    fn a_score_at_the_threshold_is_a_high_one() {
        let mut tracker = tracker();
        tracker.update(&[person(0.0, 0.9)]);
        tracker.update(&[]);
        assert_eq!(ids_after(&mut tracker, &[person(0.0, 0.6)]), [1]);
    }

    #[test]
    fn a_score_at_the_threshold_and_margin_starts_a_track() {
        let mut tracker = tracker();
        let threshold = 0.6 + 0.1;
        assert_eq!(ids_after(&mut tracker, &[person(0.0, threshold), person(500.0, threshold - 1e-9)]), [1]);
    }

    #[test]
    fn an_uncertain_detection_needs_more_overlap() {
        // IoU 25 / 57: it is matched at score 0.9, where the cost is 0.61, and at 0.6 it is not with a limit of 0.7.
        let moved = 16.0;
        for (score, expected) in [(0.9, vec![1]), (0.6, vec![])] {
            let settings = ByteTrackSettings { match_thresh: 0.7, ..ByteTrackSettings::default() };
            let mut tracker = ByteTrack::new(settings, FRAME_RATE);
            tracker.update(&[person(0.0, 0.9)]);
            assert_eq!(ids_after(&mut tracker, &[person(moved, score)]), expected, "score {score}");
        }
    }

    /// The ids after an object was not seen for so many frames.
    fn ids_after_gap(tracker: &mut ByteTrack, frames: usize) -> Vec<i64> {
        for _ in 0..frames {
            assert_eq!(ids_after(tracker, &[]), NOBODY);
        }
        ids_after(tracker, &[person(0.0, 0.9)])
    }

    #[test]
    fn a_track_is_found_again_after_31_frames_and_not_after_32() {
        // The frames not seen are one fewer than the frames from sight to sight, of which 32 are allowed.
        for (gap, expected) in [(31, vec![1]), (32, vec![])] {
            let mut tracker = tracker();
            tracker.update(&[person(0.0, 0.9)]);
            assert_eq!(ids_after_gap(&mut tracker, gap), expected, "gap of {gap}");
        }
    }

    #[test]
    fn a_track_found_in_the_last_frame_possible_ends_when_it_is_lost_again() {
        for (gap, expected) in [(30, vec![1]), (31, vec![])] {
            let mut tracker = tracker();
            tracker.update(&[person(0.0, 0.9)]);
            assert_eq!(ids_after_gap(&mut tracker, gap), [1], "gap of {gap}");
            assert_eq!(ids_after_gap(&mut tracker, 1), expected, "gap of {gap}");
        }
    }

    #[test]
    fn lost_tracks_are_kept_for_a_time_and_not_for_a_number_of_frames() {
        for (frame_rate, longest) in [(15.0, 16), (29.97, 30), (60.0, 61), (0.0, 2), (f64::NAN, 2)] {
            let mut tracker = ByteTrack::new(ByteTrackSettings::default(), frame_rate);
            tracker.update(&[person(0.0, 0.9)]);
            assert_eq!(ids_after_gap(&mut tracker, longest), [1], "{frame_rate} frames per second");
            let mut tracker = ByteTrack::new(ByteTrackSettings::default(), frame_rate);
            tracker.update(&[person(0.0, 0.9)]);
            assert_eq!(ids_after_gap(&mut tracker, longest + 1), NOBODY, "{frame_rate} frames per second");
        }
    }

    #[test]
    fn rows_are_of_tracks_in_sight_then_new_ones_then_those_found_again() {
        let (lost, seen, new) = (person(0.0, 0.9), person(500.0, 0.9), person(900.0, 0.9));
        let mut tracker = tracker();
        tracker.update(&[lost, seen]);
        tracker.update(&[seen]);
        tracker.update(&[seen, new]);
        assert_eq!(ids_after(&mut tracker, &[lost, new, seen]), [2, 3, 1]);
    }

    #[test]
    fn of_two_tracks_of_one_object_the_one_seen_for_longer_stays_and_on_a_tie_the_lost_one() {
        let observation =
            Observation { detection: 0, pixels: PixelBox { x1: 0.0, y1: 0.0, x2: 40.0, y2: 80.0 }, score: 0.9 };
        let track_since = |frame, id| {
            let mut track = Tracklet::start(id, frame, &observation);
            track.take(20, &observation);
            track
        };
        for (tracked_since, lost_since, survivor) in [(10, 11, 1), (10, 10, 2), (10, 9, 2)] {
            let mut tracker = tracker();
            tracker.tracked.push(track_since(tracked_since, 1));
            tracker.lost.push(track_since(lost_since, 2));
            tracker.remove_duplicates();
            let left: Vec<_> = tracker.tracked.iter().chain(&tracker.lost).map(|track| track.id).collect();
            assert_eq!(left, [survivor]);
        }
    }

    #[test]
    fn detections_that_cannot_be_are_passed_over() {
        let good = person(0.0, 0.9);
        let mut tracker = tracker();
        for _ in 0..3 {
            let rows = tracker.update(&[
                TrackerInput { score: f64::NAN, ..good },
                TrackerInput { score: f64::INFINITY, ..good },
                TrackerInput { x1: f64::NAN, ..good },
                TrackerInput { x2: f64::INFINITY, ..good },
                TrackerInput { x2: good.x1, ..good },
                TrackerInput { y2: good.y1 - 5.0, ..good },
                good,
            ]);
            assert_eq!(ids(rows), [1]);
            assert_eq!(rows[0].detection, 6);
        }
    }
}
