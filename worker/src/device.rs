//! Where models run: what is wished, and what this machine has for it.
//!
//! It is settled before anything loads ONNX Runtime, of which a process can work with one build only.

mod inventory;
mod machine;
mod patience;
mod settled;

use framefleet_contract::ErrorCode;
use framefleet_native::cuda::{CudaError, Gpu};
pub use inventory::{Cpu, Inventory, Properties, Seen};
pub use machine::{ThisMachine, gpu_places};
pub use settled::{GpuWish, Settled, settle};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// What `--device` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceWish {
    /// A GPU where there is one that runs models, and the CPU otherwise.
    Auto,
    Cpu,
    /// The GPU of this number, as CUDA counts them, and nothing else.
    Cuda(usize),
}

/// Where models run.
#[derive(Debug)]
pub enum Chosen<G = Arc<Gpu>> {
    Cpu {
        /// Why a GPU that is there is not used, where nobody asked for the CPU.
        note: Option<String>,
    },
    Cuda(G),
}

/// Everything that keeps the GPU that was asked for from being used, each with what to do about it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--device cuda:{ordinal} cannot be had: {} (--device cpu needs no GPU)", sentence(problems))]
pub struct DeviceError {
    ordinal: usize,
    /// At least one.
    problems: Vec<CudaError>,
}

impl DeviceError {
    pub fn code(&self) -> ErrorCode {
        self.problems.first().map_or(ErrorCode::DeviceUnavailable, CudaError::code)
    }
}

/// What a choice rests on.
pub trait Machine {
    type Gpu;

    /// How many GPUs the driver shows: none where there is no driver.
    fn gpus(&self) -> Result<usize, CudaError>;

    /// What GPU work lacks here: an error for each thing that a user has to do.
    fn missing(&self) -> Vec<CudaError>;

    fn open(&self, ordinal: usize) -> Result<Self::Gpu, CudaError>;
}

/// The decision alone.
///
/// # Errors
/// Only where a GPU is asked for by its number.
pub fn choose<M: Machine>(wish: DeviceWish, machine: &M) -> Result<Chosen<M::Gpu>, DeviceError> {
    match wish {
        DeviceWish::Cpu => Ok(Chosen::Cpu { note: None }),
        DeviceWish::Cuda(ordinal) => match take(ordinal, machine) {
            Ok(gpu) => Ok(Chosen::Cuda(gpu)),
            Err(problems) => Err(DeviceError { ordinal, problems }),
        },
        DeviceWish::Auto => Ok(first_or_cpu(machine)),
    }
}

/// Most machines have no GPU: on these, nothing is loaded and nothing is said.
fn first_or_cpu<M: Machine>(machine: &M) -> Chosen<M::Gpu> {
    let problems = match machine.gpus() {
        Ok(0) => return Chosen::Cpu { note: None },
        Ok(_) => match take(0, machine) {
            Ok(gpu) => return Chosen::Cuda(gpu),
            Err(problems) => problems,
        },
        Err(problem) => vec![problem],
    };
    let why = sentence(&problems);
    Chosen::Cpu { note: Some(format!("the CPU is used, since the GPU cannot be: {why} (--device cpu does not look)")) }
}

fn take<M: Machine>(ordinal: usize, machine: &M) -> Result<M::Gpu, Vec<CudaError>> {
    let mut problems = machine.missing();
    problems.extend(machine.gpus().err());
    if problems.is_empty() { machine.open(ordinal).map_err(|problem| vec![problem]) } else { Err(problems) }
}

fn sentence(problems: &[CudaError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; and ")
}

impl FromStr for DeviceWish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            // Empty as an environment variable is where nobody set it.
            "auto" | "" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(ordinal)) => Ok(Self::Cuda(ordinal)),
                Some(Err(_)) => {
                    Err("after cuda: comes the GPU's number, such as cuda:0; `framefleet devices` lists them"
                        .to_owned())
                }
                None => Err("take auto, cpu, or cuda:N with the GPU's number, such as cuda:0".to_owned()),
            },
        }
    }
}

impl fmt::Display for DeviceWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

#[cfg(test)]
mod tests;
