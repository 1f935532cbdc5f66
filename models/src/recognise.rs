//! Telling from an ONNX file's header what kind of detector it is, or refusing.
//!
//! ```text
//! metadata (task, names, stride) ─► inputs ─► outputs ─► shapes ─► what the output is put together from ─► Manifest
//! ```
//!
//! Conventions were read in the exporters' sources and in exported graphs. Two families whose shapes are the same are
//! told apart by the graph: YOLOX's raw output is put together from `Conv` (boxes) and `Sigmoid` (scores) alone, while
//! v6's holds boxes that were scaled already and a constant objectness.

mod class_names;

use crate::{
    heads::{LEVELS, places},
    letterbox::Size,
    manifest::{Defaults, HeadFamily, InputElement, InputTensor, Layout, Manifest, Preprocessing},
    onnx::{Dimension, Element, Header, Value},
};

/// Why a model is not used, and what its owner can do.
#[derive(Debug)]
pub struct Refusal {
    pub problem: String,
    pub remedy: String,
}

const KNOWN: &str =
    "export it as YOLOX (raw), Ultralytics v8 or newer, v5 or v7, or end-to-end with Ultralytics' metadata";

fn refuse<T>(problem: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { problem: problem.into(), remedy: KNOWN.to_owned() })
}

fn refuse_with<T>(problem: impl Into<String>, remedy: &str) -> Result<T, Refusal> {
    Err(Refusal { problem: problem.into(), remedy: remedy.to_owned() })
}

/// The long side of the input where neither the model nor its metadata says.
const IMAGE_SIZE: u32 = 640;
/// The largest input side that is believed: 8K.
const LARGEST_SIDE: u32 = 8192;

/// Says what the model is, or why it cannot be said.
pub fn recognise(header: &Header) -> Result<Manifest, Refusal> {
    let metadata = Metadata::read(header)?;
    let input = input(&header.inputs)?;
    let output = only_output(&header.outputs)?;
    let shape = Shape::read(output, &input)?;
    let guess = match metadata.task.as_deref() {
        Some(_) => with_task(&shape, &metadata)?,
        None => without_task(header, output, &shape, &metadata)?,
    };
    let (classes, names) = class_names(guess.classes, &metadata, guess.family)?;
    let preprocessing = match guess.family {
        HeadFamily::Yolox => Preprocessing::YOLOX,
        _ => Preprocessing::ULTRALYTICS,
    };
    let stride = metadata.stride.unwrap_or(32);
    check_sides(&input, stride)?;
    Ok(Manifest {
        head: guess.family,
        classes,
        input,
        side_inputs: Vec::new(),
        outputs: vec![output.name.clone()],
        stride,
        image_size: metadata.image_size.unwrap_or(IMAGE_SIZE).next_multiple_of(stride),
        preprocessing,
        defaults: Defaults::default(),
        reason: format!("{}; {names}", guess.reason),
    })
}

struct Guess {
    family: HeadFamily,
    classes: usize,
    reason: String,
}

/// What Ultralytics' exporters write beside the graph; each value is a Python `repr`.
struct Metadata {
    task: Option<String>,
    stride: Option<u32>,
    image_size: Option<u32>,
    names: Option<Vec<String>>,
}

impl Metadata {
    fn read(header: &Header) -> Result<Self, Refusal> {
        let text = |key: &str| header.metadata.get(key).map(|value| value.trim());
        let names = match text("names") {
            None => None,
            Some(names) => match class_names::parse(names) {
                Ok(names) => Some(names),
                Err(problem) => return refuse(format!("its metadata `names` cannot be read: {problem}")),
            },
        };
        let stride = match text("stride") {
            None => None,
            Some(stride) => match stride.trim_end_matches(".0").parse() {
                Ok(stride @ (8 | 16 | 32 | 64 | 128)) => Some(stride),
                _ => return refuse(format!("its metadata `stride` is {stride:?}, not 8 to 128")),
            },
        };
        let sides = text("imgsz").map(|sides| {
            sides.trim_matches(['[', ']', '(', ')']).split(',').filter_map(|side| side.trim().parse().ok()).max()
        });
        let image_size = match sides {
            None => None,
            Some(Some(side @ 1..=LARGEST_SIDE)) => Some(side),
            Some(_) => return refuse("its metadata `imgsz` is no size of a picture"),
        };
        if let Some(channels) = text("channels").filter(|channels| *channels != "3") {
            return refuse(format!("its metadata says {channels} channels; only colour pictures are supported"));
        }
        Ok(Self { task: text("task").map(str::to_owned), stride, image_size, names })
    }
}

fn input(inputs: &[Value]) -> Result<InputTensor, Refusal> {
    let [input] = inputs else {
        return refuse(format!("it wants {} inputs, where a supported detector has one", inputs.len()));
    };
    if input.element != Element::F32 {
        let problem = format!("its input is {}", input.element.describe());
        return refuse_with(problem, "export it with an f32 input (without half precision or quantised inputs)");
    }
    let Some([batch, channels, height, width]) = input.shape.as_deref() else {
        return refuse("its input has not four dimensions");
    };
    // Some exporters leave the number of channels open too.
    if channels.fixed().is_some_and(|channels| channels != 3) {
        return refuse("its input has not three colour channels in the second place (NCHW)");
    }
    let [batch, height, width] = [batch, height, width].map(Dimension::fixed);
    Ok(InputTensor { name: input.name.clone(), element: InputElement::F32, layout: Layout::Nchw, batch, height, width })
}

fn check_sides(input: &InputTensor, stride: u32) -> Result<(), Refusal> {
    for side in [input.height, input.width].into_iter().flatten() {
        if side > LARGEST_SIDE || !side.is_multiple_of(stride) {
            return refuse(format!("its input side of {side} is no multiple of {stride} up to {LARGEST_SIDE}"));
        }
    }
    match input.batch {
        Some(batch) if batch > 64 => refuse(format!("its batch is fixed to {batch}; at most 64 is supported")),
        _ => Ok(()),
    }
}

fn only_output(outputs: &[Value]) -> Result<&Value, Refusal> {
    let [output] = outputs else {
        let names: Vec<_> = outputs.iter().map(|output| output.name.as_str()).collect();
        return match names.as_slice() {
            ["num_dets", ..] => refuse("its outputs are those of an export with a plugin for suppression"),
            names if names.iter().any(|name| name.starts_with("cls_pred")) => {
                refuse("its outputs look like NanoDet's, which is not supported yet")
            }
            _ => refuse(format!("it has {} outputs, where a supported detector has one", outputs.len())),
        };
    };
    if output.element != Element::F32 {
        return refuse(format!("its output is {}, not f32", output.element.describe()));
    }
    Ok(output)
}

/// The output's last two dimensions, and how many places the input's size has.
struct Shape {
    rows: Option<usize>,
    columns: Option<usize>,
    /// For each set of strides; all `None` where the input's size is open.
    places: [Option<usize>; 3],
}

impl Shape {
    fn read(output: &Value, input: &InputTensor) -> Result<Self, Refusal> {
        let Some([_, rows, columns]) = output.shape.as_deref() else {
            return refuse("its output has not three dimensions");
        };
        let [rows, columns] = [rows, columns].map(|dimension| dimension.fixed().map(|size| size as usize));
        let places = match (input.height, input.width) {
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
fn with_task(shape: &Shape, metadata: &Metadata) -> Result<Guess, Refusal> {
    let task = metadata.task.as_deref().unwrap_or_default();
    if task != "detect" {
        return refuse_with(
            format!("its metadata says its task is {task:?}"),
            "use a model exported for the task `detect`",
        );
    }
    let Some(names) = &metadata.names else {
        return refuse("its metadata has a task but no `names`");
    };
    let classes = names.len();
    if shape.rows == Some(4 + classes) && shape.is_places(shape.columns, 1) {
        let reason = format!("metadata says task `detect`, and {} is [B,4+{classes},places]", shape.show());
        return Ok(Guess { family: HeadFamily::V8, classes, reason });
    }
    if shape.columns == Some(6) {
        let reason = format!("metadata says task `detect`, and {} is corners, score and class", shape.show());
        return Ok(Guess { family: HeadFamily::EndToEnd, classes, reason });
    }
    refuse(format!(
        "its metadata says task `detect` with {classes} classes, but its output {} is no such head",
        shape.show()
    ))
}

/// Everybody else's exports: shapes and the graph.
fn without_task(header: &Header, output: &Value, shape: &Shape, metadata: &Metadata) -> Result<Guess, Refusal> {
    if let Some(channels) = shape.columns.filter(|&columns| columns > 5) {
        let classes = channels - 5;
        // Three boxes a cell first: where the places are open, only YOLOX's graph tells the two apart.
        if shape.rows.is_some() && shape.is_places(shape.rows, 3) {
            let reason = format!("{} has three places for each cell: v5 or v7", shape.show());
            return Ok(Guess { family: HeadFamily::V5, classes, reason });
        }
        if shape.is_places(shape.rows, 1) && output.name != "outputs" {
            if is_raw_yolox(header, output) {
                let reason = format!(
                    "{} has one place for each cell and is put together from Conv and Sigmoid only: raw YOLOX",
                    shape.show()
                );
                return Ok(Guess { family: HeadFamily::Yolox, classes, reason });
            }
            if shape.rows.is_none() && metadata.names.as_ref().is_some_and(|names| names.len() == classes) {
                let reason = format!("{} is [B,places,5+{classes}] with names in the metadata: v5", shape.show());
                return Ok(Guess { family: HeadFamily::V5, classes, reason });
            }
        }
        if shape.is_places(shape.rows, 1) {
            return refuse_with(
                format!(
                    "its output {} is YOLOX's or v6's, but not put together from Conv and Sigmoid alone: v6, and YOLOX decoded in the graph, are not supported yet",
                    shape.show()
                ),
                "export YOLOX without --decode_in_inference, or use another detector",
            );
        }
    }
    if let Some(channels) = shape.rows.filter(|&rows| rows > 4 && shape.columns != Some(6)) {
        let known_places = shape.columns.is_some() || metadata.names.is_some();
        if known_places && shape.is_places(shape.columns, 1) && is_boxes_and_scores(header, output) {
            let reason = format!(
                "{} has channels before places and joins boxes with sigmoid scores: v8 or newer, RGB 0 to 1 assumed",
                shape.show()
            );
            return Ok(Guess { family: HeadFamily::V8, classes: channels - 4, reason });
        }
    }
    refuse(format!("its output {} fits no known head for its input", shape.show()))
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

/// The names by class id, and where they are from.
fn class_names(classes: usize, metadata: &Metadata, family: HeadFamily) -> Result<(Vec<String>, String), Refusal> {
    match &metadata.names {
        Some(names) if names.len() == classes => Ok((names.clone(), "class names from the metadata".to_owned())),
        Some(names) => {
            refuse(format!("its metadata names {} classes, but its {family:?} head has {classes}", names.len()))
        }
        None if classes == class_names::COCO.len() => Ok((
            class_names::COCO.iter().map(|name| (*name).to_owned()).collect(),
            "80 classes without names are taken for COCO's".to_owned(),
        )),
        None => Ok((
            (0..classes).map(|class_id| format!("class{class_id}")).collect(),
            format!("{classes} classes without names"),
        )),
    }
}
