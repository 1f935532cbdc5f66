//! What is known about a model: how its inputs want to be filled and how its outputs are to be read.

use framefleet_contract::tracker_settings::ByteTrackSettings;
use serde::{Deserialize, Serialize};

/// The resolved description of a detector: what was recognised, and what its `model.toml` says instead.
///
/// Stored beside the model's bytes when work is planned with it, so that whoever does the work reads it from there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub head: HeadFamily,
    /// Names by class id, as the model numbers its classes.
    pub classes: Vec<String>,
    pub input: InputTensor,
    /// Inputs beside the picture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub side_inputs: Vec<SideInput>,
    /// The names of the outputs that the head reads, in the order that [`HeadFamily`] gives.
    pub outputs: Vec<String>,
    /// Height and width of the input are multiples of this.
    pub stride: u32,
    /// The long side of the input in pixels, where the model leaves it open.
    pub image_size: u32,
    /// Width and height in pixels of the picture that the model is tried and warmed up with.
    #[serde(default = "usual_picture")]
    pub warm_up: [u32; 2],
    pub preprocessing: Preprocessing,
    /// What counts for a job that does not say otherwise.
    pub defaults: Defaults,
    /// Why the model was taken for this, in words.
    pub reason: String,
}

impl Manifest {
    /// A detector without classes or outputs yet, with the usual values for the rest.
    pub fn new(head: HeadFamily, input: InputTensor, preprocessing: Preprocessing) -> Self {
        Self {
            head,
            classes: Vec::new(),
            input,
            side_inputs: Vec::new(),
            outputs: Vec::new(),
            stride: 32,
            image_size: 640,
            warm_up: usual_picture(),
            preprocessing,
            defaults: Defaults::default(),
            reason: String::new(),
        }
    }

    /// Whether work with either gives the same: programs that differ may say the reason in other words.
    pub fn is_used_like(&self, other: &Self) -> bool {
        let same_reason = Self { reason: self.reason.clone(), ..other.clone() };
        *self == same_reason
    }
}

fn usual_picture() -> [u32; 2] {
    [1280, 720]
}

/// How a detector lays out its outputs. `B` is the batch, `A` the number of places it looks at, `D` the number of
/// detections it lists, `nc` its number of classes. Pixels are those of the model's input.
///
/// Where several outputs are read, they are listed in the order of [`Manifest::outputs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeadFamily {
    /// `[B, A, 5 + nc]`: boxes as offsets and logarithms on a grid, objectness, class scores.
    Yolox,
    /// `[B, A, 5 + nc]`: boxes as centre and size in pixels, objectness, class scores. YOLOX exported with
    /// `--decode_in_inference`.
    YoloxDecoded,
    /// `[B, 4 + nc, A]`: boxes as centre and size in pixels, class scores. Ultralytics v8, v9, 11, 12.
    V8,
    /// `[B, 3 A, 5 + nc]`: boxes as centre and size in pixels, objectness, class scores. v5 and v7.
    V5,
    /// `[B, A, 5 + nc]`: the same with one place for each cell and an objectness of 1. v6.
    V6,
    /// `[B, D, 6]`: corners in pixels, score, class; duplicates are already gone. v10, YOLO26, `nms=True`.
    EndToEnd,
    /// `[B, D, 6]`: centre and size as shares of the input, score, class. RT-DETR as Ultralytics exports it by now.
    RtDetrListed,
    /// `[N, 7]`: picture, corners in pixels, class, score; duplicates are already gone. v7.
    V7EndToEnd,
    /// `[N, 7]`: picture, corners in pixels, score, class; duplicates are already gone. YOLO-NAS, flat format.
    YoloNasFlat,
    /// Count `[B, 1]`, corners in pixels `[B, D, 4]`, scores `[B, D]`, classes `[B, D]`; duplicates are already gone.
    /// v6, v7 and DAMO-YOLO end to end, YOLO-NAS in batch format.
    NmsOutputs,
    /// Scores `[B, A, nc]`, corners in pixels `[B, A, 4]`. DAMO-YOLO.
    DamoYolo,
    /// `[N, 6]`: class, score, corners in pixels; and the count of each picture `[B]`. PP-YOLOE and its kin.
    Paddle,
    /// `[B, A, nc + 32]`: class scores, and four distributions over 8 distances. NanoDet-Plus.
    NanodetPlus,
    /// For each stride class scores `[B, A, nc]`, then for each stride four distributions `[B, A, 32]`. NanoDet-m.
    Nanodet,
    /// Labels `[B, D]`, corners in pixels `[B, D, 4]`, scores `[B, D]`. RT-DETR, D-FINE, DEIM.
    RtDetr,
    /// `[B, D, 4 + nc]`: centre and size as shares of the input, class scores. RT-DETR as Ultralytics exports it.
    UltralyticsRtDetr,
    /// Centre and size as shares of the input `[B, D, 4]`, logits `[B, D, nc]`: a sigmoid for each class. RF-DETR and
    /// the models of Hugging Face that were trained with the focal loss.
    DetrSigmoid,
    /// The same with logits `[B, D, nc + 1]`: a softmax, the last class is "nothing". DETR, YOLOS.
    DetrSoftmax,
    /// Corners in pixels `[D, 4]`, scores `[D]`, labels `[D]`. torchvision.
    Torchvision,
    /// Top, left, bottom and right as shares of the input `[B, D, 4]`, classes `[B, D]`, scores `[B, D]`, count `[B]`.
    /// TensorFlow's Object Detection API.
    TfDetection,
}

/// The input that holds the picture. `None` is a dimension that the model leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTensor {
    pub name: String,
    pub element: InputElement,
    pub layout: Layout,
    /// 1 where the layout has none.
    pub batch: Option<u32>,
    pub height: Option<u32>,
    pub width: Option<u32>,
}

impl InputTensor {
    /// `[batch, 3, height, width]` of f32, as nearly every detector has it.
    pub fn nchw(name: &str, [batch, height, width]: [Option<u32>; 3]) -> Self {
        Self { name: name.to_owned(), element: InputElement::F32, layout: Layout::Nchw, batch, height, width }
    }
}

/// The type of the input's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputElement {
    F32,
    F16,
    /// Rounded, and limited to 0 to 255.
    U8,
}

/// The order of the input's dimensions; there are three channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `[batch, channel, row, column]`
    Nchw,
    /// `[batch, row, column, channel]`
    Nhwc,
    /// `[channel, row, column]`
    Chw,
}

/// An input beside the picture, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideInput {
    pub name: String,
    pub element: SideElement,
    pub value: SideValue,
}

/// The type of a side input's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SideElement {
    F32,
    I64,
}

/// What a side input is told. Boxes are wanted in pixels of the model's input, so it never hears of the picture's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SideValue {
    /// `[batch, 2]`: width and height of the input. RT-DETR's `orig_target_sizes`.
    TargetSize,
    /// `[batch, 2]`: ones. PaddleDetection's `scale_factor`.
    ScaleFactor,
    /// `[batch, 2]`: height and width of the input. PaddleDetection's `im_shape`.
    ImageShape,
    /// `[batch, height, width]`: ones. `pixel_mask` of Hugging Face.
    PixelMask,
}

/// How a picture becomes the input: each channel is `(sample * scale - mean) / std` of a sample from 0 to 255.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    pub colour: ColourOrder,
    /// Greater than 0.
    pub scale: f64,
    /// By channel, in the order of the input's channels, after scaling.
    pub mean: [f64; 3],
    /// By channel, greater than 0.
    pub std: [f64; 3],
    pub resize: Resize,
    pub placement: Placement,
    pub rounding: Rounding,
    /// The grey around the picture, 0 to 255 before scaling.
    pub pad: u8,
}

/// 0 to 255 become 0 to 1.
pub const UNIT: f64 = 1.0 / 255.0;

impl Preprocessing {
    /// As Ultralytics' predictors, and v5 and v7 before them, fill their input.
    pub const ULTRALYTICS: Self = Self {
        colour: ColourOrder::Rgb,
        scale: UNIT,
        mean: [0.0; 3],
        std: [1.0; 3],
        resize: Resize::Letterbox,
        placement: Placement::Centred,
        rounding: Rounding::Nearest,
        pad: 114,
    };

    /// As Megvii's YOLOX demo fills its input.
    pub const YOLOX: Self = Self {
        colour: ColourOrder::Bgr,
        scale: 1.0,
        placement: Placement::TopLeft,
        rounding: Rounding::Truncate,
        ..Self::ULTRALYTICS
    };

    /// RGB from 0 to 1, stretched to the input's size.
    pub const STRETCHED: Self = Self { resize: Resize::Stretch, ..Self::ULTRALYTICS };

    /// The same, normalised with the mean and deviation of `ImageNet`.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], ..Self::STRETCHED };

    /// As `NanoDet-Plus` fills its input.
    pub const NANODET: Self = Self {
        colour: ColourOrder::Bgr,
        scale: 1.0,
        mean: [103.53, 116.28, 123.675],
        std: [57.375, 57.12, 58.395],
        pad: 0,
        ..Self::STRETCHED
    };

    /// Bytes as they are, RGB, aspect kept, nothing around the picture where the input's size is open.
    pub const RGB_BYTES: Self = Self { pad: 0, ..Self::ULTRALYTICS.as_bytes() };

    /// The same picture with samples as they are.
    #[must_use]
    pub const fn as_bytes(self) -> Self {
        Self { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..self }
    }

    /// The least and the largest value that a sample from 0 to 255 becomes, in whatever channel.
    pub fn range(&self) -> [f64; 2] {
        let channels = || self.mean.iter().zip(&self.std);
        let least = channels().map(|(mean, std)| -mean / std).fold(f64::INFINITY, f64::min);
        let largest = channels().map(|(mean, std)| (255.0 * self.scale - mean) / std).fold(f64::NEG_INFINITY, f64::max);
        [least, largest]
    }
}

/// Which colour the first channel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColourOrder {
    Rgb,
    Bgr,
}

/// How a picture is brought to the input's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Aspect kept, padding around it.
    Letterbox,
    /// Width and height each to the input's.
    Stretch,
}

/// Where a letterboxed picture lies in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    TopLeft,
    Centred,
}

/// How a letterboxed picture's size becomes whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rounding {
    Truncate,
    /// Ties to even, as Python rounds.
    Nearest,
}

/// What counts for a job that does not say otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Defaults {
    /// The least score that is stored, 0 to 1.
    pub confidence: f32,
    /// Of two boxes that overlap by more than this IoU, 0 to 1, the better one stays. Heads that list detections
    /// without duplicates need none of it.
    pub iou: f32,
    /// Whether boxes of different classes suppress each other too.
    pub class_agnostic: bool,
    /// At most this many detections of a picture, the best ones.
    pub max_detections: u32,
    pub tracker: ByteTrackSettings,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            confidence: 0.1,
            iou: 0.6,
            class_agnostic: false,
            max_detections: 300,
            tracker: ByteTrackSettings::default(),
        }
    }
}
