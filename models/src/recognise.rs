//! Telling from an ONNX file's header what kind of detector it is, or refusing.
//!
//! ```text
//! model.toml ─► metadata (task, names, stride) ─► inputs ─► outputs' names ─► shapes ─► the graph ─► Manifest
//! ```
//!
//! Conventions were read in the exporters' sources and in exported graphs. Families whose shapes are the same are told
//! apart by the graph: YOLOX's raw output is put together from `Conv` (boxes) and `Sigmoid` (scores) alone, while v6's
//! holds boxes that were scaled already and a constant objectness.

mod by_names;
mod by_shapes;
pub(crate) mod class_names;
mod inputs;
mod metadata;

use crate::{
    manifest::{HeadFamily, InputElement, Manifest, Preprocessing},
    model_toml::ModelToml,
    onnx::{Element, Header, Value},
};
use inputs::Inputs;
use metadata::Metadata;

/// Why a model is not used, and what its owner can do.
#[derive(Debug)]
pub struct Refusal {
    pub problem: String,
    pub remedy: String,
}

const KNOWN: &str = "say what it is in a model.toml beside it (`framefleet models check` prints one to start from)";

fn refuse<T>(problem: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { problem: problem.into(), remedy: KNOWN.to_owned() })
}

fn refuse_with<T>(problem: impl Into<String>, remedy: &str) -> Result<T, Refusal> {
    Err(Refusal { problem: problem.into(), remedy: remedy.to_owned() })
}

/// The largest input side that is believed: 8K.
const LARGEST_SIDE: u32 = 8192;
/// The largest fixed batch: all of it is computed for each frame.
const LARGEST_BATCH: u32 = 64;
/// More classes than any detector has.
pub(crate) const MOST_CLASSES: usize = 65_536;

/// What a model was taken for.
struct Guess {
    family: HeadFamily,
    /// The outputs in the order in which the head reads them.
    outputs: Vec<String>,
    classes: Classes,
    preprocessing: Preprocessing,
    stride: u32,
    /// The long side of the input where neither the model nor its metadata says.
    image_size: u32,
    reason: String,
}

/// How many classes a model tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Classes {
    /// As the head's shape says.
    Counted(usize),
    /// A head that lists detections does not tell; classes are numbered by ids below this.
    Listed,
}

/// The ids that a head may give which lists detections and whose model names no classes.
const LISTED_CLASSES: usize = 1024;

/// Says what the model is, or why it cannot be said.
pub fn recognise(header: &Header, toml: &ModelToml) -> Result<Manifest, Refusal> {
    let metadata = Metadata::read(header)?;
    let inputs = Inputs::read(header)?;
    let guess = match toml.head {
        Some(family) => by_shapes::as_told(header, &inputs, toml, family)?,
        None => guess(header, &inputs, &metadata, toml)?,
    };
    let (classes, names) = class_names(&guess, &metadata, toml)?;
    let stride = toml.stride.or(metadata.stride).unwrap_or(guess.stride);
    let image_size = toml.image_size.or(metadata.image_size).unwrap_or(guess.image_size);
    let (preprocessing, bytes) = filling(&guess, &inputs, toml)?;
    let reason = format!("{}{bytes}; {names}{}", guess.reason, toml.reason());
    let usual = Manifest::new(guess.family, inputs.picture, preprocessing);
    let manifest = Manifest {
        classes,
        side_inputs: inputs.sides,
        outputs: guess.outputs,
        stride,
        image_size: image_size.next_multiple_of(stride),
        warm_up: toml.warm_up.unwrap_or(usual.warm_up),
        defaults: toml.defaults(),
        reason,
        ..usual
    };
    check_sides(&manifest)?;
    Ok(manifest)
}

fn guess(header: &Header, inputs: &Inputs, metadata: &Metadata, toml: &ModelToml) -> Result<Guess, Refusal> {
    if toml.outputs.is_some() {
        let problem = "its model.toml names outputs, and not the head that reads them";
        return refuse_with(problem, "say `head` too, or leave `outputs` out");
    }
    if let Some(task) = metadata.task.as_deref().filter(|task| *task != "detect") {
        let problem = format!("its metadata says its task is {task:?}");
        return refuse_with(problem, "use a model exported for the task `detect`");
    }
    match by_names::guess(header, inputs, toml)? {
        Some(guess) => Ok(guess),
        None => by_shapes::guess(header, inputs, metadata),
    }
}

/// How the input is filled, and what there is to say about it. Whatever the family, an input of bytes can only hold the
/// picture's own: a graph that has one normalises by itself.
fn filling(guess: &Guess, inputs: &Inputs, toml: &ModelToml) -> Result<(Preprocessing, &'static str), Refusal> {
    if inputs.picture.element != InputElement::U8 {
        return Ok((toml.preprocessing(guess.preprocessing), ""));
    }
    let preprocessing = toml.preprocessing(guess.preprocessing.as_bytes());
    let [low, high] = preprocessing.range();
    if low < -0.5 || high > 255.5 || high - low < LEAST_RANGE_OF_BYTES {
        return refuse_with(
            format!(
                "its input is bytes, but `scale`, `mean` and `std` in model.toml make {low:.3} to {high:.3} of 0 to 255"
            ),
            "leave the three out, since a graph that takes bytes scales and normalises them itself, or export it with an \
             input of f32",
        );
    }
    Ok((preprocessing, "; its input is bytes, which are filled in as they are: the graph does the rest"))
}

/// Whether nobody says how an input is normalised, where the file does not tell. Bytes are not normalised.
fn is_normalisation_unsaid(inputs: &Inputs, toml: &ModelToml) -> bool {
    inputs.picture.element != InputElement::U8 && !toml.says_mean_and_std()
}

/// What 0 to 255 becomes at least in bytes; less is a picture of a few greys.
const LEAST_RANGE_OF_BYTES: f64 = 64.0;

fn check_sides(manifest: &Manifest) -> Result<(), Refusal> {
    let input = &manifest.input;
    for side in [input.height, input.width].into_iter().flatten() {
        if side > LARGEST_SIDE || !side.is_multiple_of(manifest.stride) {
            return refuse(format!(
                "its input side of {side} is no multiple of {} up to {LARGEST_SIDE}",
                manifest.stride
            ));
        }
    }
    match input.batch {
        Some(batch) if batch > LARGEST_BATCH => {
            refuse(format!("its batch is fixed to {batch}; at most {LARGEST_BATCH} is supported"))
        }
        _ => Ok(()),
    }
}

/// An output's numbers can be read, whatever their type.
fn is_number(output: &Value) -> bool {
    !matches!(output.element, Element::Other(_))
}

/// Whether an output's elements are floating-point numbers.
fn is_float(output: &Value) -> bool {
    matches!(output.element, Element::F32 | Element::F16 | Element::F64)
}

/// The names by class id, and where they are from.
fn class_names(guess: &Guess, metadata: &Metadata, toml: &ModelToml) -> Result<(Vec<String>, String), Refusal> {
    if let Classes::Counted(count) = guess.classes
        && !(1..=MOST_CLASSES).contains(&count)
    {
        return refuse(format!("it tells {count} classes apart; 1 to {MOST_CLASSES} are supported"));
    }
    let (names, from) = match (&toml.classes, &metadata.names) {
        (Some(classes), _) => (classes.names(), "model.toml"),
        (None, Some(names)) => (names.clone(), "the metadata"),
        (None, None) => return Ok(unnamed(guess.classes)),
    };
    match guess.classes {
        Classes::Counted(count) if names.len() != count => {
            refuse(format!("{from} names {} classes, but its {:?} head has {count}", names.len(), guess.family))
        }
        _ => Ok((names, format!("class names from {from}"))),
    }
}

fn unnamed(classes: Classes) -> (Vec<String>, String) {
    let numbered = |count: usize| (0..count).map(|class_id| format!("class{class_id}")).collect();
    match classes {
        Classes::Counted(count) if count == class_names::COCO_CLASSES => {
            (class_names::coco(), "80 classes without names are taken for COCO's".to_owned())
        }
        Classes::Counted(count) => (numbered(count), format!("{count} classes without names")),
        Classes::Listed => (
            numbered(LISTED_CLASSES),
            "it does not say how its classes are called: they are numbered, and `classes` in a model.toml names them"
                .to_owned(),
        ),
    }
}
