//! A made-up crowd: what the tracker is measured on.

use framefleet_worker::track::TrackerInput;

pub const FRAME_RATE: f64 = 30.0;
/// Frames after which the scene is as it was at first, so that it can go on without end.
pub const PERIOD: usize = 600;

/// People in a picture of 1920 × 1080 who walk in circles that cross, for one period. Each is hidden for one frame in
/// twenty, and scores low in three.
pub fn walk(people: usize) -> Vec<Vec<TrackerInput>> {
    (0..PERIOD).map(|frame| detections(people, frame)).collect()
}

fn detections(people: usize, frame: usize) -> Vec<TrackerInput> {
    let seen = (0..people).filter(|object| !(frame + 7 * object).is_multiple_of(20));
    seen.map(|object| person(object, frame)).collect()
}

fn person(object: usize, frame: usize) -> TrackerInput {
    let turn = std::f64::consts::TAU * frame as f64 / PERIOD as f64;
    let direction = if object.is_multiple_of(2) { 1.0 } else { -1.0 };
    let angle = direction * turn + object as f64;
    let x = spread(object, 1) * 1700.0 + 100.0 * angle.cos();
    let y = spread(object, 2) * 800.0 + 60.0 * angle.sin();
    let height = 80.0 + 160.0 * spread(object, 3);
    let low = (1..4).contains(&((frame + 7 * object) % 20));
    let score = if low { 0.3 } else { 0.75 + 0.2 * spread(object, frame) };
    TrackerInput { x1: x + 2.0 * spread(frame, object), y1: y, x2: x + height * 0.4, y2: y + height, score }
}

/// Fractions from 0 to 1 that look random and are the same in every run.
fn spread(a: usize, b: usize) -> f64 {
    (a as f64 * 0.754_877_666 + b as f64 * 0.569_840_290).fract()
}
