//! What holds for the tracker whatever it is shown.

#![expect(clippy::float_cmp, reason = "scores are handed on as they are")]

use std::collections::HashMap;

use framefleet_worker::track::{ByteTrack, ByteTrackSettings, TrackedDetection, TrackerInput};
use proptest::prelude::*;

type Video = Vec<Vec<TrackerInput>>;

const FRAME_RATE: f64 = 30.0;

/// A detection of an object, with what the detector got wrong. `None` where it was missed.
type Sighting = Option<([f64; 4], f64)>;

/// Objects that move through a picture of 640 × 360 at constant speed, crossing and hiding each other.
fn videos() -> impl Strategy<Value = Video> {
    (1..9_usize, 1..50_usize).prop_flat_map(|(objects, frames)| {
        let place = (0.0..600.0, 0.0..300.0, 20.0..120.0, 20.0..120.0);
        let speed = (-6.0..6.0, -4.0..4.0);
        let sighting = prop::option::weighted(0.85, (prop::array::uniform4(-3.0..3.0), 0.05..1.0));
        let sightings = prop::collection::vec(prop::collection::vec(sighting, objects), frames);
        (prop::collection::vec((place, speed), objects), sightings).prop_map(|(objects, sightings)| {
            let frames = sightings.iter().enumerate();
            frames
                .map(|(frame, sightings)| {
                    let seen = objects.iter().zip(sightings);
                    seen.filter_map(|(object, sighting)| detection(object, sighting, frame)).collect()
                })
                .collect()
        })
    })
}

type Place = (f64, f64, f64, f64);

fn detection((place, speed): &(Place, (f64, f64)), sighting: &Sighting, frame: usize) -> Option<TrackerInput> {
    let (error, score) = (*sighting)?;
    let (x, y) = (place.0 + speed.0 * frame as f64, place.1 + speed.1 * frame as f64);
    Some(TrackerInput {
        x1: x + error[0],
        y1: y + error[1],
        x2: x + place.2 + error[2],
        y2: y + place.3 + error[3],
        score,
    })
}

fn any_detection() -> impl Strategy<Value = TrackerInput> {
    let extreme = prop_oneof![
        8 => -2000.0..2000.0,
        1 => any::<f64>(),
        1 => prop::sample::select(vec![0.0, 1e-6, 1e9, f64::MIN_POSITIVE, f64::MAX, f64::NAN, f64::INFINITY]),
    ];
    (prop::array::uniform4(extreme), prop_oneof![0.0..1.0, any::<f64>()])
        .prop_map(|([x1, y1, x2, y2], score)| TrackerInput { x1, y1, x2, y2, score })
}

fn track(video: &Video) -> Vec<Vec<TrackedDetection>> {
    let mut tracker = ByteTrack::new(ByteTrackSettings::default(), FRAME_RATE);
    video.iter().map(|detections| tracker.update(detections).to_vec()).collect()
}

/// Each track as the frames and places in which it is reported, without its number.
fn trajectories(tracked: &[Vec<TrackedDetection>]) -> Vec<Vec<(usize, [i64; 4])>> {
    let mut by_id: HashMap<i64, Vec<(usize, [i64; 4])>> = HashMap::new();
    for (frame, rows) in tracked.iter().enumerate() {
        for row in rows {
            // Thousandths of a pixel: the order of additions may change the last bits.
            let corners = [row.x1, row.y1, row.x2, row.y2].map(|corner| (corner * 1e3).round() as i64);
            by_id.entry(row.track_id).or_default().push((frame, corners));
        }
    }
    let mut trajectories: Vec<_> = by_id.into_values().collect();
    trajectories.sort();
    trajectories
}

fn has_duplicates<T: Ord>(mut values: Vec<T>) -> bool {
    values.sort();
    values.windows(2).any(|pair| pair[0] == pair[1])
}

proptest! {
    #[test]
    fn a_frame_has_each_track_and_each_detection_once_at_most(video in videos()) {
        for (detections, rows) in video.iter().zip(track(&video)) {
            prop_assert!(!has_duplicates(rows.iter().map(|row| row.track_id).collect()), "{:?}", rows);
            prop_assert!(!has_duplicates(rows.iter().map(|row| row.detection).collect()), "{:?}", rows);
            for row in rows {
                prop_assert_eq!(row.score, detections[row.detection].score);
                prop_assert!(row.track_id >= 1);
            }
        }
    }

    #[test]
    fn the_order_of_detections_decides_numbers_and_not_who_is_matched(video in videos(), turn in 0..8_usize) {
        let mut reordered = video.clone();
        for detections in &mut reordered {
            detections.reverse();
            let turn = turn.min(detections.len());
            detections.rotate_left(turn);
        }
        prop_assert_eq!(trajectories(&track(&video)), trajectories(&track(&reordered)));
    }

    #[test]
    fn the_same_video_gives_the_same_tracks(video in videos()) {
        prop_assert_eq!(track(&video), track(&video));
    }

    #[test]
    fn no_input_breaks_the_tracker(video in prop::collection::vec(prop::collection::vec(any_detection(), 0..8), 0..40)) {
        for rows in track(&video) {
            for row in rows {
                prop_assert!([row.x1, row.y1, row.x2, row.y2].iter().all(|corner| corner.is_finite()), "{:?}", row);
            }
        }
    }
}
