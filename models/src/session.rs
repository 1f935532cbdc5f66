//! A model in ONNX Runtime, and what it sees in a picture.

mod inputs;
mod outputs;

use crate::{
    Model, ModelError, Runtime,
    error::shown,
    heads::{Candidate, Head, OutputView, Wanted},
    letterbox::Size,
    manifest::{Defaults, Manifest},
    preprocess::Preprocessor,
    select::Found,
};
use framefleet_contract::detection::Detection;
use framefleet_native::picture::Picture;
use inputs::Inputs;
pub(crate) use inputs::sides as side_tensors;
use ort::session::{HasSelectedOutputs, RunOptions, Session, builder::GraphOptimizationLevel};
use outputs::{Outputs, Seen};
use std::time::Instant;

/// Which detections are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// The least score, 0 to 1.
    pub confidence: f32,
    /// Of two boxes whose IoU is greater than this, the better one stays.
    pub iou: f32,
    /// The class ids that are wanted; `None` for all. A place counts as its best class, wanted or not.
    pub classes: Option<Vec<i32>>,
    /// At most this many of a picture, the ones with the highest scores.
    pub max_detections: usize,
}

impl From<&Defaults> for Thresholds {
    fn from(defaults: &Defaults) -> Self {
        let &Defaults { confidence, iou, max_detections, .. } = defaults;
        Self { confidence, iou, classes: None, max_detections: max_detections as usize }
    }
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
    /// For the last geometries of pictures, since videos of several sizes may share a session. The last one is first.
    prepared: Vec<Prepared>,
    /// Input sizes for which the outputs were seen to be what the head reads, and what they were like.
    verified: Vec<(Size, Vec<Seen>)>,
    outputs: Outputs,
    candidates: Vec<Candidate>,
    detections: Vec<Detection>,
    times: StageTimes,
}

/// Each has an input tensor of some MB.
const GEOMETRIES: usize = 3;

/// What depends on the pictures' geometry.
struct Prepared {
    preprocessor: Preprocessor,
    /// Only the first picture of a batch is ever filled, the others keep the padding's grey.
    inputs: Inputs,
    head: Head,
    /// Asks for the outputs that the head reads, into memory of their own where their size is known.
    options: RunOptions<HasSelectedOutputs>,
}

impl Detector {
    /// Loads a model into a session of its own. An input of fixed size is tried at once, an open one with the first
    /// picture: [`ModelError::Invalid`] where the outputs are not what the manifest says.
    pub fn new(runtime: &Runtime, model: &Model) -> Result<Self, ModelError> {
        let session = session(runtime, model)
            .map_err(|error| ModelError::Invalid { model: model.name.clone(), problem: said(&error) })?;
        let mut detector = Self {
            name: model.name.clone(),
            manifest: model.manifest.clone(),
            session,
            prepared: Vec::new(),
            verified: Vec::new(),
            outputs: Outputs::default(),
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
    /// output; after that nothing is allocated here for a model with one input and outputs of f32, and by ONNX Runtime
    /// only the outputs.
    pub fn detect(&mut self, picture: &Picture<'_>, thresholds: &Thresholds) -> Result<&[Detection], ModelError> {
        let start = Instant::now();
        self.fill(picture)?;
        let filled = Instant::now();
        let prepared = self.prepared.first().ok_or_else(|| lost(&self.name))?;
        let candidates = &mut self.candidates;
        candidates.clear();
        let read = |views: &[OutputView<'_>]| {
            let inferred = Instant::now();
            let wanted = Wanted { confidence: thresholds.confidence, classes: thresholds.classes.as_deref() };
            prepared.head.decode(views, wanted, candidates);
            inferred
        };
        let run = Run { name: &self.name, manifest: &self.manifest, session: &mut self.session };
        let inferred = run.run(&prepared.inputs, &prepared.head, &prepared.options, &mut self.outputs, read)?;
        let found =
            Found { head: &prepared.head, manifest: &self.manifest, letterbox: prepared.preprocessor.letterbox() };
        found.select(thresholds, candidates, &mut self.detections);
        self.times = StageTimes {
            preprocess: (filled - start).as_secs_f64(),
            infer: (inferred - filled).as_secs_f64(),
            postprocess: inferred.elapsed().as_secs_f64(),
        };
        Ok(&self.detections)
    }

    /// Runs the model on a picture and gives the shapes and types of the outputs that the head reads, in its order.
    ///
    /// # Errors
    /// [`ModelError::Invalid`] if a value in them is not finite.
    pub fn inspect(&mut self, picture: &Picture<'_>) -> Result<Vec<Seen>, ModelError> {
        self.fill(picture)?;
        let prepared = self.prepared.first().ok_or_else(|| lost(&self.name))?;
        let names = &self.manifest.outputs;
        let read = |views: &[OutputView<'_>]| {
            let mut names = names.iter().zip(views);
            names.find_map(|(name, view)| {
                let infinite = view.values.iter().filter(|value| !value.is_finite()).count();
                (infinite > 0).then(|| format!("{infinite} of {} values of {name} are not finite", view.values.len()))
            })
        };
        let run = Run { name: &self.name, manifest: &self.manifest, session: &mut self.session };
        let problem = run.run(&prepared.inputs, &prepared.head, &prepared.options, &mut self.outputs, read)?;
        match problem {
            Some(problem) => Err(ModelError::Invalid { model: self.name.clone(), problem }),
            None => Ok(self.outputs.seen().to_vec()),
        }
    }

    /// How long the last picture took.
    pub fn last_times(&self) -> StageTimes {
        self.times
    }

    /// Puts a picture into the input.
    fn fill(&mut self, picture: &Picture<'_>) -> Result<(), ModelError> {
        let known = self.prepared.iter().position(|prepared| prepared.preprocessor.fits(picture));
        if let Some(place) = known {
            self.prepared[..=place].rotate_right(1);
        } else {
            let prepared = self.prepare(picture)?;
            self.prepared.truncate(GEOMETRIES - 1);
            self.prepared.insert(0, prepared);
        }
        let Prepared { preprocessor, inputs, .. } = &mut self.prepared[0];
        inputs.fill(preprocessor, picture)
    }

    fn prepare(&mut self, picture: &Picture<'_>) -> Result<Prepared, ModelError> {
        let preprocessor = Preprocessor::new(&self.manifest, picture)?;
        let size = preprocessor.letterbox().model;
        let head = self.head(size);
        let seen = self.verify(size)?;
        let shapes = seen.iter().all(Seen::is_f32).then_some(seen).filter(|_| head.has_fixed_shape());
        let options = outputs::options(&self.manifest.outputs, shapes.as_deref()).map_err(self.failed())?;
        let mut inputs = Inputs::new(&self.manifest, size).map_err(self.failed())?;
        inputs.paint_padding(&preprocessor);
        Ok(Prepared { preprocessor, inputs, head, options })
    }

    /// Runs the model on an empty input, to see its outputs before anything rests on them.
    fn verify(&mut self, size: Size) -> Result<Vec<Seen>, ModelError> {
        if let Some((_, seen)) = self.verified.iter().find(|(verified, _)| *verified == size) {
            return Ok(seen.clone());
        }
        let inputs = Inputs::new(&self.manifest, size).map_err(self.failed())?;
        let options = outputs::options(&self.manifest.outputs, None).map_err(self.failed())?;
        let head = self.head(size);
        let run = Run { name: &self.name, manifest: &self.manifest, session: &mut self.session };
        run.run(&inputs, &head, &options, &mut self.outputs, |_| ()).map_err(|error| match error {
            ModelError::InferenceFailed { model, problem } => ModelError::Invalid { model, problem },
            other => other,
        })?;
        let seen = self.outputs.seen().to_vec();
        self.verified.push((size, seen.clone()));
        Ok(seen)
    }

    fn head(&self, model: Size) -> Head {
        Head { family: self.manifest.head, classes: self.manifest.classes.len(), model }
    }

    fn failed(&self) -> impl Fn(ort::Error) -> ModelError + use<> {
        let model = self.name.clone();
        move |error| ModelError::InferenceFailed { model: model.clone(), problem: said(&error) }
    }
}

/// What ONNX Runtime says, on one line: it repeats names out of the file, which may be of any length.
fn said(error: &ort::Error) -> String {
    shown(error.to_string().trim(), 1000).into_owned()
}

/// A picture was filled in just before, so that this never comes to be.
fn lost(name: &str) -> ModelError {
    ModelError::InferenceFailed { model: name.to_owned(), problem: "its input was lost".to_owned() }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared").field("preprocessor", &self.preprocessor).finish_non_exhaustive()
    }
}

/// One thread each for an operation and for the graph, and nobody spins: cores are filled by more detectors.
fn session(runtime: &Runtime, model: &Model) -> ort::Result<Session> {
    let mut builder = Session::builder(runtime.environment())?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?;
    for (name, bytes) in model.external() {
        builder = builder.with_external_initializer_file_in_memory(name, bytes.clone())?;
    }
    builder.commit_from_memory(model.bytes())
}

/// What a run needs beside its inputs and outputs.
struct Run<'a> {
    name: &'a str,
    manifest: &'a Manifest,
    session: &'a mut Session,
}

impl Run<'_> {
    /// Runs the model and lets `read` see the outputs, if they are what the head reads.
    fn run<T>(
        self,
        inputs: &Inputs,
        head: &Head,
        options: &RunOptions<HasSelectedOutputs>,
        outputs: &mut Outputs,
        read: impl FnOnce(&[OutputView<'_>]) -> T,
    ) -> Result<T, ModelError> {
        let failed =
            |error: ort::Error| ModelError::InferenceFailed { model: self.name.to_owned(), problem: said(&error) };
        let invalid = |problem: String| ModelError::Invalid { model: self.name.to_owned(), problem };
        let values = match inputs.named() {
            // A detector with one input: naming it would cost a list.
            None => self.session.run_with_options(ort::inputs![inputs.picture()], options),
            Some(named) => self.session.run_with_options(named, options),
        };
        let values = values.map_err(failed)?;
        let read = outputs.read(&self.manifest.outputs, &values, |views| head.check(views).map(|()| read(views)));
        read.and_then(|checked| checked).map_err(invalid)
    }
}
