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
use framefleet_native::cuda::{CudaError, Gpu, GpuModelError, Kernels, Provider, Queue, beside_recordings};
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
    /// Where TensorRT's engines are kept; `None` to do without.
    pub tensorrt: Option<PathBuf>,
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

    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    fn buckets(&self, manifest: &Manifest, largest: usize) -> Buckets {
        let buckets = Buckets::new(manifest, largest);
        if self.settings.deterministic { buckets.only_the_largest() } else { buckets }
    }

    /// CUDA graphs where they do: not for operations that CUDA has not, nor where outputs have no shape of their own.
    fn load_session(&self, runtime: &Runtime, model: &Model, buckets: &Buckets) -> Result<CudaSession, ModelError> {
        let queue = Queue::new(&self.gpu, &self.kernels)?;
        let deterministic = self.settings.deterministic;
        // It takes memory, and waits.
        let _beside = beside_recordings();
        let load = |provider| CudaSession::load(runtime, model, buckets.clone(), &queue, provider);
        if self.on_host {
            return load(Provider::Host);
        }
        // What TensorRT takes over soon is not worth it, and building its engine would spoil every recording.
        if self.settings.tensorrt.is_none() && gives_fixed_shapes(model.manifest.head) {
            match load(Provider::Cuda { deterministic, graphs: true }) {
                Err(error @ (ModelError::InferenceFailed { .. } | ModelError::Invalid { .. })) => {
                    tracing::info!(model = model.name, %error, "no CUDA graphs");
                }
                other => return other,
            }
        }
        load(Provider::Cuda { deterministic, graphs: false })
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
        let mut buckets = self.buckets(&model.manifest, largest);
        let session = match self.load_session(runtime, model, &buckets) {
            Err(error) if error.is_out_of_memory() && largest == self.largest_batch() => {
                let half = buckets.half().ok_or_else(|| error.clone())?;
                tracing::warn!("{error}: trying with at most {half} pictures at once");
                buckets = self.buckets(&model.manifest, half);
                self.load_session(runtime, model, &buckets)?
            }
            other => other?,
        };
        let upgrade = self.settings.tensorrt.as_deref().filter(|_| !self.settings.deterministic && !self.on_host);
        let upgrade = upgrade.map(|cache| Upgrade {
            runtime: runtime.clone(),
            model: model.clone(),
            buckets,
            gpu: Arc::clone(&self.gpu),
            kernels: Arc::clone(&self.kernels),
            cache: cache.to_owned(),
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

/// Says of which model it was.
fn failed(model: &str) -> impl Fn(GpuModelError) -> ModelError {
    move |error| match error {
        GpuModelError::Cuda(error) => ModelError::Device(error),
        GpuModelError::Onnx(problem) => ModelError::InferenceFailed {
            model: model.to_owned(),
            problem: crate::error::shown(problem.trim(), 1000).into_owned(),
        },
    }
}
