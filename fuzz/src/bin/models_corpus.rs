//! Writes files for `fuzz-models` to begin from: the graphs of the tests, with and without a `model.toml`, and the words
//! that they are made of.

use framefleet_fuzz::model_input::ModelInput;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

const USAGE: &str = "usage: fuzz-models-corpus GRAPHS FOLDER DICTIONARY";

/// One with every key, and one for each way to say what the head and the classes are.
const TOMLS: [&str; 5] = [
    "head = \"detr-sigmoid\"\noutputs = [\"b\", \"a\"]\nclasses = [\"cat\", \"dog\"]\nstride = 16\n\
     image_size = 320\nwarm_up = [640, 481]\ncolour = \"bgr\"\nscale = 1\nmean = [1, 2, 3]\nstd = [4.0, 5.0, 6.0]\n\
     resize = \"letterbox\"\nplacement = \"top-left\"\nrounding = \"truncate\"\npad = 7\nconfidence = 0.3\niou = 0.4\nclass_agnostic = true\n\
     max_detections = 50\n[tracker]\ntrack_thresh = 0.5\n",
    "head = \"v8\"\noutputs = [\"output0\"]\nclasses = \"coco\"\n",
    "head = \"end-to-end\"\nclasses = \"coco-91\"\n",
    "mean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n",
    "classes = [\"a\", \"b\", \"c\"]\nimage_size = 64\n",
];

/// What recognition looks for, and what no mutation comes upon by itself.
#[rustfmt::skip]
const WORDS: &[&str] = &[
    "Concat", "Conv", "Sigmoid", "Exp", "Mul", "Add", "MatMul", "Gemm", "Constant", "ConstantOfShape", "Expand",
    "Identity", "Reshape", "Transpose", "Slice", "Split", "Squeeze", "Unsqueeze", "Flatten", "GridSample", "TopK",
    "ScatterND", "SpaceToDepth", "If", "Loop",
    "images", "orig_target_sizes", "scale_factor", "im_shape", "pixel_mask", "pixel_values", "input_tensor",
    "labels", "boxes", "scores", "classes", "num_dets", "num_detections", "det_boxes", "logits", "pred_boxes", "dets",
    "cls_pred_stride_8", "dis_pred_stride_16", "detection_boxes", "detection_scores", "output0",
    "task", "detect", "stride", "names", "imgsz", "channels", "description", "head", "RTDETRDecoder", "rt-detr",
    "libreyolo_version", "location", "{0: 'a'}", "['a', 'b']", "\\\\u00e9",
    "enc_score_head.bias", "decoder.layers.0.final_layer_norm.bias", "flat_predictions",
    "outputs = [", "coco", "coco-91", "image_size", "warm_up", "max_detections", "[tracker]", "track_thresh", "yolox",
    "yolox-decoded", "nms-outputs", "damo-yolo", "paddle", "nanodet", "torchvision", "tf-detection", "detr-softmax",
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [graphs, folder, dictionary] = arguments.as_slice() else { return Err(USAGE.into()) };
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(graphs)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            seed(&path, folder)?;
        }
    }
    let lines: Vec<String> = WORDS.iter().map(|word| format!("\"{}\"\n", word.replace('"', "\\\""))).collect();
    fs::write(dictionary, lines.concat())?;
    Ok(())
}

fn seed(path: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let onnx = fs::read(path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let tomls = TOMLS.iter().map(|text| Some(*text));
    for (index, toml) in std::iter::once(None).chain(tomls).enumerate() {
        fs::write(folder.join(format!("{name}-{index}")), ModelInput { onnx: &onnx, toml }.join())?;
    }
    Ok(())
}
