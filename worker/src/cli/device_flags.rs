//! The flags that say where models run, of `run` and of `worker`.

use crate::device::{DeviceWish, GpuWish};
use clap::Args;
use framefleet_models::cuda::LARGEST_BATCH;

#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceFlags {
    /// Where to run the model: auto, cpu, or cuda:N for the GPU of that number; cuda is cuda:0. auto is a GPU where there is one
    /// that runs models, and otherwise the CPU. `framefleet devices` tells which, and what is missing
    #[arg(long, value_name = "DEVICE", env = "FRAMEFLEET_DEVICE", default_value_t = DeviceWish::Auto)]
    pub device: DeviceWish,

    /// On a GPU: look at up to N frames at once, of all videos together. A model that was exported for a number of its own
    /// keeps that; where memory does not suffice, half of it is tried
    #[arg(long, value_name = "N", default_value_t = LARGEST_BATCH, value_parser = batch)]
    batch: usize,

    /// On a GPU: find the same every time, whatever that costs. Batches of one size, no TF32, always the same algorithms. The
    /// CPU always finds the same
    #[arg(long)]
    deterministic: bool,

    /// On a GPU: let TensorRT take over, in half precision, as soon as its engine is built: some minutes after the first start
    /// with a model, at once after that. Scores change a little when it does
    #[arg(long, conflicts_with = "deterministic")]
    tensorrt: bool,
}

impl DeviceFlags {
    pub fn gpu(&self) -> GpuWish {
        GpuWish { largest_batch: self.batch, deterministic: self.deterministic, tensorrt: self.tensorrt }
    }
}

/// Each takes some MB of the GPU's memory.
const MOST_IN_A_BATCH: usize = 256;

fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if (1..=MOST_IN_A_BATCH).contains(&value) => Ok(value),
        _ => Err(format!("take a whole number from 1 to {MOST_IN_A_BATCH}")),
    }
}
