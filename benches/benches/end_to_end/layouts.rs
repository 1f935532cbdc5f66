//! Inference by itself: the ways to spread it over the cores.

use crate::Failure;
use crate::parts::rate;
use framefleet_benches::machine;
use framefleet_models::Model;
use framefleet_models::preprocess::Preprocessor;
use framefleet_native::ffmpeg::decode::Frame;
use ort::environment::Environment;
use ort::session::{Session, builder::GraphOptimizationLevel};
use ort::value::Tensor;
use std::fmt;
use std::sync::Barrier;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub sessions: usize,
    /// Of an operation of one session.
    pub threads: usize,
    /// Whether a session's threads wait for each other actively.
    pub spinning: bool,
}

impl Layout {
    /// The worker's own layout first: see `models/src/session.rs`.
    pub fn all() -> Vec<Self> {
        let cores = machine::cores();
        let layout = |sessions, threads, spinning| Self { sessions, threads, spinning };
        let mut layouts = vec![layout(cores, 1, false)];
        if cores > 1 {
            layouts.extend([layout(1, cores, true), layout(1, cores, false)]);
            layouts.extend([layout(cores, cores, true), layout(cores, cores, false)]);
        }
        layouts
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let Self { sessions, threads, spinning } = *self;
        write!(f, "{sessions} session{} × {threads} thread{}", plural(sessions), plural(threads))?;
        if threads > 1 { f.write_str(if spinning { ", spinning" } else { ", not spinning" }) } else { Ok(()) }
    }
}

/// A model with an input that was made from a real picture.
#[derive(Debug)]
pub struct Inference<'a> {
    environment: &'a Environment,
    model: &'a Model,
    shape: [usize; 4],
    input: Vec<f32>,
}

impl<'a> Inference<'a> {
    pub fn new(environment: &'a Environment, model: &'a Model, frame: &Frame) -> Result<Self, Failure> {
        let picture = frame.picture().ok_or("the frame is not in host memory")?;
        let mut preprocessor = Preprocessor::new(&model.manifest, &picture)?;
        let mut input = vec![0.0; preprocessor.input_len()];
        preprocessor.paint_padding(&mut input);
        preprocessor.fill(&picture, &mut input)?;
        let size = preprocessor.letterbox().model;
        Ok(Self { environment, model, shape: [1, 3, size.height, size.width], input })
    }

    /// Frames per second of all sessions together.
    pub fn rate(&self, layout: Layout, window: Duration) -> Result<f64, Failure> {
        let all_loaded = &Barrier::new(layout.sessions);
        std::thread::scope(|scope| {
            let threads = (0..layout.sessions).map(|_| scope.spawn(|| self.rate_of_one(layout, window, all_loaded)));
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().expect("inference does not panic")).sum()
        })
    }

    fn rate_of_one(&self, layout: Layout, window: Duration, all_loaded: &Barrier) -> Result<f64, Failure> {
        let session = self.session(layout);
        // Before the error is told: the others wait for this thread too.
        all_loaded.wait();
        let mut session = session?;
        let input = Tensor::from_array((self.shape, self.input.clone()))?;
        let name = self.model.manifest.input.name.as_str();
        rate(window, || {
            session.run(ort::inputs![name => &input])?;
            Ok(1)
        })
    }

    fn session(&self, layout: Layout) -> ort::Result<Session> {
        Session::builder(self.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(layout.threads)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(layout.spinning)?
            .with_inter_op_spinning(false)?
            .commit_from_memory(self.model.bytes())
    }
}
