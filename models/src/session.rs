use crate::{
    Model, ModelError, Runtime,
    heads::{Candidate, Head, Wanted},
    letterbox::{Corners, Size},
    manifest::{HeadFamily, Manifest},
    nms::{self, Suppression},
    preprocess::Preprocessor,
};
use framefleet_contract::detection::Detection;
use framefleet_native::picture::Picture;
use ndarray::{ArrayView3, Axis};
use ort::{
    memory::Allocator,
    session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, builder::GraphOptimizationLevel},
    value::Tensor,
};
use std::time::Instant;

/// Which detections are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// The least score, 0 to 1.
    pub confidence: f32,
    /// Of two boxes of one class whose IoU is greater than this, the better one stays.
    pub iou: f32,
    /// The class ids that are wanted; `None` for all. A place counts as its best class, wanted or not.
    pub classes: Option<Vec<i32>>,
    /// At most this many of a picture, the ones with the highest scores.
    pub max_detections: usize,
}

/// Where the time of one picture went, in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageTimes {
    pub preprocess: f64,
    pub infer: f64,
    pub postprocess: f64,
}

/// Finds objects in pictures: one single-threaded session with its buffers, owned by one thread.
///
/// On a CPU as many of these as there are cores, with a picture each, are faster than one session with as many
/// threads. What is found in a picture does not depend on the pictures before it.
#[derive(Debug)]
pub struct Detector {
    name: String,
    manifest: Manifest,
    session: Session,
    prepared: Option<Prepared>,
    /// Input sizes for which the output was seen to be what the head reads, and its shape.
    verified: Vec<(Size, Vec<usize>)>,
    candidates: Vec<Candidate>,
    detections: Vec<Detection>,
    times: StageTimes,
}

/// What depends on the pictures' geometry.
struct Prepared {
    preprocessor: Preprocessor,
    /// [B, 3, H, W]; only the first picture of a batch is ever filled, the others stay zero.
    input: Tensor<f32>,
    head: Head,
    /// Asks for the one output that the head reads, into memory of its own where its size is known.
    options: RunOptions<HasSelectedOutputs>,
}

impl Detector {
    /// Loads a model into a session of its own. An input of fixed size is tried at once, an open one with the first
    /// picture: [`ModelError::Invalid`] where the outputs are not what the manifest says.
    pub fn new(runtime: &Runtime, model: &Model) -> Result<Self, ModelError> {
        let session = session(runtime, model.bytes())
            .map_err(|error| ModelError::Invalid { model: model.name.clone(), problem: error.to_string() })?;
        let mut detector = Self {
            name: model.name.clone(),
            manifest: model.manifest.clone(),
            session,
            prepared: None,
            verified: Vec::new(),
            candidates: Vec::new(),
            detections: Vec::new(),
            times: StageTimes::default(),
        };
        if let (Some(height), Some(width)) = (model.manifest.input.height, model.manifest.input.width) {
            detector.verify(Size { width: width as usize, height: height as usize })?;
        }
        Ok(detector)
    }

    /// Finds the objects in a picture, best first; equal scores are in a fixed order.
    ///
    /// Boxes are in pixels of the picture as displayed, clipped to it; what is empty after that is left out. The
    /// first picture of a new geometry makes tables, and of a new input size runs the model once more to look at its
    /// output; after that nothing is allocated here, and by ONNX Runtime only the output.
    pub fn detect(&mut self, picture: &Picture<'_>, thresholds: &Thresholds) -> Result<&[Detection], ModelError> {
        let start = Instant::now();
        let prepared = match self.prepared.take() {
            Some(prepared) if prepared.preprocessor.fits(picture) => prepared,
            _ => self.prepare(picture)?,
        };
        let Prepared { preprocessor, input, head, options } = self.prepared.insert(prepared);
        let picture_len = preprocessor.input_len();
        preprocessor.fill(picture, &mut input.extract_tensor_mut().1[..picture_len])?;
        let filled = Instant::now();
        let candidates = &mut self.candidates;
        candidates.clear();
        let inferred = run(&self.name, &self.manifest, &mut self.session, input, head, options, |output| {
            let inferred = Instant::now();
            let wanted = Wanted { confidence: thresholds.confidence, classes: thresholds.classes.as_deref() };
            head.decode(&output.index_axis(Axis(0), 0), wanted, candidates);
            inferred
        })?;
        let letterbox = preprocessor.letterbox();
        // What cannot be seen must neither suppress a box nor take a place among the best.
        candidates.retain(|candidate| letterbox.source_from_model(candidate.corners).is_some());
        select(head, thresholds, candidates);
        self.detections.clear();
        self.detections.extend(candidates.iter().filter_map(|candidate| {
            let Corners { x1, y1, x2, y2 } = letterbox.source_from_model(candidate.corners)?;
            Some(Detection { class_id: candidate.class_id, score: candidate.score, x1, y1, x2, y2 })
        }));
        self.times = StageTimes {
            preprocess: (filled - start).as_secs_f64(),
            infer: (inferred - filled).as_secs_f64(),
            postprocess: inferred.elapsed().as_secs_f64(),
        };
        Ok(&self.detections)
    }

    /// How long the last picture took.
    pub fn last_times(&self) -> StageTimes {
        self.times
    }

    fn prepare(&mut self, picture: &Picture<'_>) -> Result<Prepared, ModelError> {
        let preprocessor = Preprocessor::new(&self.manifest, picture)?;
        let size = preprocessor.letterbox().model;
        let output_shape = self.verify(size)?;
        let options = self.options(Some(output_shape).filter(|_| self.manifest.head != HeadFamily::EndToEnd))?;
        let mut input = self.empty_input(size)?;
        let picture_len = preprocessor.input_len();
        preprocessor.paint_padding(&mut input.extract_tensor_mut().1[..picture_len]);
        Ok(Prepared { preprocessor, input, head: self.head(size), options })
    }

    /// Runs the model on an empty input, to see its output before anything rests on it. Gives the output's shape.
    fn verify(&mut self, size: Size) -> Result<Vec<usize>, ModelError> {
        if let Some((_, shape)) = self.verified.iter().find(|(verified, _)| *verified == size) {
            return Ok(shape.clone());
        }
        let input = self.empty_input(size)?;
        let head = self.head(size);
        let options = self.options(None)?;
        let seen = run(&self.name, &self.manifest, &mut self.session, &input, &head, &options, |output| {
            output.shape().to_vec()
        });
        let shape = seen.map_err(|error| match error {
            ModelError::InferenceFailed { model, problem } => ModelError::Invalid { model, problem },
            other => other,
        })?;
        self.verified.push((size, shape.clone()));
        Ok(shape)
    }

    fn options(&self, output_shape: Option<Vec<usize>>) -> Result<RunOptions<HasSelectedOutputs>, ModelError> {
        let name = self.manifest.outputs[0].as_str();
        let options = || {
            let mut outputs = OutputSelector::no_default().with(name);
            if let Some(shape) = output_shape {
                outputs = outputs.preallocate(name, Tensor::<f32>::new(&Allocator::default(), shape)?);
            }
            Ok(RunOptions::new()?.with_outputs(outputs))
        };
        options().map_err(|error: ort::Error| ModelError::InferenceFailed {
            model: self.name.clone(),
            problem: error.to_string(),
        })
    }

    fn head(&self, model: Size) -> Head {
        Head { family: self.manifest.head, classes: self.manifest.classes.len(), model }
    }

    fn empty_input(&self, size: Size) -> Result<Tensor<f32>, ModelError> {
        let batch = self.manifest.input.batch.unwrap_or(1) as usize;
        let values = vec![0.0; batch * 3 * size.height * size.width];
        Tensor::from_array(([batch, 3, size.height, size.width], values))
            .map_err(|error| ModelError::InferenceFailed { model: self.name.clone(), problem: error.to_string() })
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("preprocessor", &self.preprocessor).finish_non_exhaustive()
    }
}

/// One thread each for an operation and for the graph, and nobody spins: cores are filled by more detectors.
fn session(runtime: &Runtime, bytes: &[u8]) -> ort::Result<Session> {
    Session::builder(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .commit_from_memory(bytes)
}

/// Runs the model and lets `read` see the output, if it is what the head reads.
fn run<T>(
    name: &str,
    manifest: &Manifest,
    session: &mut Session,
    input: &Tensor<f32>,
    head: &Head,
    options: &RunOptions<HasSelectedOutputs>,
    read: impl FnOnce(ArrayView3<'_, f32>) -> T,
) -> Result<T, ModelError> {
    let failed = |error: ort::Error| ModelError::InferenceFailed { model: name.to_owned(), problem: error.to_string() };
    let invalid = |problem: String| ModelError::Invalid { model: name.to_owned(), problem };
    // A detector that is recognised has one input: naming it would cost a list.
    let outputs = session.run_with_options(ort::inputs![input], options).map_err(failed)?;
    let output =
        outputs.get(&manifest.outputs[0]).ok_or_else(|| invalid(format!("it gives no {}", manifest.outputs[0])))?;
    let (shape, values) = output.try_extract_tensor::<f32>().map_err(|error| invalid(error.to_string()))?;
    let [batch, rows, columns] = **shape else { return Err(invalid(format!("its output is {shape:?}"))) };
    let shape = [batch, rows, columns].map(|length| usize::try_from(length).unwrap_or(0));
    head.check(&shape).map_err(invalid)?;
    Ok(read(ArrayView3::from_shape(shape, values).map_err(|error| invalid(error.to_string()))?))
}

/// Leaves the best candidates, in their final order.
fn select(head: &Head, thresholds: &Thresholds, candidates: &mut Vec<Candidate>) {
    let max_detections = thresholds.max_detections;
    if head.needs_suppression() {
        nms::suppress(candidates, Suppression { iou: thresholds.iou, max_detections });
    } else {
        nms::sort(candidates);
        candidates.truncate(max_detections);
    }
}
