//! What a session has for one size of the model's input.

use super::{failed, gives_fixed_shapes};
use crate::{
    ModelError,
    device::{Buckets, IN_FLIGHT},
    heads::{DeviceOutput, Head, Wanted},
    letterbox::Size,
    manifest::{InputElement, Layout, Manifest},
    preprocess::DevicePreprocessor,
    session::side_tensors,
};
use framefleet_native::cuda::{
    Batch, BatchShape, Element, GpuModel, HeadParameters, InputParameters, OutputShape, PictureMemory,
};
use ort::value::{DynTensor, TensorElementType};

/// A model on a GPU, and what is known of it.
#[derive(Debug)]
pub struct Loaded {
    pub name: String,
    pub manifest: Manifest,
    pub model: GpuModel,
    pub buckets: Buckets,
}

/// The head, and the memory of batches.
#[derive(Debug)]
pub struct Prepared {
    pub size: Size,
    pub head: Head,
    input: InputParameters,
    /// Of a batch of one, where they are always the same.
    outputs: Option<Vec<OutputShape>>,
    /// By bucket, those that are not under way.
    idle: Vec<Vec<Batch>>,
    /// For the last geometries of pictures; the last one is first.
    preprocessors: Vec<DevicePreprocessor>,
}

/// Each is some numbers, and videos of several sizes may share a session.
const GEOMETRIES: usize = 32;
/// Of all pictures of a batch: what is more than this is no detector's answer but noise, for which all outputs are copied.
const MOST_SURVIVORS: usize = 1 << 18;

impl Prepared {
    /// For pictures like the one that this was made for.
    pub fn new(loaded: &mut Loaded, like: &DevicePreprocessor) -> Result<Self, ModelError> {
        let manifest = &loaded.manifest;
        let size = like.letterbox().model;
        let head = Head { family: manifest.head, classes: manifest.classes.len(), model: size };
        let idle = loaded.buckets.sizes().iter().map(|_| Vec::new()).collect();
        let mut prepared =
            Self { size, head, input: like.input(), outputs: None, idle, preprocessors: vec![like.clone()] };
        if gives_fixed_shapes(manifest.head) {
            let smallest = loaded.buckets.sizes()[0];
            let mut batch = prepared.make(loaded, smallest)?;
            let mut outputs = batch.look_at_outputs(&mut loaded.model).map_err(failed(&loaded.name))?;
            for output in &mut outputs {
                if let Some(batch) = output.shape.first_mut() {
                    *batch /= smallest;
                }
            }
            prepared.outputs = Some(outputs);
        }
        Ok(prepared)
    }

    /// How such a picture becomes the input.
    pub fn preprocessor(
        &mut self,
        manifest: &Manifest,
        picture: &PictureMemory<'_>,
    ) -> Result<&DevicePreprocessor, ModelError> {
        let known = self.preprocessors.iter().position(|known| fits(known, picture));
        if let Some(place) = known {
            self.preprocessors[..=place].rotate_right(1);
        } else {
            self.preprocessors.truncate(GEOMETRIES - 1);
            self.preprocessors.insert(0, preprocessor(manifest, picture)?);
        }
        Ok(&self.preprocessors[0])
    }

    /// Memory for a batch of that bucket, made if all of it is under way.
    pub fn take(&mut self, loaded: &mut Loaded, bucket: usize) -> Result<Batch, ModelError> {
        match self.idle[bucket].pop() {
            Some(batch) => Ok(batch),
            None => self.make(loaded, loaded.buckets.sizes()[bucket]),
        }
    }

    /// Makes all batches that can be under way, and then records the model's run on each.
    pub fn record(&mut self, loaded: &mut Loaded) -> Result<(), ModelError> {
        for (bucket, pictures) in loaded.buckets.clone().sizes().iter().enumerate() {
            for _ in 0..IN_FLIGHT {
                let batch = self.make(loaded, *pictures)?;
                self.give_back(bucket, batch);
            }
        }
        let Loaded { name, model, .. } = loaded;
        self.idle.iter_mut().flatten().try_for_each(|batch| batch.record(model).map_err(failed(name)))
    }

    pub fn give_back(&mut self, bucket: usize, batch: Batch) {
        self.idle[bucket].push(batch);
    }

    /// For the GPU to look for what is sure enough, where the head is one of those.
    pub fn survivors(&self, room: usize, pictures: usize, confidence: f32) -> Option<HeadParameters> {
        let shapes = self.outputs.as_ref()?;
        let shapes: Vec<OutputShape> = shapes.iter().map(|shape| of_batch(shape, room)).collect();
        let outputs: Vec<DeviceOutput<'_>> = shapes
            .iter()
            .map(|output| Some(DeviceOutput { shape: &output.shape, element: element(output.element)? }))
            .collect::<Option<_>>()?;
        self.head.survivor_parameters(&outputs, pictures as u32, Wanted { confidence, classes: None })
    }

    fn make(&self, loaded: &mut Loaded, pictures: usize) -> Result<Batch, ModelError> {
        let Loaded { name, manifest, model, .. } = loaded;
        let (name, manifest) = (&*name, &*manifest);
        let Size { width, height } = self.size;
        let input_shape = match manifest.input.layout {
            Layout::Nchw => vec![pictures, 3, height, width],
            Layout::Nhwc => vec![pictures, height, width, 3],
            Layout::Chw => vec![3, height, width],
        };
        let input_element = match manifest.input.element {
            InputElement::F32 => TensorElementType::Float32,
            InputElement::F16 => TensorElementType::Float16,
            InputElement::U8 => TensorElementType::Uint8,
        };
        let failed_onnx =
            |error: ort::Error| ModelError::InferenceFailed { model: name.clone(), problem: error.to_string() };
        let sides: Vec<(String, DynTensor)> = side_tensors(manifest, pictures, self.size).map_err(failed_onnx)?;
        let output_shapes: Option<Vec<OutputShape>> =
            self.outputs.as_ref().map(|shapes| shapes.iter().map(|shape| of_batch(shape, pictures)).collect());
        let places = self.survivors(pictures, pictures, 0.0).map_or(0, |head| head.places as usize * pictures);
        let shape = BatchShape {
            pictures,
            input: (&manifest.input.name, self.input),
            input_shape: &input_shape,
            input_element,
            sides: &sides,
            outputs: &manifest.outputs,
            output_shapes: output_shapes.as_deref(),
            survivors: places.min(MOST_SURVIVORS),
        };
        Batch::new(model, &shape).map_err(failed(name))
    }
}

/// The same for a batch.
fn of_batch(output: &OutputShape, pictures: usize) -> OutputShape {
    let mut output = output.clone();
    if let Some(batch) = output.shape.first_mut() {
        *batch *= pictures;
    }
    output
}

/// `None` for types that the GPU does not look through.
fn element(element: TensorElementType) -> Option<Element> {
    match element {
        TensorElementType::Float32 => Some(Element::F32),
        TensorElementType::Float16 => Some(Element::F16),
        _ => None,
    }
}

pub fn preprocessor(manifest: &Manifest, picture: &PictureMemory<'_>) -> Result<DevicePreprocessor, ModelError> {
    match picture {
        PictureMemory::Host(picture) => DevicePreprocessor::for_stacked(manifest, picture),
        PictureMemory::Device(picture) => DevicePreprocessor::for_semi_planar(manifest, picture.layout()),
    }
}

fn fits(known: &DevicePreprocessor, picture: &PictureMemory<'_>) -> bool {
    match picture {
        PictureMemory::Host(picture) => known.fits_stacked(picture),
        PictureMemory::Device(picture) => known.fits_semi_planar(picture.layout()),
    }
}
