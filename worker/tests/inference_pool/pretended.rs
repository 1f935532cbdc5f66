//! A device that is none: its sessions are those of the CPU, and it fails as it is told.

use framefleet_contract::detection::Detection;
use framefleet_models::device::{BatchSession, Buckets, Device, IN_FLIGHT, ToDetect};
use framefleet_models::manifest::Manifest;
use framefleet_models::{Detector, Model, ModelError, Runtime, StageTimes};
use framefleet_native::cuda::CudaError;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Memory suffices for so many pictures at once. It is noticed when the batch is started, or only at its end.
    MemoryFor {
        pictures: usize,
        at_the_end: bool,
    },
    /// The batch of this number, from 0.
    LostAt(usize),
    FailsAt(usize),
    /// Every batch with a picture of this width.
    FailsOnWidth(u32),
    PanicsAt(usize),
}

#[derive(Debug)]
pub struct Pretended {
    largest: usize,
    fault: Fault,
    /// How many pictures each session was made for.
    pub loads: Mutex<Vec<usize>>,
    /// How many pictures each batch had that was started.
    pub batches: Arc<Mutex<Vec<usize>>>,
}

impl Pretended {
    pub fn new(largest: usize, fault: Fault) -> Arc<Self> {
        Arc::new(Self { largest, fault, loads: Mutex::default(), batches: Arc::default() })
    }

    pub fn loads(&self) -> Vec<usize> {
        self.loads.lock().unwrap().clone()
    }

    pub fn batches(&self) -> Vec<usize> {
        self.batches.lock().unwrap().clone()
    }
}

impl Device for Pretended {
    fn name(&self) -> &'static str {
        "pretended:0"
    }

    fn description(&self) -> &'static str {
        "no device at all"
    }

    fn largest_batch(&self) -> usize {
        self.largest
    }

    fn load(&self, runtime: &Runtime, model: &Model, largest: usize) -> Result<Box<dyn BatchSession>, ModelError> {
        self.loads.lock().unwrap().push(largest);
        let mut open = Manifest { ..model.manifest.clone() };
        open.input.batch = None;
        Ok(Box::new(Session {
            detector: Detector::new(runtime, model)?,
            buckets: Buckets::new(&open, largest),
            fault: self.fault,
            batches: Arc::clone(&self.batches),
            under_way: VecDeque::new(),
            asked: 0,
        }))
    }
}

struct Session {
    detector: Detector,
    buckets: Buckets,
    fault: Fault,
    batches: Arc<Mutex<Vec<usize>>>,
    under_way: VecDeque<Result<Vec<Vec<Detection>>, ModelError>>,
    /// How often it was asked whether the first is done.
    asked: usize,
}

/// A batch is done when it was asked for so often, so that batches overlap.
const ASKED_UNTIL_DONE: usize = 5;

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl BatchSession for Session {
    fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    #[expect(clippy::panic, reason = "a fault that is asked for")]
    fn start(&mut self, pictures: &[ToDetect<'_>]) -> Result<(), ModelError> {
        assert!(self.under_way.len() < IN_FLIGHT && (1..=self.buckets.largest()).contains(&pictures.len()));
        let number = {
            let mut batches = self.batches.lock().unwrap();
            batches.push(pictures.len());
            batches.len() - 1
        };
        let mut detect = || {
            pictures
                .iter()
                .map(|picture| {
                    Ok(self.detector.detect(&picture.frame.picture().unwrap(), picture.thresholds)?.to_vec())
                })
                .collect::<Result<Vec<_>, ModelError>>()
        };
        let too_many = |most: usize| pictures.len() > most;
        let out_of_memory = ModelError::Device(CudaError::OutOfMemory { action: "run the model" });
        let detected = match self.fault {
            Fault::MemoryFor { pictures, at_the_end: false } if too_many(pictures) => return Err(out_of_memory),
            Fault::MemoryFor { pictures, at_the_end: true } if too_many(pictures) => Err(out_of_memory),
            Fault::LostAt(at) if number == at => {
                Err(CudaError::Lost { action: "wait for a batch", reason: "CUDA error 719".to_owned() }.into())
            }
            Fault::FailsOnWidth(width) if pictures.iter().any(|picture| picture.frame.display().width == width) => {
                Err(ModelError::InferenceFailed { model: "it".to_owned(), problem: "it was told to".to_owned() })
            }
            Fault::FailsAt(at) if number == at => {
                Err(ModelError::InferenceFailed { model: "it".to_owned(), problem: "it was told to".to_owned() })
            }
            Fault::PanicsAt(at) if number == at => panic!("it was told to"),
            _ => detect(),
        };
        self.under_way.push_back(detected);
        Ok(())
    }

    fn is_done(&mut self) -> Result<bool, ModelError> {
        self.asked += 1;
        Ok(self.asked >= ASKED_UNTIL_DONE)
    }

    fn finish(&mut self, take: &mut dyn FnMut(&[Detection])) -> Result<StageTimes, ModelError> {
        self.asked = 0;
        let pictures = self.under_way.pop_front().expect("a batch is under way")?;
        for detections in &pictures {
            take(detections);
        }
        Ok(StageTimes { preprocess: 0.001, infer: 0.01, postprocess: 0.001 })
    }
}
