//! Devices that run a model on several pictures at once, behind the two traits that a real GPU and a pretended one have.

mod buckets;

pub use buckets::Buckets;

use crate::{Model, ModelError, Runtime, StageTimes, Thresholds};
use framefleet_contract::detection::Detection;
use framefleet_native::ffmpeg::decode::Frame;
use std::fmt::Debug;

/// Batches of a session that may be under way at once: one runs while the next one is made ready and the last one's
/// detections are taken.
pub const IN_FLIGHT: usize = 2;

/// Where models run in batches.
pub trait Device: Debug + Send + Sync {
    /// As `--device` calls it, such as `cuda:0`.
    fn name(&self) -> &str;

    /// What it is, for people: `NVIDIA H200`.
    fn description(&self) -> &str;

    /// The most pictures of a batch that are wanted; a model may take fewer.
    fn largest_batch(&self) -> usize;

    /// Makes a session for batches of up to `largest` pictures. Where memory does not suffice for as many as are wanted at
    /// most, it is tried once with half of them.
    fn load(&self, runtime: &Runtime, model: &Model, largest: usize) -> Result<Box<dyn BatchSession>, ModelError>;
}

/// A model on a device, with the memory of its batches; owned by one thread.
///
/// Batches end in the order in which they were started. After an error nothing more is asked of it.
pub trait BatchSession: Debug + Send {
    /// The sizes of batch that it was made for.
    fn buckets(&self) -> &Buckets;

    /// Begins with pictures that are all laid into inputs of one size, and does not wait for their detections.
    ///
    /// There are at most as many as the largest bucket holds, and at most [`IN_FLIGHT`] batches under way.
    fn start(&mut self, pictures: &[ToDetect<'_>]) -> Result<(), ModelError>;

    /// Whether [`Self::finish`] would not wait.
    fn is_done(&mut self) -> Result<bool, ModelError>;

    /// Waits for the batch that was started first, and gives the detections of each of its pictures, best first, in the
    /// order of the pictures. The times are those of the whole batch.
    fn finish(&mut self, take: &mut dyn FnMut(&[Detection])) -> Result<StageTimes, ModelError>;
}

/// A picture of a batch.
#[derive(Debug, Clone, Copy)]
pub struct ToDetect<'a> {
    pub frame: &'a Frame,
    pub thresholds: &'a Thresholds,
}
