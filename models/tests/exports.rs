//! Real exports of random weights, made by `exports/*.py`: what is found agrees with the families' own programs.
//!
//! Not part of the usual tests, since the families' packages take gigabytes: `./dev exports` installs them, makes the
//! exports and sets `FRAMEFLEET_EXPORTS`.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_models::{Detector, Model, Runtime, Thresholds};
use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};
use serde::Deserialize;
use std::{fs, path::Path};

#[derive(Deserialize)]
struct Expected {
    width: usize,
    height: usize,
    confidence: f32,
    iou: f32,
    detections: Vec<Found>,
}

#[derive(Deserialize, Debug)]
struct Found {
    class_id: i32,
    score: f32,
    #[serde(rename = "box")]
    corners: [f32; 4],
}

#[test]
fn real_exports_give_what_their_own_programs_give() {
    let folder = std::env::var("FRAMEFLEET_EXPORTS").expect("FRAMEFLEET_EXPORTS names the folder of cases");
    let runtime = Runtime::load().unwrap();
    let mut problems = Vec::new();
    let mut cases = 0;
    for case in fs::read_dir(folder).unwrap() {
        let case = case.unwrap().path();
        if case.join("expected.json").is_file() {
            cases += 1;
            if let Err(problem) = agrees(&runtime, &case) {
                problems.push(format!("{}: {problem}", case.file_name().unwrap().display()));
            }
        }
    }
    assert!(cases > 0 && problems.is_empty(), "of {cases} cases:\n{}", problems.join("\n"));
}

fn agrees(runtime: &Runtime, case: &Path) -> Result<(), String> {
    let expected: Expected = serde_json::from_slice(&fs::read(case.join("expected.json")).unwrap()).unwrap();
    let model = Model::open(&case.join("model.onnx")).map_err(|error| error.to_string())?;
    let mut detector = Detector::new(runtime, &model).map_err(|error| error.to_string())?;
    let samples = fs::read(case.join("picture.yuv")).unwrap();
    let plane = |index: usize| Plane {
        data: &samples[index * expected.width * expected.height..][..expected.width * expected.height],
        stride: expected.width,
    };
    let picture = Picture {
        width: expected.width,
        height: expected.height,
        planes: [plane(0), plane(1), plane(2)],
        depth: 8,
        chroma_shift_x: 0,
        chroma_shift_y: 0,
        matrix: Matrix::Bt601,
        range: Range::Full,
        display: Display { width: expected.width as u32, height: expected.height as u32, rotation: Rotation::None },
    };
    let thresholds =
        Thresholds { confidence: expected.confidence, iou: expected.iou, classes: None, max_detections: 300 };
    let seen = detector.detect(&picture, &thresholds).map_err(|error| error.to_string())?;
    if seen.len() != expected.detections.len() {
        return Err(format!("{} detections, {} expected", seen.len(), expected.detections.len()));
    }
    let (width, height) = (expected.width as f32, expected.height as f32);
    for found in &expected.detections {
        let [x1, y1, x2, y2] = found.corners;
        // Some families leave boxes beyond the picture's edges.
        let clipped = [x1.clamp(0.0, width), y1.clamp(0.0, height), x2.clamp(0.0, width), y2.clamp(0.0, height)];
        let same = |seen: &&framefleet_contract::detection::Detection| {
            seen.class_id == found.class_id
                && (seen.score - found.score).abs() <= 1e-3
                && iou([seen.x1, seen.y1, seen.x2, seen.y2], clipped) >= 0.99
        };
        if !seen.iter().any(|detection| same(&detection)) {
            let near = seen.iter().max_by(|left, right| {
                let overlap = |seen: &framefleet_contract::detection::Detection| {
                    iou([seen.x1, seen.y1, seen.x2, seen.y2], clipped)
                };
                overlap(left).total_cmp(&overlap(right))
            });
            return Err(format!("{found:?} is missing; nearest {near:?}"));
        }
    }
    Ok(())
}

fn iou(left: [f32; 4], right: [f32; 4]) -> f32 {
    let side = |low: usize, high: usize| (left[high].min(right[high]) - left[low].max(right[low])).max(0.0);
    let area = |corners: [f32; 4]| (corners[2] - corners[0]) * (corners[3] - corners[1]);
    let both = side(0, 2) * side(1, 3);
    both / (area(left) + area(right) - both)
}
