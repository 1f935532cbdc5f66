//! Agreement with `tests/independent/detect.py`, which shares no code with the program: another language, another build
//! of FFmpeg and of ONNX Runtime, OpenCV's resizing and NumPy's arithmetic.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::detection::Detection;
use framefleet_contract::detection_file::Row;
use framefleet_tests::agreement::{Demand, assert_same};
use framefleet_tests::call::printed_by;
use framefleet_tests::{Detector, Scratch, python, repository};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

const IOU: &str = "0.45";

/// The rows of at least `confidence` that the independent program finds.
fn independent(scratch: &Scratch, video: &Path, model: &Path, confidence: &str) -> Vec<Row> {
    let program = repository::root().join("tests/independent/detect.py");
    let out = scratch.join("independent.csv");
    let paths = [program.as_os_str(), video.as_os_str(), model.as_os_str(), OsStr::new("--out"), out.as_os_str()];
    let settings = ["--confidence", confidence, "--iou", IOU].map(OsStr::new);
    printed_by(&python::interpreter(), &[&paths[..], &settings].concat());
    fs::read_to_string(out).unwrap().lines().skip(1).map(row_of).collect()
}

/// From `frame,class_id,score,x1,y1,x2,y2`.
fn row_of(line: &str) -> Row {
    let cells: Vec<&str> = line.split(',').collect();
    let side = |index: usize| cells[index].parse().unwrap();
    let detection = Detection {
        class_id: cells[1].parse().unwrap(),
        score: side(2),
        x1: side(3),
        y1: side(4),
        x2: side(5),
        y2: side(6),
    };
    Row { frame: cells[0].parse().unwrap(), pts_us: 0, track_id: None, detection }
}

/// Near a threshold a hair's breadth decides, so a sure detection of one side may be a little less sure on the other.
const DEMAND: Demand = Demand { sure: 0.35, likely: 0.25, iou: 0.9 };

#[test]
fn the_sample_is_seen_as_an_independent_program_sees_it() {
    let scratch = Scratch::new();
    let video = repository::street();
    let ours = scratch.call(Detector::Street, &[&video]).with(&["--confidence", "0.25", "--iou", IOU]).run().job();
    let model = repository::root().join("models/catalog/street.onnx");
    let theirs = independent(&scratch, &video, &model, "0.25");
    assert_same(&ours.rows(), &theirs, DEMAND, 0.99, "the sample");
}

/// Recordings and a public model that lie beside a checkout in some places, and are no part of the project.
fn real_data() -> Option<PathBuf> {
    let data = repository::root().join("../shared/data");
    data.join("yolox_nano.onnx").is_file().then_some(data)
}

/// Without the recordings, a YOLOX graph of constant output on the sample stands in: another head and another letterbox.
#[test]
fn yolox_on_recordings_is_seen_as_an_independent_program_sees_it() {
    match real_data() {
        Some(data) => {
            let model = data.join("yolox_nano.onnx");
            for (name, count) in [("car-detection.mp4", 172), ("one-by-one-person-detection.mp4", 2055)] {
                compare_yolox(&data.join(name), &model, Some(count));
            }
        }
        None => compare_yolox(&repository::street(), &repository::graph("yolox.onnx"), None),
    }
}

fn compare_yolox(video: &Path, model: &Path, count: Option<usize>) {
    let scratch = Scratch::new();
    let call = scratch.bare_call().with(&[video.to_str().unwrap(), "--confidence", "0.25", "--iou", IOU]);
    let ours = call.with_path("--model", model).run().job().rows();
    let theirs = independent(&scratch, video, model, "0.25");
    let name = video.display().to_string();
    if let Some(count) = count {
        // Counted once with PyAV 18 and ONNX Runtime 1.31.
        assert_eq!(theirs.len(), count, "{name}: the independent program itself has changed");
    }
    assert_same(&ours, &theirs, DEMAND, 0.99, &name);
}
