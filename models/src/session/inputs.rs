//! The tensors that go into a model: the picture, and what else it asks for.

use crate::{
    ModelError,
    letterbox::Size,
    manifest::{InputElement, Layout, Manifest, SideElement, SideInput, SideValue},
    preprocess::Preprocessor,
};
use framefleet_native::picture::Picture;
use half::f16;
use ort::{
    session::SessionInputValue,
    value::{DynTensor, Tensor},
};
use std::borrow::Cow;

pub struct Inputs {
    element: InputElement,
    name: String,
    picture: DynTensor,
    sides: Vec<(String, DynTensor)>,
}

impl Inputs {
    /// Empty ones for this size of the model's input.
    pub fn new(manifest: &Manifest, size: Size) -> ort::Result<Self> {
        let batch = manifest.input.batch.unwrap_or(1) as usize;
        let shape = match manifest.input.layout {
            Layout::Nchw => vec![batch, 3, size.height, size.width],
            Layout::Nhwc => vec![batch, size.height, size.width, 3],
            Layout::Chw => vec![3, size.height, size.width],
        };
        let count = shape.iter().product();
        let picture = match manifest.input.element {
            InputElement::F32 => Tensor::from_array((shape, vec![0.0_f32; count]))?.upcast(),
            InputElement::F16 => Tensor::from_array((shape, vec![f16::ZERO; count]))?.upcast(),
            InputElement::U8 => Tensor::from_array((shape, vec![0_u8; count]))?.upcast(),
        };
        let sides = sides(manifest, batch, size)?;
        Ok(Self { element: manifest.input.element, name: manifest.input.name.clone(), picture, sides })
    }

    pub fn paint_padding(&mut self, preprocessor: &Preprocessor) {
        let picture = &mut self.picture;
        match self.element {
            InputElement::F32 => paint::<f32>(picture, |values| preprocessor.paint_padding(values)),
            InputElement::F16 => paint::<f16>(picture, |values| preprocessor.paint_padding(values)),
            InputElement::U8 => paint::<u8>(picture, |values| preprocessor.paint_padding(values)),
        }
    }

    /// Puts a picture where the first of the batch is.
    pub fn fill(&mut self, preprocessor: &mut Preprocessor, picture: &Picture<'_>) -> Result<(), ModelError> {
        let length = preprocessor.input_len();
        let tensor = &mut self.picture;
        let invalid = |error: ort::Error| ModelError::PictureInvalid { problem: error.to_string() };
        match self.element {
            InputElement::F32 => {
                let (_, values) = tensor.try_extract_tensor_mut::<f32>().map_err(invalid)?;
                preprocessor.fill(picture, values.get_mut(..length).unwrap_or_default())
            }
            InputElement::F16 => {
                let (_, values) = tensor.try_extract_tensor_mut::<f16>().map_err(invalid)?;
                preprocessor.fill(picture, values.get_mut(..length).unwrap_or_default())
            }
            InputElement::U8 => {
                let (_, values) = tensor.try_extract_tensor_mut::<u8>().map_err(invalid)?;
                preprocessor.fill(picture, values.get_mut(..length).unwrap_or_default())
            }
        }
    }

    pub fn picture(&self) -> &DynTensor {
        &self.picture
    }

    /// All of them by name, where there are more than one.
    pub fn named(&self) -> Option<Vec<(Cow<'_, str>, SessionInputValue<'_>)>> {
        if self.sides.is_empty() {
            return None;
        }
        let picture = std::iter::once((&self.name, &self.picture));
        let sides = self.sides.iter().map(|(name, tensor)| (name, tensor));
        Some(picture.chain(sides).map(|(name, tensor)| (Cow::from(name.as_str()), tensor.into())).collect())
    }
}

fn paint<T: ort::value::PrimitiveTensorElementType + std::fmt::Debug>(
    tensor: &mut DynTensor,
    paint: impl FnOnce(&mut [T]),
) {
    // The tensor was made of this type.
    if let Ok((_, values)) = tensor.try_extract_tensor_mut::<T>() {
        paint(values);
    }
}

/// What the model asks for beside the picture, by name.
pub fn sides(manifest: &Manifest, batch: usize, size: Size) -> ort::Result<Vec<(String, DynTensor)>> {
    manifest.side_inputs.iter().map(|input| Ok((input.name.clone(), side(input, batch, size)?))).collect()
}

fn side(input: &SideInput, batch: usize, size: Size) -> ort::Result<DynTensor> {
    let (width, height) = (size.width as u32, size.height as u32);
    let (shape, row) = match input.value {
        SideValue::TargetSize => (vec![batch, 2], vec![width, height]),
        SideValue::ImageShape => (vec![batch, 2], vec![height, width]),
        SideValue::ScaleFactor => (vec![batch, 2], vec![1, 1]),
        SideValue::PixelMask => (vec![batch, size.height, size.width], vec![1]),
    };
    let count: usize = shape.iter().product();
    let values = row.into_iter().cycle().take(count);
    Ok(match input.element {
        SideElement::F32 => Tensor::from_array((shape, values.map(|value| value as f32).collect::<Vec<_>>()))?.upcast(),
        SideElement::I64 => Tensor::from_array((shape, values.map(i64::from).collect::<Vec<_>>()))?.upcast(),
    })
}
