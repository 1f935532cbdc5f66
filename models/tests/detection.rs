//! Whole detectors on pictures, with ONNX Runtime; the graphs are made by `graphs/make.py`.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::{detection::Detection, error_code::ErrorCode};
use framefleet_models::{Detector, Model, ModelError, Runtime, Thresholds};
use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};
use std::path::PathBuf;

fn detector(name: &str) -> Result<Detector, ModelError> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/graphs").join(name);
    Detector::new(&Runtime::load().expect("./dev setup installs ONNX Runtime"), &Model::open(&path).unwrap())
}

/// A grey picture; what the constant detectors say does not depend on it.
struct Grey {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl Grey {
    fn new(width: usize, height: usize) -> Self {
        Self { width, height, samples: vec![128; width * height] }
    }

    fn picture(&self) -> Picture<'_> {
        Picture {
            width: self.width,
            height: self.height,
            planes: [Plane { data: &self.samples, stride: self.width }; 3],
            depth: 8,
            chroma_shift_x: 1,
            chroma_shift_y: 1,
            matrix: Matrix::Bt601,
            range: Range::Limited,
            display: Display { width: self.width as u32, height: self.height as u32, rotation: Rotation::None },
        }
    }
}

fn thresholds() -> Thresholds {
    Thresholds { confidence: 0.25, iou: 0.45, classes: None, max_detections: 300 }
}

#[track_caller]
fn assert_detections(seen: &[Detection], expected: &[(i32, f32, [f32; 4])]) {
    assert_near(seen, expected, 2e-4);
}

#[track_caller]
fn assert_near(seen: &[Detection], expected: &[(i32, f32, [f32; 4])], tolerance: f32) {
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for (seen, (class_id, score, [x1, y1, x2, y2])) in seen.iter().zip(expected) {
        assert_eq!(seen.class_id, *class_id, "{seen:?}");
        let pairs = [(seen.score, score), (seen.x1, x1), (seen.y1, y1), (seen.x2, x2), (seen.y2, y2)];
        assert!(pairs.iter().all(|(seen, expected)| (seen - *expected).abs() < tolerance), "{seen:?} {expected:?}");
    }
}

#[test]
fn yolox_boxes_are_decoded_on_their_grid() {
    // A picture of 128×64 is at half size in the upper half of the input.
    let grey = Grey::new(128, 64);
    let mut detector = detector("yolox.onnx").unwrap();
    let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
    // Place 0: centre (0.5, 1)·8, size (1, 2)·8. Place 70: centre (2.25, 1.5)·16, size (0.5, 1.5)·16; place 83, the
    // same object on the coarsest grid, is suppressed, and place 10 is below the confidence. Then all times two, and
    // clipped.
    assert_detections(seen, &[(0, 0.72, [64.0, 24.0, 80.0, 64.0]), (1, 0.72, [0.0, 0.0, 16.0, 32.0])]);
}

#[test]
fn v8_boxes_are_suppressed_by_class_and_clipped() {
    for name in ["v8.onnx", "v8_bare.onnx", "v8_batch.onnx"] {
        let mut detector = detector(name).unwrap();
        let grey = Grey::new(64, 64);
        let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
        let expected = [
            (1, 0.7, [52.0, 0.0, 64.0, 64.0]),
            (0, 0.6, [12.0, 20.0, 28.0, 28.0]),
            (2, 0.55, [13.0, 20.0, 29.0, 28.0]),
        ];
        assert_detections(seen, &expected);
    }
}

#[test]
fn boxes_come_back_through_the_centred_letterbox() {
    // 32×64 is doubled nowhere: it fills the height and lies in columns 16 to 48.
    let mut detector = detector("v8.onnx").unwrap();
    let grey = Grey::new(32, 64);
    let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
    assert_detections(seen, &[(0, 0.6, [0.0, 20.0, 12.0, 28.0]), (2, 0.55, [0.0, 20.0, 13.0, 28.0])]);
}

#[test]
fn v5_scores_are_objectness_times_class() {
    let mut detector = detector("v5.onnx").unwrap();
    let grey = Grey::new(64, 64);
    let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
    assert_detections(seen, &[(2, 0.72, [12.0, 20.0, 28.0, 28.0]), (0, 0.25, [35.0, 35.0, 45.0, 45.0])]);
}

#[test]
fn an_end_to_end_head_is_sorted_and_not_suppressed_again() {
    let mut detector = detector("end_to_end.onnx").unwrap();
    let grey = Grey::new(64, 64);
    let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
    let same = [30.0, 30.0, 50.0, 60.0];
    assert_detections(seen, &[(0, 0.9, same), (0, 0.8, same), (2, 0.3, [4.0, 8.0, 20.0, 24.0])]);
}

#[test]
fn every_other_head_gives_the_boxes_that_are_in_it() {
    let first = (2, 0.9, [16.0, 8.0, 32.0, 32.0]);
    let listed = vec![first, (0, 0.8, [0.0, 0.0, 32.0, 64.0])];
    // Column 2 and row 1 of stride 16; with half a cell added in the older one.
    let nanodet_plus = vec![(2, 0.7, [16.0, 8.0, 56.0, 48.0])];
    let nanodet = vec![(2, 0.7, [24.0, 16.0, 64.0, 56.0])];
    let v6 = vec![(0, 0.6, [12.0, 20.0, 28.0, 28.0])];
    let decoded = vec![(2, 0.72, [12.0, 20.0, 28.0, 28.0])];
    let mut cases = vec![
        ("v6_boxes.onnx", v6),
        ("yolox_decoded.onnx", decoded),
        ("nanodet_plus.onnx", nanodet_plus),
        ("nanodet.onnx", nanodet),
        ("tensorflow_bytes.onnx", vec![(1, 112.0 / 219.0, [0.0, 0.0, 64.0, 64.0])]),
    ];
    let names = [
        "rt_detr_listed.onnx",
        "ultralytics_rt_detr.onnx",
        "v7_end_to_end.onnx",
        "yolo_nas_flat.onnx",
        "yolo_nas.onnx",
        "nms_outputs.onnx",
        "damo_yolo.onnx",
        "rf_detr.onnx",
        "detr.onnx",
        "hugging_face_rt_detr.onnx",
        "torchvision.onnx",
        "torchvision_frcnn.onnx",
        "tensorflow.onnx",
    ];
    cases.extend(names.map(|name| (name, listed.clone())));
    for (name, expected) in cases {
        let mut detector = detector(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let grey = Grey::new(64, 64);
        let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
        let tolerance = if name.starts_with("tensorflow_bytes") { 0.01 } else { 2e-4 };
        assert_near(seen, &expected, tolerance);
    }
}

#[test]
fn what_else_a_model_asks_for_is_told_in_pixels_of_its_input() {
    // An input of 128×64 is told as such, and a picture of 64×64 is stretched to it: back, x is halved.
    let mut detector = detector("rt_detr.onnx").unwrap();
    let grey = Grey::new(64, 64);
    let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
    assert_detections(seen, &[(2, 0.9, [16.0, 8.0, 32.0, 32.0]), (0, 0.8, [0.0, 0.0, 32.0, 64.0])]);
}

#[test]
fn halves_and_quantised_scores_are_read() {
    for (name, tolerance) in [("half.onnx", 1e-3), ("quantised.onnx", 1.0 / 256.0)] {
        let mut detector = detector(name).unwrap();
        let grey = Grey::new(64, 64);
        let expected = [
            (1, 0.7, [52.0, 0.0, 64.0, 64.0]),
            (0, 0.6, [12.0, 20.0, 28.0, 28.0]),
            (2, 0.55, [13.0, 20.0, 29.0, 28.0]),
        ];
        assert_near(detector.detect(&grey.picture(), &thresholds()).unwrap(), &expected, tolerance);
    }
}

#[test]
fn outputs_that_are_not_finite_are_found() {
    let grey = Grey::new(64, 64);
    let error = detector("not_finite.onnx").unwrap().inspect(&grey.picture()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelInvalid);
    assert!(error.to_string().contains("1 of 588 values of output0"), "{error}");
    let seen = detector("v8.onnx").unwrap().inspect(&grey.picture()).unwrap();
    assert_eq!(seen.iter().map(|seen| seen.shape.clone()).collect::<Vec<_>>(), [[1, 7, 84]]);
}

#[test]
fn only_wanted_classes_and_the_best_of_them_are_kept() {
    let mut detector = detector("v8.onnx").unwrap();
    let grey = Grey::new(64, 64);
    let wanted = Thresholds { classes: Some(vec![0, 2]), ..thresholds() };
    let classes = |seen: &[Detection]| seen.iter().map(|detection| detection.class_id).collect::<Vec<_>>();
    assert_eq!(classes(detector.detect(&grey.picture(), &wanted).unwrap()), [0, 2]);
    let one = Thresholds { max_detections: 1, ..wanted };
    assert_eq!(classes(detector.detect(&grey.picture(), &one).unwrap()), [0]);
    let none = Thresholds { classes: Some(Vec::new()), ..thresholds() };
    assert!(detector.detect(&grey.picture(), &none).unwrap().is_empty());
}

#[test]
fn an_open_input_takes_every_size_and_sees_what_is_in_the_picture() {
    let mut detector = detector("v8_open.onnx").unwrap();
    // The graph's score is the mean red of a cell: grey of 128 is (128-16)/219.
    for (width, height) in [(64, 64), (64, 20), (20, 64), (640, 360), (64, 64)] {
        let grey = Grey::new(width, height);
        let seen = detector.detect(&grey.picture(), &Thresholds { confidence: 0.5, ..thresholds() }).unwrap();
        assert!(!seen.is_empty(), "{width}x{height}");
        assert!(seen.iter().all(|detection| (detection.score - 112.0 / 219.0).abs() < 0.01), "{seen:?}");
        let times = detector.last_times();
        assert!(times.preprocess > 0.0 && times.infer > 0.0 && times.postprocess > 0.0);
    }
}

#[test]
fn an_input_of_bytes_gets_the_picture_whatever_the_family_wants() {
    let mut detector = detector("v8_bytes.onnx").unwrap();
    let grey = Grey::new(64, 64);
    let seen = detector.detect(&grey.picture(), &thresholds()).unwrap();
    assert!(!seen.is_empty() && seen.iter().all(|seen| (seen.score - 112.0 / 219.0).abs() < 0.01), "{seen:?}");
}

#[test]
fn an_output_that_is_not_what_the_header_says_is_found_when_loading() {
    let error = detector("v8_lies.onnx").unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelInvalid);
    assert!(error.to_string().contains("[1, 7, 100]"), "{error}");
}

#[test]
fn a_model_that_the_runtime_cannot_load_is_invalid() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.onnx");
    let graph = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/graphs/v8.onnx");
    let mut bytes = std::fs::read(graph).unwrap();
    // The first operation's name, so that the header is still one of a detector.
    let place = bytes.windows(6).position(|window| window == b"Concat").unwrap();
    bytes[place..place + 6].copy_from_slice(b"Concut");
    std::fs::write(&path, bytes).unwrap();
    let model = Model::open(&path);
    let error = Detector::new(&Runtime::load().unwrap(), &model.unwrap()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelInvalid);
}

#[test]
fn a_broken_picture_is_an_error_and_the_next_one_is_fine() {
    let mut detector = detector("v8.onnx").unwrap();
    let grey = Grey::new(64, 64);
    let expected = detector.detect(&grey.picture(), &thresholds()).unwrap().to_vec();
    let mut broken = grey.picture();
    broken.planes[0].data = &broken.planes[0].data[..100];
    assert!(matches!(detector.detect(&broken, &thresholds()), Err(ModelError::PictureInvalid { .. })));
    assert_eq!(detector.detect(&grey.picture(), &thresholds()).unwrap(), expected);
}

#[test]
fn a_detector_can_move_to_the_thread_that_owns_it_and_the_runtime_is_one() {
    let first = Runtime::load().unwrap();
    assert_eq!(first.version(), Runtime::load().unwrap().version());
    let mut detector = detector("v8.onnx").unwrap();
    let seen = std::thread::spawn(move || {
        let grey = Grey::new(64, 64);
        detector.detect(&grey.picture(), &thresholds()).unwrap().len()
    });
    assert_eq!(seen.join().unwrap(), 3);
}
