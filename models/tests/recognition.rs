//! What is recognised as what, and what is refused; the graphs are made by `graphs/make.py`.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::error_code::ErrorCode;
use framefleet_models::{
    Manifest, Model, ModelError,
    manifest::{HeadFamily, InputTensor, Preprocessing},
};
use proptest::prelude::*;
use std::{fs, path::PathBuf};

fn graph(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/graphs").join(name)
}

fn manifest(name: &str) -> Manifest {
    Model::open(&graph(name)).unwrap().manifest
}

fn refused(name: &str, parts: &[&str]) {
    let error = Model::open(&graph(name)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ModelUnrecognised, "{error}");
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[test]
fn raw_yolox_wants_bgr_and_gets_numbered_or_coco_classes() {
    let yolox = manifest("yolox.onnx");
    assert_eq!((yolox.head, yolox.preprocessing), (HeadFamily::Yolox, Preprocessing::YOLOX));
    assert_eq!(yolox.classes, ["class0", "class1", "class2"]);
    let input = InputTensor::nchw("images", [Some(1), Some(64), Some(64)]);
    assert_eq!((yolox.input, yolox.stride), (input, 32));
    let coco = manifest("yolox_coco.onnx");
    assert_eq!((coco.classes[0].as_str(), coco.classes[79].as_str()), ("person", "toothbrush"));
    assert!(coco.reason.contains("COCO"), "{}", coco.reason);
}

#[test]
fn ultralytics_metadata_names_the_classes() {
    for (name, family) in [("v8.onnx", HeadFamily::V8), ("end_to_end.onnx", HeadFamily::EndToEnd)] {
        let manifest = manifest(name);
        assert_eq!((manifest.head, manifest.preprocessing), (family, Preprocessing::ULTRALYTICS));
        assert_eq!(manifest.classes, ["person", "bird's nest", "car"]);
        assert!(manifest.reason.contains("`detect`"), "{}", manifest.reason);
    }
    assert_eq!(manifest("v8_batch.onnx").input.batch, Some(2));
}

#[test]
fn v8_and_v5_are_recognised_by_their_shapes() {
    assert_eq!(manifest("v8_bare.onnx").head, HeadFamily::V8);
    let v5 = manifest("v5.onnx");
    assert_eq!((v5.head, v5.preprocessing), (HeadFamily::V5, Preprocessing::ULTRALYTICS));
    assert_eq!(v5.classes, ["person", "bicycle", "car"]);
}

#[test]
fn an_open_size_keeps_the_image_size_of_the_metadata() {
    let open = manifest("v8_open.onnx");
    assert_eq!((open.input.height, open.input.width, open.input.batch), (None, None, None));
    assert_eq!(open.image_size, 64);
}

#[test]
fn a_manifest_is_written_as_plain_words() {
    let json = serde_json::to_value(manifest("v8_open.onnx")).unwrap();
    assert_eq!(json["head"], "v8");
    assert_eq!(json["input"]["height"], serde_json::Value::Null);
    assert_eq!(json["preprocessing"]["colour"], "rgb");
}

#[test]
fn what_only_looks_like_a_detector_is_refused_with_what_was_seen() {
    refused("fastest.onnx", &["`images` f32 [1,3,352,352]", "`output` f32 [1,85,22,22]", "three dimensions"]);
    refused("v6.onnx", &["v6", "[1,84,85]"]);
    refused("yolox_as_outputs.onnx", &["v6"]);
    refused("v8_segment.onnx", &["segment", "detect"]);
    refused("v8_pose_bare.onnx", &["[1,56,84]"]);
    refused("v8_wrong_names.onnx", &["1 classes", "[1,7,84]"]);
    refused("v8_broken_names.onnx", &["names", "person"]);
    refused("end_to_end_bare.onnx", &["[1,300,6]"]);
    refused("half.onnx", &["f16"]);
}

#[test]
fn other_files_are_no_models() {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in [("empty.onnx", &b""[..]), ("text.onnx", b"a text, not a model\n"), ("zeros.onnx", &[0; 100])]
    {
        let path = directory.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = Model::open(&path).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelInvalid, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(Model::open(&directory.path().join("gone.onnx")).unwrap_err().code(), ErrorCode::ModelNotFound);
    assert_eq!(Model::open(directory.path()).unwrap_err().code(), ErrorCode::ModelNotFound);
}

#[test]
fn real_models_are_told_apart() {
    let data = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !data.is_dir() {
        eprintln!("skipped: there is no {}", data.display());
        return;
    }
    let yolox = Model::open(&data.join("yolox_nano.onnx")).unwrap();
    assert_eq!(yolox.manifest.head, HeadFamily::Yolox);
    assert!(yolox.sha256.as_str().starts_with("695e750a") && yolox.sha256.as_str().len() == 64);
    for other in ["nanodet_m_416.onnx", "person-reidentification-retail-0288.onnx"] {
        let error = Model::open(&data.join(other)).unwrap_err();
        assert!(matches!(error, ModelError::Unrecognised { .. }), "{error}");
    }
}

/// A model from bytes, as `Model::open` sees them.
fn open(bytes: &[u8]) -> Result<Model, ModelError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    Model::open(file.path())
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = open(&bytes);
    }

    #[test]
    fn no_part_of_a_model_makes_it_panic(share in 0.0..1.0) {
        let bytes = fs::read(graph("v8.onnx")).unwrap();
        let _ = open(&bytes[..(bytes.len() as f64 * share) as usize]);
    }

    #[test]
    fn no_flipped_bits_make_it_panic(flips in prop::collection::vec((0_usize..3000, 0_u8..8), 1..20)) {
        for name in ["v8.onnx", "v8_open.onnx", "yolox.onnx"] {
            let mut bytes = fs::read(graph(name)).unwrap();
            for (place, bit) in &flips {
                let place = place % bytes.len();
                bytes[place] ^= 1 << bit;
            }
            let _ = open(&bytes);
        }
    }
}
