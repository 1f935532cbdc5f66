//! Families that their outputs' shapes and the graph give away, and those that a `model.toml` names.

use super::{Classes, Guess, Refusal, inputs::Inputs, is_float, metadata::Metadata, refuse};
use crate::{
    heads::{LEVELS, nanodet_plus_cells, places},
    letterbox::Size,
    manifest::{HeadFamily, InputElement, Preprocessing},
    model_toml::ModelToml,
    onnx::{Header, Value},
};

pub fn guess(header: &Header, inputs: &Inputs, metadata: &Metadata) -> Result<Guess, Refusal> {
    if let [first, second] = header.outputs.as_slice() {
        return two_outputs(header, [first, second], inputs);
    }
    let [output] = header.outputs.as_slice() else {
        return refuse(format!("it has {} outputs that are those of no known head", header.outputs.len()));
    };
    if !is_float(output) {
        return refuse(format!("its output is {}, not floating-point numbers", output.element.describe()));
    }
    if let Some(guess) = listed_by_picture(output, inputs)? {
        return Ok(guess);
    }
    let shape = Shape::read(output, inputs)?;
    if let Some(guess) = bare_v5(output, &shape, metadata) {
        return Ok(guess);
    }
    match metadata.task {
        Some(_) => with_task(&shape, output, metadata),
        None => without_task(header, inputs, &shape, metadata),
    }
}

/// The family is given; what is left is to find its outputs and to count its classes.
pub fn as_told(header: &Header, inputs: &Inputs, toml: &ModelToml, family: HeadFamily) -> Result<Guess, Refusal> {
    // First of all: each of them is looked for among those of the graph.
    check_count(family, toml.outputs.as_ref().map_or(header.outputs.len(), Vec::len))?;
    let outputs = match &toml.outputs {
        Some(names) => names.clone(),
        None => header.outputs.iter().map(|output| output.name.clone()).collect(),
    };
    let find = |name: &String| header.outputs.iter().find(|output| output.name == *name);
    let Some(found) = outputs.iter().map(find).collect::<Option<Vec<&Value>>>() else {
        return refuse("model.toml names an output that is not there");
    };
    let counted = count_classes(family, &found).or_else(|| toml.classes.as_ref().map(|classes| classes.names().len()));
    let classes = match counted {
        Some(count) => Classes::Counted(count),
        None if lists_detections(family) => Classes::Listed,
        None => return refuse("its number of classes is open; list `classes` in model.toml"),
    };
    match family {
        HeadFamily::Paddle => super::by_names::ask_paddle(inputs, toml)?,
        HeadFamily::DetrSigmoid => super::by_names::ask_detr(inputs, toml, "it is told to be a DETR with sigmoids")?,
        _ => (),
    }
    Ok(one(family, &found, classes, preprocessing_of(family), "model.toml says what head it has".to_owned()))
}

fn check_count(family: HeadFamily, outputs: usize) -> Result<(), Refusal> {
    let fits = match family {
        HeadFamily::NmsOutputs | HeadFamily::TfDetection => outputs == 4,
        HeadFamily::RtDetr | HeadFamily::Torchvision => outputs == 3,
        HeadFamily::DamoYolo | HeadFamily::Paddle | HeadFamily::DetrSigmoid | HeadFamily::DetrSoftmax => outputs == 2,
        HeadFamily::Nanodet => outputs == 6 || outputs == 8,
        _ => outputs == 1,
    };
    if fits {
        Ok(())
    } else {
        refuse(format!("a {family:?} head does not read {outputs} outputs; list them in `outputs`"))
    }
}

fn lists_detections(family: HeadFamily) -> bool {
    matches!(
        family,
        HeadFamily::EndToEnd
            | HeadFamily::RtDetrListed
            | HeadFamily::V7EndToEnd
            | HeadFamily::YoloNasFlat
            | HeadFamily::NmsOutputs
            | HeadFamily::Paddle
            | HeadFamily::RtDetr
            | HeadFamily::Torchvision
            | HeadFamily::TfDetection
    )
}

/// Where a shape has the classes, and how many dimensions of it are not classes.
fn count_classes(family: HeadFamily, outputs: &[&Value]) -> Option<usize> {
    let size = |output: usize, from_end: usize| {
        let shape = outputs.get(output)?.shape.as_ref()?;
        Some(shape.get(shape.len().checked_sub(from_end)?)?.fixed()? as usize)
    };
    match family {
        HeadFamily::Yolox | HeadFamily::YoloxDecoded | HeadFamily::V5 | HeadFamily::V6 => size(0, 1)?.checked_sub(5),
        HeadFamily::V8 => size(0, 2)?.checked_sub(4),
        HeadFamily::UltralyticsRtDetr => size(0, 1)?.checked_sub(4),
        HeadFamily::NanodetPlus => size(0, 1)?.checked_sub(32),
        HeadFamily::DamoYolo | HeadFamily::Nanodet => size(0, 1),
        HeadFamily::DetrSigmoid => size(1, 1),
        HeadFamily::DetrSoftmax => size(1, 1)?.checked_sub(1),
        _ => None,
    }
}

fn preprocessing_of(family: HeadFamily) -> Preprocessing {
    match family {
        HeadFamily::Yolox | HeadFamily::YoloxDecoded => Preprocessing::YOLOX,
        HeadFamily::DamoYolo => super::by_names::DAMO_YOLO,
        HeadFamily::NanodetPlus | HeadFamily::Nanodet => Preprocessing::NANODET,
        HeadFamily::DetrSoftmax => Preprocessing::IMAGENET,
        HeadFamily::RtDetr
        | HeadFamily::RtDetrListed
        | HeadFamily::UltralyticsRtDetr
        | HeadFamily::DetrSigmoid
        | HeadFamily::Paddle => Preprocessing::STRETCHED,
        HeadFamily::TfDetection => Preprocessing::RGB_BYTES,
        _ => Preprocessing::ULTRALYTICS,
    }
}

/// A guess with the usual sides.
fn one(
    family: HeadFamily,
    outputs: &[&Value],
    classes: Classes,
    preprocessing: Preprocessing,
    reason: String,
) -> Guess {
    Guess {
        family,
        outputs: outputs.iter().map(|output| output.name.clone()).collect(),
        classes,
        preprocessing,
        stride: match family {
            HeadFamily::TfDetection | HeadFamily::Torchvision => 1,
            _ => 32,
        },
        image_size: 640,
        reason,
    }
}

/// Scores and boxes of every place, as DAMO-YOLO gives them. Others give such, too, and are filled in other ways; its mark
/// is how it begins.
fn two_outputs(header: &Header, [scores, boxes]: [&Value; 2], inputs: &Inputs) -> Result<Guess, Refusal> {
    let unknown = "its two outputs are those of no known head";
    let (Ok(score_shape), Ok(box_shape)) = (Shape::read(scores, inputs), Shape::read(boxes, inputs)) else {
        return refuse(unknown);
    };
    let fits = inputs.is_fixed()
        && is_float(scores)
        && is_float(boxes)
        && box_shape.columns == Some(4)
        && score_shape.rows == box_shape.rows
        && score_shape.is_places(score_shape.rows, 1);
    // Boxes with four classes could be either way around.
    let Some(classes) = score_shape.columns.filter(|&classes| fits && classes != 4) else {
        return refuse(unknown);
    };
    let shapes = format!("{} and {}", score_shape.show(), box_shape.show());
    if !super::by_names::has_focus(header, inputs) {
        return refuse(format!(
            "its outputs {shapes} have the shapes of DAMO-YOLO's, but it does not begin as that does, which moves \
             neighbouring pixels into channels"
        ));
    }
    let reason = format!("{shapes} have one place for each cell, and neighbouring pixels become channels: DAMO-YOLO");
    let classes = Classes::Counted(classes);
    Ok(one(HeadFamily::DamoYolo, &[scores, boxes], classes, super::by_names::DAMO_YOLO, reason))
}

/// `[N, 7]`: score and class are the other way around in v7, and YOLO-NAS's exporter gives its output a name.
fn listed_by_picture(output: &Value, inputs: &Inputs) -> Result<Option<Guess>, Refusal> {
    let Some([_, columns]) = output.shape.as_deref() else { return Ok(None) };
    if columns.fixed() != Some(7) {
        return Ok(None);
    }
    let is_nas = output.name.contains("flat_predictions");
    let (family, what) = match inputs.picture.element {
        _ if is_nas => (HeadFamily::YoloNasFlat, "YOLO-NAS in its flat format"),
        InputElement::U8 => {
            return refuse(
                "its output [N,7] could have class and score (v7) or score and class (YOLO-NAS) at the end: set `head` to \
                 \"v7-end-to-end\" or \"yolo-nas-flat\"",
            );
        }
        _ => (HeadFamily::V7EndToEnd, "v7 end to end"),
    };
    let reason = format!("[N,7]: {what}");
    Ok(Some(one(family, &[output], Classes::Listed, preprocessing_of(family), reason)))
}

/// An output's last two dimensions, and how many places the input's size has.
struct Shape {
    rows: Option<usize>,
    columns: Option<usize>,
    /// For each set of strides; all `None` where the input's size is open.
    places: [Option<usize>; 3],
}

impl Shape {
    fn read(output: &Value, inputs: &Inputs) -> Result<Self, Refusal> {
        let Some([_, rows, columns]) = output.shape.as_deref() else {
            return refuse("its output has not three dimensions");
        };
        let [rows, columns] = [rows, columns].map(|dimension| dimension.fixed().map(|size| size as usize));
        let places = match (inputs.picture.height, inputs.picture.width) {
            (Some(height), Some(width)) => {
                let model = Size { width: width as usize, height: height as usize };
                LEVELS.map(|levels| places(model, levels))
            }
            _ => [None; 3],
        };
        Ok(Self { rows, columns, places })
    }

    /// Whether a dimension can be the places of a detector that looks `per_cell` times at each cell. An open
    /// dimension can; a fixed one only for an input of fixed size. The first run settles what is open.
    fn is_places(&self, dimension: Option<usize>, per_cell: usize) -> bool {
        dimension.is_none_or(|count| self.places.iter().flatten().any(|places| per_cell * places == count))
    }

    fn show(&self) -> String {
        let show = |size: Option<usize>| size.map_or_else(|| "?".to_owned(), |size| size.to_string());
        format!("[B,{},{}]", show(self.rows), show(self.columns))
    }
}

/// Ultralytics' own exports: the metadata says what the model does.
fn with_task(shape: &Shape, output: &Value, metadata: &Metadata) -> Result<Guess, Refusal> {
    if let Some(maker) = &metadata.other_maker {
        return refuse(format!("its metadata is that of {maker}, whose ways of filling the input are not known"));
    }
    let Some(names) = &metadata.names else {
        return refuse("its metadata has a task but no `names`");
    };
    let classes = names.len();
    let said = |family, preprocessing, what: &str| {
        let reason = format!("metadata says task `detect`, and {} is {what}", shape.show());
        Ok(one(family, &[output], Classes::Counted(classes), preprocessing, reason))
    };
    if metadata.is_rt_detr {
        // The newest exporters pick the best themselves. With two classes both have six columns.
        return match shape.columns {
            Some(6) if classes == 2 => refuse(
                "an RT-DETR with two classes: say which head it has, \"rt-detr-listed\" or \"ultralytics-rt-detr\"",
            ),
            Some(6) => {
                said(HeadFamily::RtDetrListed, Preprocessing::STRETCHED, "centre, size, score and class: RT-DETR")
            }
            Some(columns) if columns == 4 + classes => {
                said(HeadFamily::UltralyticsRtDetr, Preprocessing::STRETCHED, "centre, size and class scores: RT-DETR")
            }
            _ => refuse(format!("its metadata says RT-DETR, but its output {} is no such head", shape.show())),
        };
    }
    if shape.rows == Some(4 + classes) && shape.is_places(shape.columns, 1) {
        return said(HeadFamily::V8, Preprocessing::ULTRALYTICS, &format!("[B,4+{classes},places]"));
    }
    if shape.columns == Some(6) {
        return said(HeadFamily::EndToEnd, Preprocessing::ULTRALYTICS, "corners, score and class");
    }
    refuse(format!(
        "its metadata says task `detect` with {classes} classes, but its output {} is no such head",
        shape.show()
    ))
}

/// Everybody else's exports: shapes and the graph.
fn without_task(header: &Header, inputs: &Inputs, shape: &Shape, metadata: &Metadata) -> Result<Guess, Refusal> {
    let Some(output) = header.outputs.first() else { return refuse("it has no output") };
    let found = with_objectness(header, output, shape, metadata)
        .or_else(|| nanodet_plus(output, shape, inputs))
        .or_else(|| channels_first(header, output, shape, metadata));
    match found {
        Some(guess) => Ok(guess),
        None => refuse(format!("its output {} fits no known head for its input", shape.show())),
    }
}

/// v5's own exporter leaves everything open and writes `stride` and `names`, and no task. Anything else that does so
/// fails in its first run.
fn bare_v5(output: &Value, shape: &Shape, metadata: &Metadata) -> Option<Guess> {
    let names = metadata.names.as_ref().filter(|_| metadata.task.is_none() && metadata.stride.is_some())?;
    (shape.rows.is_none() && shape.columns.is_none()).then(|| {
        let reason = format!("{} with `names` and `stride`, and no `task`, in the metadata: v5", shape.show());
        one(HeadFamily::V5, &[output], Classes::Counted(names.len()), Preprocessing::ULTRALYTICS, reason)
    })
}

fn with_objectness(header: &Header, output: &Value, shape: &Shape, metadata: &Metadata) -> Option<Guess> {
    let classes = shape.columns.filter(|&columns| columns > 5)? - 5;
    let seen = |family, preprocessing, what: &str| {
        let reason = format!("{} has {what}", shape.show());
        Some(one(family, &[output], Classes::Counted(classes), preprocessing, reason))
    };
    // Three boxes a cell first: where the places are open, only YOLOX's graph tells the two apart.
    if shape.rows.is_some() && shape.is_places(shape.rows, 3) {
        return seen(HeadFamily::V5, Preprocessing::ULTRALYTICS, "three places for each cell: v5 or v7");
    }
    if !shape.is_places(shape.rows, 1) {
        return None;
    }
    if is_raw_yolox(header, output) {
        let what = "one place for each cell and is put together from Conv and Sigmoid only: raw YOLOX";
        return seen(HeadFamily::Yolox, Preprocessing::YOLOX, what);
    }
    let joined = header.joined_by(&output.name);
    if joined.len() == 3 && joined.iter().any(|part| header.is_constant(part)) {
        return seen(
            HeadFamily::V6,
            Preprocessing::ULTRALYTICS,
            "one place for each cell and a constant objectness: v6",
        );
    }
    if joined.len() == 3 && joined.iter().any(|part| header.is_exponential(part)) {
        let what = "one place for each cell and sizes that were exponents: YOLOX, decoded in the graph";
        return seen(HeadFamily::YoloxDecoded, Preprocessing::YOLOX, what);
    }
    if shape.rows.is_none() && metadata.names.as_ref().is_some_and(|names| names.len() == classes) {
        return seen(
            HeadFamily::V5,
            Preprocessing::ULTRALYTICS,
            "names in the metadata and places before 5 + classes: v5",
        );
    }
    None
}

/// Class scores and four distributions over eight distances, for strides of 8 to 64.
fn nanodet_plus(output: &Value, shape: &Shape, inputs: &Inputs) -> Option<Guess> {
    let classes = shape.columns?.checked_sub(32).filter(|&classes| classes > 0)?;
    let model = Size { width: inputs.picture.width? as usize, height: inputs.picture.height? as usize };
    (shape.rows == Some(nanodet_plus_cells(model))).then(|| {
        let reason = format!("{} has a place for each cell of strides 8 to 64: NanoDet-Plus", shape.show());
        one(HeadFamily::NanodetPlus, &[output], Classes::Counted(classes), Preprocessing::NANODET, reason)
    })
}

fn channels_first(header: &Header, output: &Value, shape: &Shape, metadata: &Metadata) -> Option<Guess> {
    let classes = shape.rows.filter(|&rows| rows > 4 && shape.columns != Some(6))? - 4;
    let known_places = shape.columns.is_some() || metadata.names.is_some();
    (known_places && shape.is_places(shape.columns, 1) && is_boxes_and_scores(header, output)).then(|| {
        let reason = format!(
            "{} has channels before places and joins boxes with sigmoid scores: v8 or newer, RGB 0 to 1 assumed",
            shape.show()
        );
        one(HeadFamily::V8, &[output], Classes::Counted(classes), Preprocessing::ULTRALYTICS, reason)
    })
}

/// Whether boxes come straight from convolutions and scores from sigmoids, and nothing else is in the output.
fn is_raw_yolox(header: &Header, output: &Value) -> bool {
    let sources = header.sources_of(&output.name);
    let count = |op_type: &str| sources.iter().filter(|source| **source == op_type).count();
    // Three levels: a convolution for boxes, a sigmoid each for objectness and classes.
    count("Conv") == 3 && count("Sigmoid") == 6 && sources.len() == 9
}

/// Whether the output joins exactly two tensors of which one is sigmoid scores. Keypoints, masks and angles are more.
fn is_boxes_and_scores(header: &Header, output: &Value) -> bool {
    let sources = header.sources_of(&output.name);
    sources.len() == 2 && sources.iter().filter(|source| **source == "Sigmoid").count() == 1
}
