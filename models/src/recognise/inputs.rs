//! Which input holds the picture, how it wants it, and what the others are told.

use super::{Refusal, refuse, refuse_with};
use crate::manifest::{InputElement, InputTensor, Layout, SideElement, SideInput, SideValue};
use crate::onnx::{Dimension, Element, Header, Value};

pub struct Inputs {
    pub picture: InputTensor,
    pub sides: Vec<SideInput>,
}

impl Inputs {
    pub fn read(header: &Header) -> Result<Self, Refusal> {
        let mut pictures = Vec::new();
        let mut sides = Vec::new();
        for input in &header.inputs {
            match side_value(&input.name) {
                Some(value) => sides.push(side(input, value)?),
                None => pictures.push(input),
            }
        }
        let [input] = pictures.as_slice() else {
            return refuse(format!(
                "it wants {} inputs that could be the picture, where a detector has one",
                pictures.len()
            ));
        };
        Ok(Self { picture: picture(input)?, sides })
    }

    pub fn has(&self, value: SideValue) -> bool {
        self.sides.iter().any(|side| side.value == value)
    }

    /// Whether height and width are both fixed.
    pub fn is_fixed(&self) -> bool {
        self.picture.height.is_some() && self.picture.width.is_some()
    }
}

fn side_value(name: &str) -> Option<SideValue> {
    match name {
        "orig_target_sizes" => Some(SideValue::TargetSize),
        "scale_factor" => Some(SideValue::ScaleFactor),
        "im_shape" => Some(SideValue::ImageShape),
        "pixel_mask" => Some(SideValue::PixelMask),
        _ => None,
    }
}

fn side(input: &Value, value: SideValue) -> Result<SideInput, Refusal> {
    let element = match input.element {
        Element::F32 => SideElement::F32,
        Element::I64 => SideElement::I64,
        other => return refuse(format!("its input {} is {}, not f32 or i64", input.name, other.describe())),
    };
    Ok(SideInput { name: input.name.clone(), element, value })
}

fn picture(input: &Value) -> Result<InputTensor, Refusal> {
    let element = match input.element {
        Element::F32 => InputElement::F32,
        Element::F16 => InputElement::F16,
        Element::U8 => InputElement::U8,
        other => {
            return refuse_with(
                format!("its input is {}", other.describe()),
                "export it with an input of f32, f16 or u8 (a quantised model keeps one of these outside)",
            );
        }
    };
    let Some((layout, [batch, height, width])) = input.shape.as_deref().and_then(layout) else {
        return refuse(
            "its input has not three colour channels in the second place (NCHW), the last (NHWC), or the first of three (CHW)",
        );
    };
    Ok(InputTensor { name: input.name.clone(), element, layout, batch, height, width })
}

/// The layout, and batch, height and width in it. Some exporters leave the number of channels open, too: then it is
/// taken for NCHW.
fn layout(shape: &[Dimension]) -> Option<(Layout, [Option<u32>; 3])> {
    let size = |index: usize| shape[index].fixed();
    let can_be_channels = |index: usize| size(index).is_none_or(|channels| channels == 3);
    match shape.len() {
        4 if size(1) != Some(3) && size(3) == Some(3) => Some((Layout::Nhwc, [size(0), size(1), size(2)])),
        4 if can_be_channels(1) => Some((Layout::Nchw, [size(0), size(2), size(3)])),
        3 if can_be_channels(0) => Some((Layout::Chw, [Some(1), size(1), size(2)])),
        _ => None,
    }
}
