//! Models on an NVIDIA GPU: pictures go in where the decoder left them, and only what was found comes back.
//!
//! ```text
//! CudaDevice ─ load ─► CudaSession ─► Prepared (an input size: head, memory of its batches)
//!    └ TensorRt: builds an engine beside it ─────► takes the session's place when nothing is under way
//! ```

mod outputs;
mod prepared;
mod session;
mod tensorrt;

use crate::{
    Model, ModelError, Runtime,
    device::{BatchSession, Buckets, Device},
    heads::Head,
    manifest::{HeadFamily, Manifest},
};
use framefleet_native::cuda::{self, CudaError, Gpu, GpuModelError, Kernels, Provider, Stream, beside_recordings};
use session::CudaSession;
use std::{path::PathBuf, sync::Arc};
use tensorrt::Upgrade;

/// How models run on a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaSettings {
    /// The most pictures at once, where the model leaves that open.
    pub largest_batch: usize,
    /// The same detections every time: all batches of one size, no TF32, and always the same algorithms.
    pub deterministic: bool,
    /// `None` to do without; not together with `deterministic`.
    pub tensorrt: Option<Engines>,
}

/// TensorRT's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Engines {
    /// Each is kept in a folder of its own in this one.
    pub folder: PathBuf,
    /// Of TensorRT, as it says itself: engines are for one alone.
    pub version: String,
}

/// What is known to fill a GPU, and with inputs of 640 pixels takes half a GB of it.
pub const LARGEST_BATCH: usize = 32;

impl Default for CudaSettings {
    fn default() -> Self {
        Self { largest_batch: LARGEST_BATCH, deterministic: false, tensorrt: None }
    }
}

/// A GPU that runs models.
#[derive(Debug)]
pub struct CudaDevice {
    gpu: Arc<Gpu>,
    kernels: Arc<Kernels>,
    name: String,
    settings: CudaSettings,
    on_host: bool,
}

impl CudaDevice {
    /// Compiles the kernels for the GPU, or finds them compiled.
    pub fn new(gpu: Arc<Gpu>, settings: CudaSettings) -> Result<Self, CudaError> {
        let kernels = Arc::new(Kernels::load(&gpu)?);
        let name = format!("cuda:{}", gpu.ordinal());
        Ok(Self { gpu, kernels, name, settings, on_host: false })
    }

    /// Lets ONNX Runtime use the CPU: for a driver that pretends a GPU, whose memory is the host's.
    #[must_use]
    pub fn with_host_inference(self) -> Self {
        Self { on_host: true, ..self }
    }

    /// Has a small model run as all others will.
    ///
    /// # Errors
    /// Something is wrong with ONNX Runtime, its libraries or the GPU, and no model will run.
    pub fn try_out(&self, runtime: &Runtime) -> Result<(), CudaError> {
        let _beside = beside_recordings();
        let deterministic = self.settings.deterministic;
        let provider = if self.on_host { Provider::Host } else { Provider::Cuda { deterministic, graphs: false } };
        cuda::try_out(runtime.environment(), &Stream::new(&self.gpu, &self.kernels)?, provider)
    }

    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    fn buckets(&self, manifest: &Manifest, largest: usize) -> Buckets {
        let buckets = Buckets::new(manifest, largest);
        if self.settings.deterministic { buckets.only_the_largest() } else { buckets }
    }

    /// CUDA graphs where they do: not for operations that CUDA has not, nor where inputs or outputs have no shape of their own.
    fn load_session(&self, runtime: &Runtime, model: &Model, buckets: &Buckets) -> Result<CudaSession, ModelError> {
        // It takes memory, and waits.
        let _beside = beside_recordings();
        // A stream for each attempt: whatever a failed one left on its own is no matter to the next.
        let load = |provider| {
            CudaSession::load(runtime, model, buckets.clone(), &Stream::new(&self.gpu, &self.kernels)?, provider)
        };
        if self.on_host {
            return load(Provider::Host);
        }
        let deterministic = self.settings.deterministic;
        if self.settings.tensorrt.is_none() && has_fixed_shapes(&model.manifest) {
            match load(Provider::Cuda { deterministic, graphs: true }) {
                Err(error) if may_do_without_graphs(&error) => {
                    tracing::info!(model = model.name, %error, "no CUDA graphs");
                }
                other => return other,
            }
        }
        load(Provider::Cuda { deterministic, graphs: false })
    }

    /// With half of the pictures where memory does not suffice for all that are wanted; and one by one where the model does not
    /// run on more, as some do whose batch is open.
    fn load_fitting(&self, runtime: &Runtime, model: &Model, largest: usize) -> Result<CudaSession, ModelError> {
        let buckets = self.buckets(&model.manifest, largest);
        let smaller = match self.load_session(runtime, model, &buckets) {
            Err(error) if error.is_out_of_memory() && largest == self.largest_batch() => {
                let half = buckets.half().ok_or_else(|| error.clone())?;
                tracing::warn!("{error}: trying with at most {half} pictures at once");
                half
            }
            Err(error) if is_the_models_own(&error) && buckets.half().is_some() => {
                tracing::warn!("{error}: trying with one picture at once");
                1
            }
            other => return other,
        };
        self.load_session(runtime, model, &self.buckets(&model.manifest, smaller))
    }
}

impl Device for CudaDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &str {
        self.gpu.name()
    }

    fn largest_batch(&self) -> usize {
        self.settings.largest_batch
    }

    fn load(&self, runtime: &Runtime, model: &Model, largest: usize) -> Result<Box<dyn BatchSession>, ModelError> {
        let session = self.load_fitting(runtime, model, largest)?;
        // A second session needs as much memory again.
        let has_room = session.buckets().largest() >= self.buckets(&model.manifest, self.largest_batch()).largest();
        let upgrade = self.settings.tensorrt.clone().filter(|_| has_room);
        let upgrade = upgrade.map(|engines| Upgrade {
            runtime: runtime.clone(),
            model: model.clone(),
            buckets: session.buckets().clone(),
            gpu: Arc::clone(&self.gpu),
            kernels: Arc::clone(&self.kernels),
            engines,
            on_host: self.on_host,
        });
        Ok(Box::new(match upgrade {
            Some(upgrade) => session.replaced_by(upgrade.begin()),
            None => session,
        }))
    }
}

/// Whether every run with inputs of one size gives outputs of the same shapes. Heads that suppress duplicates themselves may
/// list as many detections as there are.
fn gives_fixed_shapes(family: HeadFamily) -> bool {
    let head = Head { family, classes: 0, model: crate::letterbox::Size { width: 0, height: 0 } };
    head.has_fixed_shape()
        || matches!(
            family,
            HeadFamily::RtDetr | HeadFamily::UltralyticsRtDetr | HeadFamily::DetrSigmoid | HeadFamily::DetrSoftmax
        )
}

fn has_fixed_shapes(manifest: &Manifest) -> bool {
    // What is bound later than the first recording may lie where a graph works: so there is one size only.
    let has_one_size = manifest.input.width.is_some() && manifest.input.height.is_some();
    has_one_size && gives_fixed_shapes(manifest.head)
}

/// What ONNX Runtime refuses, and what the driver refused of a recording.
fn may_do_without_graphs(error: &ModelError) -> bool {
    is_the_models_own(error) || matches!(error, ModelError::Device(CudaError::Failed { .. }))
}

fn is_the_models_own(error: &ModelError) -> bool {
    matches!(error, ModelError::InferenceFailed { .. } | ModelError::Invalid { .. })
}

/// Says of which model it was.
fn failed(model: &str) -> impl Fn(GpuModelError) -> ModelError {
    move |error| match error {
        GpuModelError::Cuda(error) => ModelError::Device(error),
        GpuModelError::Onnx(problem) | GpuModelError::Shape(problem) => ModelError::InferenceFailed {
            model: model.to_owned(),
            problem: crate::error::shown(problem.trim(), 1000).into_owned(),
        },
    }
}
