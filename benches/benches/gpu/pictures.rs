//! What the kernels make of a picture that NVDEC decoded, against what the CPU's preprocessing makes of the same picture
//! copied to the host, and against the same frame decoded in software.
//!
//! The model gives its input back, so that what the kernel wrote can be seen without another way out of the card.

use crate::card::Card;
use crate::videos::{Clip, Clips, Codec};
use crate::{Failure, decode};
use framefleet_models::manifest::{HeadFamily, InputTensor, Manifest, Preprocessing};
use framefleet_models::preprocess::{DevicePreprocessor, Preprocessor};
use framefleet_native::cuda::{
    Batch, BatchPicture, BatchShape, Finished, GpuModel, ModelBytes, PictureMemory, Provider, Stream,
};
use framefleet_native::ffmpeg::decode::Frame;
use ort::value::TensorElementType;
use std::path::Path;
use std::sync::Arc;

/// Differences of the input's values, which are 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct Difference {
    pub mean: f64,
    pub greatest: f64,
}

#[derive(Debug)]
pub struct Compared {
    pub codec: Codec,
    pub frames: usize,
    /// The kernel and the CPU on the very same samples.
    pub kernel: Difference,
    /// Decoded in software, then the CPU: what a run on the CPU gives to its model.
    pub software: Difference,
}

/// 1/255 and 3/255 are what a reader cannot see and what detections do not depend on.
const MEAN: f64 = 1.0 / 255.0;
const GREATEST: f64 = 3.0 / 255.0;
const FRAMES: usize = 60;

impl Compared {
    pub fn is_alike(&self) -> bool {
        [self.kernel, self.software].iter().all(|seen| seen.mean <= MEAN && seen.greatest <= GREATEST)
    }
}

pub fn compare(card: &Card, identity: &Path, clips: &Clips, codecs: &[Codec]) -> Result<Vec<Compared>, Failure> {
    codecs.iter().map(|&codec| compare_one(card, identity, &clips.path(codec, Clip::Times(1))?, codec)).collect()
}

fn compare_one(card: &Card, identity: &Path, video: &Path, codec: Codec) -> Result<Compared, Failure> {
    eprintln!("pictures: {}", codec.title());
    let on_card = decode::first_frames(card, video, FRAMES)?;
    let mut mirror = Mirror::load(card, identity, &on_card[0])?;
    let in_software = decode::first_frames_in_software(video, FRAMES)?;
    let (mut kernel, mut software) = (Sum::default(), Sum::default());
    for (frame, other) in on_card.iter().zip(&in_software) {
        let written = mirror.input_of(frame)?;
        kernel.add(&written, &mirror.on_cpu(&frame.to_host()?)?);
        software.add(&written, &mirror.on_cpu(other)?);
    }
    let frames = on_card.len().min(in_software.len());
    Ok(Compared { codec, frames, kernel: kernel.difference(), software: software.difference() })
}

/// A session of the model that gives its input back.
struct Mirror {
    manifest: Manifest,
    batch: Batch,
    model: GpuModel,
}

/// Of the model's input.
const SIDE: usize = 640;

impl Mirror {
    /// For pictures like this one.
    fn load(card: &Card, onnx: &Path, like: &Frame) -> Result<Self, Failure> {
        let bytes = std::fs::read(onnx)?;
        let side = Some(SIDE as u32);
        let input = InputTensor::nchw("images", [None, side, side]);
        let manifest = Manifest::new(HeadFamily::V8, input, Preprocessing::ULTRALYTICS);
        let stream = Stream::new(&card.gpu, &card.kernels)?;
        let provider =
            if card.is_pretended() { Provider::Host } else { Provider::Cuda { deterministic: false, graphs: false } };
        let model_bytes = ModelBytes { onnx: &bytes, external: &[] };
        let mut model = GpuModel::load(card.runtime.environment(), model_bytes, &stream, provider)?;
        let (_, preprocessor) = placed(&manifest, like)?;
        let shape = BatchShape {
            pictures: 1,
            input: ("images", preprocessor.input()),
            input_shape: &[1, 3, SIDE, SIDE],
            input_element: TensorElementType::Float32,
            sides: &[],
            outputs: &["same".to_owned()],
            output_shapes: None,
            survivors: 0,
        };
        let batch = Batch::new(&mut model, &shape)?;
        Ok(Self { manifest, batch, model })
    }

    /// What the kernel writes.
    fn input_of(&mut self, frame: &Frame) -> Result<Vec<f32>, Failure> {
        let (from, preprocessor) = placed(&self.manifest, frame)?;
        self.batch.start(&mut self.model, &[BatchPicture { from, parameters: preprocessor.picture() }], None)?;
        match self.batch.finish()?.0 {
            Finished::Outputs([output]) => Ok(output.bytes.chunks_exact(4).map(value).collect()),
            _ => Err("the model does not give its input back".into()),
        }
    }

    /// What the CPU makes of a frame in host memory.
    fn on_cpu(&self, frame: &Frame) -> Result<Vec<f32>, Failure> {
        let picture = frame.picture().ok_or("the frame is not in host memory")?;
        let mut preprocessor = Preprocessor::new(&self.manifest, &picture)?;
        let mut input = vec![0.0; preprocessor.input_len()];
        preprocessor.paint_padding(&mut input);
        preprocessor.fill(&picture, &mut input)?;
        Ok(input)
    }
}

/// Where a frame lies, and how it becomes the input.
fn placed<'a>(manifest: &Manifest, frame: &'a Frame) -> Result<(PictureMemory<'a>, DevicePreprocessor), Failure> {
    if let Some(picture) = frame.device_picture() {
        let preprocessor = DevicePreprocessor::for_semi_planar(manifest, picture.layout())?;
        return Ok((PictureMemory::Device(Arc::clone(picture)), preprocessor));
    }
    let picture = frame.picture().ok_or("a frame has no picture")?;
    let preprocessor = DevicePreprocessor::for_stacked(manifest, &picture)?;
    Ok((PictureMemory::Host(picture), preprocessor))
}

fn value(bytes: &[u8]) -> f32 {
    bytes.try_into().map_or(f32::NAN, f32::from_ne_bytes)
}

/// Over all pictures.
#[derive(Debug, Default)]
struct Sum {
    total: f64,
    values: usize,
    greatest: f64,
}

impl Sum {
    /// Inputs of other lengths are as different as can be.
    fn add(&mut self, one: &[f32], other: &[f32]) {
        if one.len() != other.len() {
            self.greatest = f64::INFINITY;
        }
        for (one, other) in one.iter().zip(other) {
            let difference = f64::from((one - other).abs());
            self.total += difference;
            // A NaN must not pass for a small difference.
            self.greatest = if difference.is_nan() { f64::INFINITY } else { self.greatest.max(difference) };
        }
        self.values += one.len();
    }

    fn difference(&self) -> Difference {
        Difference { mean: self.total / self.values.max(1) as f64, greatest: self.greatest }
    }
}
