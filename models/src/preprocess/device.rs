//! The same preprocessing on a GPU: what the kernel is told, which then does what [`super::Preprocessor`] does.

use super::{Geometry, colour};
use crate::{
    ModelError,
    letterbox::Letterbox,
    manifest::{InputElement, Layout, Manifest},
};
use framefleet_native::{
    cuda::{
        ChannelParameters, Element, InputLayout, InputParameters, PictureParameters, SemiPlanar, StackedPlane,
        StackedPlanes,
    },
    picture::Picture,
};

/// Knows how pictures of one geometry become a model's input on a GPU. It makes no tables.
#[derive(Debug, Clone)]
pub struct DevicePreprocessor {
    geometry: Geometry,
    samples: Samples,
    letterbox: Letterbox,
    picture: PictureParameters,
    input: InputParameters,
}

/// Where in a picture's memory its samples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Samples {
    /// In bytes.
    planes: [usize; 3],
    /// In bytes.
    pitch: [usize; 3],
    /// In samples.
    step: [u32; 3],
    shift_right: u32,
}

impl DevicePreprocessor {
    /// Prepares for pictures like this one, once they are copied to the GPU as [`StackedPlanes`] says.
    pub fn for_stacked(manifest: &Manifest, picture: &Picture<'_>) -> Result<Self, ModelError> {
        Self::new(manifest, picture.into(), || Samples::stacked(picture))
    }

    /// Prepares for pictures that lie on the GPU as its decoder leaves them.
    pub fn for_semi_planar(manifest: &Manifest, layout: &SemiPlanar) -> Result<Self, ModelError> {
        Self::new(manifest, layout.into(), || Samples::semi_planar(layout))
    }

    /// Whether a picture is like the one this was prepared for.
    pub fn fits_stacked(&self, picture: &Picture<'_>) -> bool {
        self.geometry == picture.into() && self.samples == Samples::stacked(picture)
    }

    pub fn fits_semi_planar(&self, layout: &SemiPlanar) -> bool {
        self.geometry == layout.into() && self.samples == Samples::semi_planar(layout)
    }

    pub fn letterbox(&self) -> &Letterbox {
        &self.letterbox
    }

    /// For one picture; its planes are offsets still.
    pub fn picture(&self) -> PictureParameters {
        self.picture
    }

    /// For the batch. Pictures of other geometries can be in it whose letterbox has a model of the same size.
    pub fn input(&self) -> InputParameters {
        self.input
    }

    fn new(manifest: &Manifest, geometry: Geometry, samples: impl FnOnce() -> Samples) -> Result<Self, ModelError> {
        let invalid = |problem| ModelError::PictureInvalid { problem };
        geometry.check().map_err(invalid)?;
        let samples = samples();
        let letterbox = Letterbox::new(manifest, geometry.display);
        let picture = picture_parameters(manifest, &geometry, &samples, &letterbox)
            .ok_or_else(|| invalid(format!("its rows are {:?} bytes long", samples.pitch)))?;
        let input = input_parameters(manifest, &letterbox).ok_or_else(|| {
            invalid(format!("the model's input would be {}x{}", letterbox.model.width, letterbox.model.height))
        })?;
        Ok(Self { geometry, samples, letterbox, picture, input })
    }
}

impl Samples {
    fn stacked(picture: &Picture<'_>) -> Self {
        let planes = *StackedPlanes::of(picture).planes();
        Self {
            planes: planes.map(|StackedPlane { offset, .. }| offset),
            pitch: planes.map(|StackedPlane { pitch, .. }| pitch),
            step: [1; 3],
            shift_right: 0,
        }
    }

    fn semi_planar(layout: &SemiPlanar) -> Self {
        let chroma = layout.chroma_offset();
        Self {
            planes: [0, chroma, chroma + layout.sample_bytes()],
            pitch: [layout.pitch; 3],
            step: [1, 2, 2],
            shift_right: if layout.depth > 8 { 16_u32.saturating_sub(layout.depth) } else { 0 },
        }
    }
}

/// `None` for rows that are longer than any picture's.
fn picture_parameters(
    manifest: &Manifest,
    geometry: &Geometry,
    samples: &Samples,
    letterbox: &Letterbox,
) -> Option<PictureParameters> {
    let [first, second, third] = samples.pitch.map(u32::try_from);
    let turn = geometry.turn();
    let [across, down] = turn.sides(letterbox.content);
    let side = |side: usize| u32::try_from(side).ok();
    Some(PictureParameters {
        planes: samples.planes.map(|offset| offset as u64),
        scale_across: geometry.width as f64 / across as f64,
        scale_down: geometry.height as f64 / down as f64,
        pitch: [first.ok()?, second.ok()?, third.ok()?],
        step: samples.step,
        shift_right: samples.shift_right,
        depth: geometry.depth,
        width: side(geometry.width)?,
        height: side(geometry.height)?,
        chroma_shift_x: geometry.chroma_shift_x,
        chroma_shift_y: geometry.chroma_shift_y,
        content_width: side(letterbox.content.width)?,
        content_height: side(letterbox.content.height)?,
        content_left: side(letterbox.left)?,
        content_top: side(letterbox.top)?,
        is_quarter_turn: turn.is_quarter.into(),
        is_backwards_across: turn.is_backwards_across.into(),
        is_backwards_down: turn.is_backwards_down.into(),
        channels: channels(manifest, geometry),
    })
}

fn channels(manifest: &Manifest, geometry: &Geometry) -> [ChannelParameters; 3] {
    let channels = colour::Colours::new(geometry, &manifest.preprocessing).channels();
    let padding = colour::padding(&manifest.preprocessing);
    std::array::from_fn(|index| {
        let colour::Channel { y, u, v, offset, black, white } = channels[index];
        ChannelParameters { y, u, v, offset, black, white, padding: padding[index] }
    })
}

/// `None` for sides beyond 32 bits.
fn input_parameters(manifest: &Manifest, letterbox: &Letterbox) -> Option<InputParameters> {
    let layout = match manifest.input.layout {
        Layout::Nchw | Layout::Chw => InputLayout::Planes,
        Layout::Nhwc => InputLayout::Pixels,
    };
    let element = match manifest.input.element {
        InputElement::F32 => Element::F32,
        InputElement::F16 => Element::F16,
        InputElement::U8 => Element::U8,
    };
    let sides = [u32::try_from(letterbox.model.width).ok()?, u32::try_from(letterbox.model.height).ok()?];
    Some(InputParameters::new(layout, sides, element))
}
