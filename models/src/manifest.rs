//! What is known about a model: how its input wants to be filled and how its output is to be read.

use serde::Serialize;

/// The resolved description of a detector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Manifest {
    pub head: HeadFamily,
    /// Names by class id.
    pub classes: Vec<String>,
    pub input: InputTensor,
    /// The name of the output that holds the head.
    pub output: String,
    /// Height and width of the input are multiples of this.
    pub stride: u32,
    /// The long side of the input in pixels, where the model leaves it open.
    pub image_size: u32,
    pub preprocessing: Preprocessing,
    /// Why the model was taken for this, in words.
    pub reason: String,
}

/// How a detector lays out its output. `A` is the number of places it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadFamily {
    /// [B, A, 5 + classes]: boxes as offsets and logarithms on a grid, objectness, class scores.
    Yolox,
    /// [B, 4 + classes, A]: boxes as centre and size in pixels, class scores. Ultralytics v8, v9, 11, 12.
    V8,
    /// [B, A, 5 + classes]: boxes as centre and size in pixels, objectness, class scores. v5 and v7.
    V5,
    /// [B, D, 6]: corners in pixels, score, class; duplicates are already gone.
    EndToEnd,
}

/// The input, f32 in NCHW with three channels. `None` is a dimension that the model leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputTensor {
    pub name: String,
    pub batch: Option<u32>,
    pub height: Option<u32>,
    pub width: Option<u32>,
}

/// How a picture becomes the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Preprocessing {
    pub colour: ColourOrder,
    pub values: ValueRange,
    pub placement: Placement,
    pub rounding: Rounding,
    /// The grey around the picture, 0 to 255 before scaling.
    pub pad: u8,
}

impl Preprocessing {
    /// As Megvii's YOLOX demo fills its input.
    pub const YOLOX: Self = Self {
        colour: ColourOrder::Bgr,
        values: ValueRange::Bytes,
        placement: Placement::TopLeft,
        rounding: Rounding::Truncate,
        pad: 114,
    };

    /// As Ultralytics' predictors, and v5 and v7 before them, fill theirs.
    pub const ULTRALYTICS: Self = Self {
        colour: ColourOrder::Rgb,
        values: ValueRange::Unit,
        placement: Placement::Centred,
        rounding: Rounding::Nearest,
        pad: 114,
    };
}

/// Which colour the first channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColourOrder {
    Rgb,
    Bgr,
}

/// What white is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ValueRange {
    /// 255.
    Bytes,
    /// 1.
    Unit,
}

/// Where the picture lies in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    TopLeft,
    Centred,
}

/// How the scaled picture's size becomes whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    Truncate,
    /// Ties to even, as Python rounds.
    Nearest,
}
