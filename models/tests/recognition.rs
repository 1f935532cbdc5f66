//! What is recognised as what, and what is refused; the graphs are made by `graphs/make.py`.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::error_code::ErrorCode;
use framefleet_models::{
    Manifest, Model, ModelError,
    manifest::{HeadFamily, InputElement, InputTensor, Layout, Preprocessing, Resize, SideValue},
    recognise_bytes,
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
fn every_family_is_known_by_its_marks_and_filled_its_own_way() {
    let cases = [
        ("v6.onnx", HeadFamily::V6, Preprocessing::ULTRALYTICS),
        ("v6_boxes.onnx", HeadFamily::V6, Preprocessing::ULTRALYTICS),
        ("yolox_as_outputs.onnx", HeadFamily::Yolox, Preprocessing::YOLOX),
        ("yolox_decoded.onnx", HeadFamily::YoloxDecoded, Preprocessing::YOLOX),
        ("nanodet_plus.onnx", HeadFamily::NanodetPlus, Preprocessing::NANODET),
        ("nanodet.onnx", HeadFamily::Nanodet, Preprocessing { resize: Resize::Letterbox, ..Preprocessing::NANODET }),
        ("rt_detr.onnx", HeadFamily::RtDetr, Preprocessing::STRETCHED),
        ("rt_detr_listed.onnx", HeadFamily::RtDetrListed, Preprocessing::STRETCHED),
        ("ultralytics_rt_detr.onnx", HeadFamily::UltralyticsRtDetr, Preprocessing::STRETCHED),
        ("v7_end_to_end.onnx", HeadFamily::V7EndToEnd, Preprocessing::ULTRALYTICS),
        ("yolo_nas_flat.onnx", HeadFamily::YoloNasFlat, BYTES),
        ("yolo_nas.onnx", HeadFamily::NmsOutputs, BYTES),
        ("nms_outputs.onnx", HeadFamily::NmsOutputs, Preprocessing::ULTRALYTICS),
        ("damo_yolo.onnx", HeadFamily::DamoYolo, Preprocessing { scale: 1.0, ..Preprocessing::STRETCHED }),
        ("rf_detr.onnx", HeadFamily::DetrSigmoid, Preprocessing::IMAGENET),
        ("detr.onnx", HeadFamily::DetrSoftmax, Preprocessing::IMAGENET),
        ("hugging_face_rt_detr.onnx", HeadFamily::DetrSigmoid, Preprocessing::STRETCHED),
        ("torchvision.onnx", HeadFamily::Torchvision, OPEN),
        ("torchvision_frcnn.onnx", HeadFamily::Torchvision, OPEN),
        ("tensorflow.onnx", HeadFamily::TfDetection, Preprocessing::RGB_BYTES),
        ("half.onnx", HeadFamily::V8, Preprocessing::ULTRALYTICS),
        ("quantised.onnx", HeadFamily::V8, Preprocessing::ULTRALYTICS),
        ("v8_bytes.onnx", HeadFamily::V8, BYTES),
    ];
    for (name, head, preprocessing) in cases {
        let manifest = manifest(name);
        assert_eq!((manifest.head, manifest.preprocessing), (head, preprocessing), "{name}");
    }
    assert_eq!(manifest("half.onnx").input.element, InputElement::F16);
    assert_eq!(manifest("tensorflow.onnx").input.layout, Layout::Nhwc);
    assert_eq!(manifest("torchvision.onnx").input.layout, Layout::Chw);
    let sides: Vec<SideValue> = manifest("detr.onnx").side_inputs.iter().map(|side| side.value).collect();
    assert_eq!(sides, [SideValue::PixelMask]);
}

const BYTES: Preprocessing = Preprocessing::ULTRALYTICS.as_bytes();
const OPEN: Preprocessing = Preprocessing { resize: Resize::Letterbox, pad: 0, ..Preprocessing::STRETCHED };

/// A copy of a graph with a `model.toml` beside it.
fn with_toml(name: &str, toml: &str) -> Result<Model, ModelError> {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(graph(name), folder.path().join("model.onnx")).unwrap();
    fs::write(folder.path().join("model.toml"), toml).unwrap();
    Model::open(&folder.path().join("model.onnx"))
}

#[test]
fn a_model_toml_overrides_and_says_what_cannot_be_seen() {
    let v8 = with_toml("v8.onnx", "classes = [\"a\", \"b\", \"c\"]\npad = 0\nconfidence = 0.4\n").unwrap();
    assert_eq!((v8.manifest.head, v8.manifest.classes.join("")), (HeadFamily::V8, "abc".to_owned()));
    assert_eq!((v8.manifest.preprocessing.pad, v8.manifest.defaults.confidence), (0, 0.4));
    assert_ne!(v8.sha256, Model::open(&graph("v8.onnx")).unwrap().sha256, "what it says is part of the model");
    let toml = "head = \"detr-softmax\"\noutputs = [\"pred_boxes\", \"logits\"]";
    let detr = with_toml("detr_small.onnx", toml).unwrap();
    assert_eq!((detr.manifest.head, detr.manifest.classes.len()), (HeadFamily::DetrSoftmax, 4));
    let damo = with_toml("scores_and_boxes.onnx", "head = \"damo-yolo\"").unwrap();
    assert_eq!((damo.manifest.head, damo.manifest.classes.len()), (HeadFamily::DamoYolo, 3));
    let error = with_toml("v8.onnx", "classes = [\"a\"]").unwrap_err();
    assert!(matches!(error, ModelError::Unrecognised { .. }), "{error}");
    let error = with_toml("v8.onnx", "head = \"rt-detr\"").unwrap_err();
    assert!(error.to_string().contains("does not read 1 outputs"), "{error}");
    let error = with_toml("v8.onnx", "colours = \"rgb\"").unwrap_err();
    assert!(error.code() == ErrorCode::ModelInvalid && error.to_string().contains("colours"), "{error}");
}

#[test]
fn an_input_of_bytes_is_filled_with_bytes() {
    let told = with_toml("v8_bytes.onnx", "head = \"v8\"\n").unwrap().manifest;
    assert_eq!(told.preprocessing, BYTES);
    assert!(told.reason.contains("its input is bytes"), "{}", told.reason);
    assert!(!manifest("v8.onnx").reason.contains("bytes"));
    let nanodet = "head = \"v8\"\nmean = [103.53, 116.28, 123.675]\nstd = [57.375, 57.12, 58.395]";
    for toml in ["scale = 0.00392156862745098", "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]", nanodet] {
        let error = with_toml("v8_bytes.onnx", toml).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelUnrecognised);
        assert!(error.to_string().contains("its input is bytes, but `scale`"), "{toml}: {error}");
    }
    assert_eq!(with_toml("v8_bytes.onnx", "mean = [0, 0, 0]\nstd = [1, 1, 1]").unwrap().manifest.preprocessing, BYTES);
    let half = with_toml("v8_bytes.onnx", "scale = 0.5").unwrap().manifest;
    assert_eq!(half.preprocessing, Preprocessing { scale: 0.5, ..BYTES });
}

/// A graph whose picture is an input of u8 instead of f32.
fn with_bytes(name: &str) -> Vec<u8> {
    with_input(name, &manifest(name).input.name, 2)
}

/// A graph whose picture is an input of another type, by its number in `TensorProto.DataType`.
fn with_input(name: &str, input: &str, element: u8) -> Vec<u8> {
    let mut bytes = fs::read(graph(name)).unwrap();
    // A `ValueInfoProto`: the name, then lengths around the type's number.
    let start = [&[0x0a, input.len() as u8], input.as_bytes(), &[0x12]].concat();
    let place = bytes.windows(start.len()).position(|window| window == start).unwrap() + start.len() + 4;
    assert!(bytes[place - 1] == 0x08 && [1, 2].contains(&bytes[place]));
    bytes[place] = element;
    bytes
}

#[test]
fn every_family_with_an_input_of_bytes_gets_them_in_its_own_colours_and_size() {
    let names = ["rf_detr", "rt_detr", "detr", "nanodet", "nanodet_plus", "torchvision", "damo_yolo", "v5", "yolox"];
    for name in names {
        let name = format!("{name}.onnx");
        let (floats, bytes) = (manifest(&name), recognise_bytes(&with_bytes(&name), None).unwrap());
        assert_eq!(bytes.input.element, InputElement::U8);
        assert_eq!((bytes.head, bytes.preprocessing), (floats.head, floats.preprocessing.as_bytes()), "{name}");
    }
}

#[test]
fn score_and_class_at_the_end_are_told_apart_by_name() {
    let error = recognise_bytes(&with_bytes("v7_end_to_end.onnx"), None).unwrap_err();
    assert!(error.to_string().contains("yolo-nas-flat"), "{error}");
    // The same graph with an input of f32, as YOLO-NAS is exported without its preprocessing.
    let floats = recognise_bytes(&with_input("yolo_nas_flat.onnx", "input", 1), None).unwrap();
    assert_eq!((floats.head, floats.preprocessing), (HeadFamily::YoloNasFlat, Preprocessing::ULTRALYTICS));
}

#[test]
fn paddle_detection_is_used_when_both_mean_and_std_are_said() {
    let (mean, std) = ("mean = [0.485, 0.456, 0.406]\n", "std = [0.229, 0.224, 0.225]\n");
    for head in ["", "head = \"paddle\"\n"] {
        for half in ["", "scale = 1\n", mean, std] {
            let error = with_toml("paddle.onnx", &format!("{head}{half}")).unwrap_err().to_string();
            assert!(error.contains("both `mean` and `std`"), "{head}{half}: {error}");
        }
        let both = with_toml("paddle.onnx", &format!("{head}{mean}{std}")).unwrap().manifest;
        assert_eq!((both.head, both.preprocessing), (HeadFamily::Paddle, Preprocessing::IMAGENET));
    }
}

#[test]
fn two_stages_without_the_weights_of_rt_detr_are_asked_how_they_are_filled() {
    for name in ["hugging_face_deformable.onnx", "hugging_face_deim.onnx"] {
        refused(name, &["two stages", "both `mean` and `std`", "do_normalize"]);
        assert!(with_toml(name, "mean = [0, 0, 0]").is_err());
        let told = with_toml(name, "mean = [0, 0, 0]\nstd = [1, 1, 1]").unwrap().manifest;
        assert_eq!((told.head, told.preprocessing), (HeadFamily::DetrSigmoid, Preprocessing::STRETCHED));
        assert_eq!(told.outputs, ["pred_boxes", "logits"]);
        let bytes = recognise_bytes(&with_input(name, "pixel_values", 2), None).unwrap();
        assert_eq!(bytes.preprocessing, Preprocessing::STRETCHED.as_bytes());
    }
}

#[test]
fn a_head_of_sigmoids_that_is_only_named_is_asked_too() {
    let toml = "head = \"detr-sigmoid\"\noutputs = [\"pred_boxes\", \"logits\"]\n";
    let error = with_toml("detr_small.onnx", toml).unwrap_err().to_string();
    assert!(error.contains("both `mean` and `std`"), "{error}");
    let told = with_toml("detr_small.onnx", &format!("{toml}mean = [0, 0, 0]\nstd = [1, 1, 1]")).unwrap().manifest;
    assert_eq!((told.head, told.classes.len()), (HeadFamily::DetrSigmoid, 5));
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
    refused("v8_segment.onnx", &["segment", "detect"]);
    refused("v8_pose_bare.onnx", &["[1,56,84]"]);
    refused("v8_wrong_names.onnx", &["1 classes", "[1,7,84]"]);
    refused("v8_broken_names.onnx", &["names", "person"]);
    refused("end_to_end_bare.onnx", &["[1,300,6]"]);
    refused("detr_small.onnx", &["detr-softmax", "`pred_boxes` f32 [1,3,4]"]);
    refused("paddle.onnx", &["`mean`", "PP-YOLOE+"]);
    refused("scores_and_boxes.onnx", &["[B,84,3] and [B,84,4]", "DAMO-YOLO", "`output` f32 [1,84,3]", "`962` f32"]);
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
    let nanodet = Model::open(&data.join("nanodet_m_416.onnx")).unwrap().manifest;
    assert_eq!((nanodet.head, nanodet.classes.len(), nanodet.outputs.len()), (HeadFamily::Nanodet, 80, 6));
    let error = Model::open(&data.join("person-reidentification-retail-0288.onnx")).unwrap_err();
    assert!(matches!(error, ModelError::Unrecognised { .. }), "{error}");
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
