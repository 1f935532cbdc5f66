//! Families that their inputs' and outputs' names and types give away.

use super::{
    Classes, Guess, Refusal, inputs::Inputs, is_float, is_normalisation_unsaid, is_number, refuse, refuse_with,
};
use crate::manifest::{HeadFamily, Layout, Preprocessing, SideValue};
use crate::model_toml::ModelToml;
use crate::onnx::{Element, Header, Value};

/// Every rule gives `None` where its marks are missing, and refuses where they are there but do not fit together.
pub fn guess(header: &Header, inputs: &Inputs, toml: &ModelToml) -> Result<Option<Guess>, Refusal> {
    type Rule = fn(&Header, &Inputs, &ModelToml) -> Result<Option<Guess>, Refusal>;
    let rules: [Rule; 7] = [paddle, rt_detr, hugging_face, rf_detr, nanodet, tensorflow, nms_outputs];
    for rule in rules {
        if let Some(guess) = rule(header, inputs, toml)? {
            return Ok(Some(guess));
        }
    }
    Ok(torchvision(header, inputs))
}

/// A guess whose outputs are these, and the usual rest: classes are listed, sides may have any size.
fn listed(family: HeadFamily, outputs: &[&Value], preprocessing: Preprocessing, reason: &str) -> Guess {
    Guess {
        family,
        outputs: outputs.iter().map(|output| output.name.clone()).collect(),
        classes: Classes::Listed,
        preprocessing,
        stride: 1,
        image_size: 640,
        reason: reason.to_owned(),
    }
}

/// Each of the names, or none.
fn named<'a, const N: usize>(header: &'a Header, names: [&str; N]) -> Option<[&'a Value; N]> {
    let find = |name: &str| header.outputs.iter().find(|output| output.name.trim_end_matches(":0") == name);
    let found: Vec<&Value> = names.into_iter().filter_map(find).collect();
    found.try_into().ok()
}

/// The last dimension, if it is fixed.
fn last(output: &Value) -> Option<usize> {
    output.shape.as_ref()?.last()?.fixed().map(|size| size as usize)
}

fn rank(output: &Value) -> Option<usize> {
    output.shape.as_ref().map(Vec::len)
}

fn rt_detr(header: &Header, inputs: &Inputs, _: &ModelToml) -> Result<Option<Guess>, Refusal> {
    if !inputs.has(SideValue::TargetSize) {
        return Ok(None);
    }
    let Some(outputs) = named(header, ["labels", "boxes", "scores"]) else {
        return refuse("it wants `orig_target_sizes`, but gives not `labels`, `boxes` and `scores` as RT-DETR does");
    };
    let reason = "it wants `orig_target_sizes` and gives `labels`, `boxes` and `scores`: RT-DETR, D-FINE or DEIM";
    let guess = listed(HeadFamily::RtDetr, &outputs, Preprocessing::STRETCHED, reason);
    Ok(Some(Guess { stride: 32, ..guess }))
}

fn paddle(header: &Header, inputs: &Inputs, toml: &ModelToml) -> Result<Option<Guess>, Refusal> {
    if !inputs.has(SideValue::ScaleFactor) {
        return Ok(None);
    }
    let [boxes, counts] = header.outputs.as_slice() else {
        return refuse("it wants `scale_factor`, but gives not boxes and their count as PaddleDetection does");
    };
    if !is_float(boxes)
        || last(boxes).is_some_and(|size| size != 6)
        || !matches!(counts.element, Element::I32 | Element::I64)
    {
        return refuse("it wants `scale_factor`, but its outputs are not [N,6] and a count as PaddleDetection's");
    }
    ask_paddle(inputs, toml)?;
    let reason = "it wants `scale_factor` and gives [N,6] and a count: PaddleDetection";
    let guess = listed(HeadFamily::Paddle, &[boxes, counts], Preprocessing::STRETCHED, reason);
    Ok(Some(Guess { stride: 32, ..guess }))
}

/// Its models want different means, and the file does not tell which: PP-YOLOE+ none, the others `ImageNet`'s.
pub fn ask_paddle(inputs: &Inputs, toml: &ModelToml) -> Result<(), Refusal> {
    if !is_normalisation_unsaid(inputs, toml) {
        return Ok(());
    }
    refuse_with(
        "it is PaddleDetection's, whose models are filled in different ways that the file does not tell apart",
        "set both `mean` and `std` in a model.toml beside it: [0, 0, 0] and [1, 1, 1] for PP-YOLOE+, [0.485, 0.456, 0.406] \
         and [0.229, 0.224, 0.225] for PP-YOLOE, PicoDet and YOLOv3 (its infer_cfg.yml says which)",
    )
}

/// Hugging Face's models have the same inputs and outputs; how their boxes are made tells them apart. DETR and YOLOS take
/// the sigmoid of what a perceptron says, and their scores are a softmax. The others add a reference point first, or
/// sample the picture around one, and were trained with a sigmoid for each class. Those with two stages pick the best
/// places of the first (`TopK`); all look alike then, and of them RT-DETR and D-FINE alone want no `ImageNet` means.
fn hugging_face(header: &Header, inputs: &Inputs, toml: &ModelToml) -> Result<Option<Guess>, Refusal> {
    let Some([logits, boxes]) = named(header, ["logits", "pred_boxes"]) else { return Ok(None) };
    let Some(columns) = last(logits).filter(|_| last(boxes) == Some(4)) else {
        return refuse("its outputs `logits` and `pred_boxes` are not [B,D,classes] and [B,D,4]");
    };
    let resized = if inputs.is_fixed() { Preprocessing::IMAGENET } else { keep_aspect(Preprocessing::IMAGENET) };
    let (family, preprocessing, image_size, what) = if is_rt_detr_by_its_weights(header) {
        (HeadFamily::DetrSigmoid, Preprocessing::STRETCHED, 640, "RT-DETR or D-FINE")
    } else if header.has_operation("TopK") {
        let seen =
            "its `logits` and `pred_boxes` come from two stages without the names of RT-DETR's or D-FINE's weights";
        ask_detr(inputs, toml, seen)?;
        (HeadFamily::DetrSigmoid, resized, 1333, "detectors in two stages")
    } else if header.has_operation("GridSample") {
        (HeadFamily::DetrSigmoid, resized, 1333, "Deformable DETR")
    } else if header.has_operation("ScatterND") {
        (HeadFamily::DetrSigmoid, resized, 1333, "Conditional DETR")
    } else if header.is_sigmoid_of_perceptron(&boxes.name) {
        (HeadFamily::DetrSoftmax, resized, 1333, "DETR or YOLOS")
    } else {
        return refuse(
            "its outputs are `logits` and `pred_boxes`, but nothing says whether its scores are a softmax (DETR, YOLOS) \
             or sigmoids (RT-DETR, Deformable DETR): set `head` to \"detr-softmax\", or to \"detr-sigmoid\" with `mean` and \
             `std`",
        );
    };
    let classes = if family == HeadFamily::DetrSoftmax { columns.saturating_sub(1) } else { columns };
    let reason = format!("`logits`, `pred_boxes` and how the boxes are made: Hugging Face's {what}");
    let guess = listed(family, &[boxes, logits], preprocessing, &reason);
    Ok(Some(Guess { classes: Classes::Counted(classes), image_size, ..guess }))
}

/// RT-DETR, `RT-DETRv2` and D-FINE: the first stage's scores have a layer of that name in these and in `DEIMv2`, and
/// only in these three is there a bias in the norms of the decoder that follows.
fn is_rt_detr_by_its_weights(header: &Header) -> bool {
    header.has_operation("TopK")
        && header.has_weight("enc_score_head.bias")
        && header.has_weight("decoder.layers.0.final_layer_norm.bias")
}

/// Most want `ImageNet`'s means, RT-DETR and D-FINE none, and `DEIMv2` one or the other.
pub fn ask_detr(inputs: &Inputs, toml: &ModelToml, seen: &str) -> Result<(), Refusal> {
    if !is_normalisation_unsaid(inputs, toml) {
        return Ok(());
    }
    refuse_with(
        format!("{seen}, and these are filled in different ways that the file does not tell apart"),
        "set both `mean` and `std` in a model.toml beside it, and `resize` where the input's size is open: \
         [0.485, 0.456, 0.406] and [0.229, 0.224, 0.225] for Deformable DETR, LW-DETR and RF-DETR; [0, 0, 0] and \
         [1, 1, 1] where its preprocessor_config.json says that do_normalize is false, as RT-DETR's and D-FINE's do",
    )
}

fn keep_aspect(preprocessing: Preprocessing) -> Preprocessing {
    Preprocessing { resize: crate::manifest::Resize::Letterbox, pad: 0, ..preprocessing }
}

/// By name, not by shape: boxes and three classes have the same.
fn rf_detr(header: &Header, _: &Inputs, _: &ModelToml) -> Result<Option<Guess>, Refusal> {
    let Some(outputs @ [boxes, logits]) = named(header, ["dets", "labels"]) else { return Ok(None) };
    let (Some(4), Some(classes)) = (last(boxes), last(logits)) else {
        return refuse("its outputs `dets` and `labels` are not [B,D,4] and [B,D,classes] as RF-DETR's");
    };
    let guess = listed(HeadFamily::DetrSigmoid, &outputs, Preprocessing::IMAGENET, "`dets` and `labels`: RF-DETR");
    Ok(Some(Guess { classes: Classes::Counted(classes), ..guess }))
}

fn nanodet(header: &Header, _: &Inputs, _: &ModelToml) -> Result<Option<Guess>, Refusal> {
    let level = |kind: &str, stride: u32| {
        let name = format!("{kind}_pred_stride_{stride}");
        header.outputs.iter().find(|output| output.name == name)
    };
    let strides: Vec<u32> = [8, 16, 32, 64].into_iter().filter(|stride| level("cls", *stride).is_some()).collect();
    if strides.is_empty() {
        return Ok(None);
    }
    let scores: Vec<&Value> = strides.iter().filter_map(|stride| level("cls", *stride)).collect();
    let distances: Vec<&Value> = strides.iter().filter_map(|stride| level("dis", *stride)).collect();
    let whole = strides == [8, 16, 32] || strides == [8, 16, 32, 64];
    let classes = scores.first().and_then(|output| last(output));
    let (true, true, Some(classes)) = (whole, distances.len() == scores.len(), classes) else {
        return refuse("its outputs are named as NanoDet's, but some of the strides 8, 16 and 32 are missing");
    };
    let preprocessing = Preprocessing { resize: crate::manifest::Resize::Letterbox, ..Preprocessing::NANODET };
    let outputs: Vec<&Value> = scores.into_iter().chain(distances).collect();
    let reason = "`cls_pred_stride_*` and `dis_pred_stride_*`: NanoDet-m";
    let guess = listed(HeadFamily::Nanodet, &outputs, preprocessing, reason);
    Ok(Some(Guess { classes: Classes::Counted(classes), stride: 32, ..guess }))
}

fn tensorflow(header: &Header, inputs: &Inputs, _: &ModelToml) -> Result<Option<Guess>, Refusal> {
    let names = ["detection_boxes", "detection_classes", "detection_scores", "num_detections"];
    let Some(outputs) = named(header, names) else { return Ok(None) };
    if inputs.picture.layout != Layout::Nhwc {
        return refuse("its outputs are named as the TensorFlow Object Detection API's, but its input is not NHWC");
    }
    let reason = "`detection_boxes`, `_classes`, `_scores` and `num_detections`: TensorFlow's Object Detection API";
    let guess = listed(HeadFamily::TfDetection, &outputs, Preprocessing::RGB_BYTES, reason);
    Ok(Some(Guess { image_size: 1024, ..guess }))
}

/// A count, boxes, scores and classes, under the names of `TensorRT`'s plugin or with YOLO-NAS's prefix.
fn nms_outputs(header: &Header, inputs: &Inputs, _: &ModelToml) -> Result<Option<Guess>, Refusal> {
    let one = |marks: &[&str]| {
        let mut found = header.outputs.iter().filter(|output| marks.iter().any(|mark| output.name.contains(mark)));
        found.next().filter(|_| found.next().is_none())
    };
    let all = [one(&["num_det", "num_pred"]), one(&["boxes"]), one(&["scores"]), one(&["classes"])];
    let [Some(count), Some(boxes), Some(scores), Some(classes)] = all else { return Ok(None) };
    if header.outputs.len() != 4 || last(boxes).is_some_and(|size| size != 4) {
        return Ok(None);
    }
    // DAMO-YOLO is the one of these whose first step moves neighbouring pixels into channels.
    if has_focus(header, inputs) {
        return refuse_with(
            "it is DAMO-YOLO end to end, whose exporter takes corners for centres and sizes and so gives wrong boxes",
            "export it without --end2end",
        );
    }
    let outputs = [count, boxes, scores, classes];
    let reason = "a count, boxes, scores and classes: v6 or v7 end to end, or YOLO-NAS";
    let guess = listed(HeadFamily::NmsOutputs, &outputs, Preprocessing::ULTRALYTICS, reason);
    Ok(Some(Guess { stride: 32, ..guess }))
}

/// The input is cut into four pictures of half the size.
pub fn has_focus(header: &Header, inputs: &Inputs) -> bool {
    header.readers_of(&inputs.picture.name).filter(|op_type| matches!(*op_type, "Slice" | "SpaceToDepth")).count() > 1
}

/// RGB from 0 to 255, stretched.
pub const DAMO_YOLO: Preprocessing = Preprocessing { scale: 1.0, ..Preprocessing::STRETCHED };

/// By type, since neither names nor order are the same in all of its models.
fn torchvision(header: &Header, inputs: &Inputs) -> Option<Guess> {
    let outputs = &header.outputs;
    if outputs.len() != 3 || !outputs.iter().all(is_number) || inputs.picture.layout == Layout::Nhwc {
        return None;
    }
    let pick = |fits: &dyn Fn(&Value) -> bool| {
        let mut found = outputs.iter().filter(|output| fits(output));
        found.next().filter(|_| found.next().is_none())
    };
    let is_boxes = |output: &Value| is_float(output) && rank(output) == Some(2) && last(output) == Some(4);
    let boxes = pick(&is_boxes);
    let scores = pick(&|output| is_float(output) && rank(output) == Some(1));
    let labels = pick(&|output| output.element == Element::I64 && rank(output) == Some(1));
    let (Some(boxes), Some(scores), Some(labels)) = (boxes, scores, labels) else { return None };
    let preprocessing = keep_aspect(Preprocessing::STRETCHED);
    let reason = "[N,4], scores [N] and whole labels [N]: torchvision";
    let guess = listed(HeadFamily::Torchvision, &[boxes, scores, labels], preprocessing, reason);
    Some(Guess { image_size: 1333, ..guess })
}
