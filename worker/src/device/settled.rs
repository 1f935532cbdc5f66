//! What was chosen, ready to run models.

use super::patience::patiently;
use super::{Chosen, DeviceWish, ThisMachine, choose, gpu_places};
use crate::error::Result;
use crate::infer::{InferencePool, OnDevice};
use framefleet_contract::ErrorCode;
use framefleet_models::cuda::{CudaDevice, CudaSettings, Engines, LARGEST_BATCH};
use framefleet_models::device::Device;
use framefleet_models::{ModelError, Runtime};
use framefleet_native::cuda::libraries::Component;
use framefleet_native::cuda::nvdec::{self, Capabilities, Chroma, Codec};
use framefleet_native::cuda::{CudaError, Gpu, Libraries};
use framefleet_native::ffmpeg::hardware::{Asked, Hardware};
use std::sync::Arc;

/// How a GPU runs models, where one is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuWish {
    /// The most frames at once.
    pub largest_batch: usize,
    /// The same detections every time.
    pub deterministic: bool,
    /// With TensorRT, in half precision.
    pub tensorrt: bool,
}

impl GpuWish {
    /// The flags by which it asks for more than a CPU can give, with their verb. A CPU finds the same every time anyway.
    fn without_effect_on_cpu(self) -> Option<&'static str> {
        match (self.largest_batch == LARGEST_BATCH, self.tensorrt) {
            (true, false) => None,
            (false, false) => Some("--batch has"),
            (true, true) => Some("--tensorrt has"),
            (false, true) => Some("--batch and --tensorrt have"),
        }
    }
}

/// Where models run in this process.
#[derive(Debug, Clone)]
pub struct Settled {
    pub runtime: Runtime,
    on: Option<OnDevice>,
}

const HOW_TO_END: &str = " (--device cpu does not ask it; the second Ctrl-C ends the program at once)";

/// Chooses, tells the user why a GPU that is there is not used, and loads the build of ONNX Runtime that goes with the choice.
pub fn settle(wish: DeviceWish, gpu: GpuWish) -> Result<Settled> {
    let note = match patiently(HOW_TO_END, || choose_and_load(wish, gpu))? {
        Chosen::Cuda(settled) => return Ok(settled),
        Chosen::Cpu { note } => note,
    };
    if let Some(note) = note {
        tracing::warn!("{note}");
    }
    if let Some(flags) = gpu.without_effect_on_cpu() {
        tracing::warn!("models run on the CPU, where {flags} no effect");
    }
    Ok(Settled { runtime: Runtime::load()?, on: None })
}

fn choose_and_load(wish: DeviceWish, how: GpuWish) -> Result<Chosen<Settled>> {
    let found = match choose(wish, &ThisMachine)? {
        Chosen::Cpu { note } => return Ok(Chosen::Cpu { note }),
        Chosen::Cuda(found) => found,
    };
    match on_gpu(found, how, wish) {
        Ok(settled) => Ok(Chosen::Cuda(settled)),
        Err(problem) if wish == DeviceWish::Auto && can_go_on_after(&problem) => {
            Ok(Chosen::Cpu { note: Some(not_used(&problem)) })
        }
        Err(problem) => Err(problem.into()),
    }
}

/// Nobody knows what libraries do in a process whose GPU was lost.
fn can_go_on_after(problem: &ModelError) -> bool {
    problem.code() != ErrorCode::DeviceLost
}

fn not_used(problem: &ModelError) -> String {
    format!("the CPU is used, since the GPU cannot be: {problem} (--device cpu does not look)")
}

fn on_gpu(gpu: Arc<Gpu>, how: GpuWish, wish: DeviceWish) -> std::result::Result<Settled, ModelError> {
    let tensorrt = match how.tensorrt.then(engines).transpose() {
        Err(lacking) if wish == DeviceWish::Auto => {
            tracing::warn!("models run without TensorRT: {lacking}");
            None
        }
        found => found?,
    };
    let settings = CudaSettings { largest_batch: how.largest_batch, deterministic: how.deterministic, tensorrt };
    let (device, runtime) = tried(&gpu, settings)?;
    let hardware = match decoder_of(gpu) {
        Ok(hardware) => Some(hardware),
        Err(problem) => {
            tracing::warn!("all videos are decoded in software: {problem}");
            None
        }
    };
    let device: Arc<dyn Device> = Arc::new(device);
    tracing::info!(
        device = device.name(),
        gpu = device.description(),
        runtime = runtime.version(),
        "models run on a GPU"
    );
    Ok(Settled { runtime: runtime.on(Arc::clone(&device)), on: Some(OnDevice { device, hardware }) })
}

/// The device, on which a model has run, and what ran it.
pub(super) fn tried(gpu: &Arc<Gpu>, settings: CudaSettings) -> std::result::Result<(CudaDevice, Runtime), ModelError> {
    let device = CudaDevice::new(Arc::clone(gpu), settings)?;
    let runtime = Runtime::load_for_gpu()?;
    device.try_out(&runtime)?;
    Ok((device, runtime))
}

fn engines() -> std::result::Result<Engines, CudaError> {
    let libraries = Libraries::load(&gpu_places());
    let state = libraries.of(Component::TensorRt);
    let lacking = |what: &str, reason: String, remedy: &str| CudaError::Missing {
        what: what.to_owned(),
        reason,
        remedy: remedy.to_owned(),
    };
    if let Some(reason) = state.reason() {
        let remedy = Component::TensorRt.optional_remedy().unwrap_or("go on without --tensorrt");
        return Err(lacking("TensorRT is not installed", reason, remedy));
    }
    let folder = framefleet_native::cuda::cache_folder().ok_or_else(|| {
        let reason = "neither XDG_CACHE_HOME nor HOME is set".to_owned();
        lacking("there is no folder for TensorRT's engines", reason, "set one of them")
    })?;
    let version = state.version().map_or_else(|| "unknown".to_owned(), |version| version.to_string());
    Ok(Engines { folder: folder.join("tensorrt"), version })
}

fn decoder_of(gpu: Arc<Gpu>) -> std::result::Result<Arc<Hardware>, CudaError> {
    let capabilities = nvdec::capabilities(&gpu)?;
    let engines = capabilities.engines();
    Hardware::new(gpu, engines, Box::new(move |asked| can_decode(&capabilities, asked)))
}

fn can_decode(capabilities: &Capabilities, asked: &Asked<'_>) -> std::result::Result<(), String> {
    let codec = match asked.codec {
        "h264" => Codec::H264,
        "hevc" => Codec::Hevc,
        "vp8" => Codec::Vp8,
        "vp9" => Codec::Vp9,
        "av1" => Codec::Av1,
        other => return Err(format!("nobody asked what this GPU's decoder does with {other}")),
    };
    capabilities.can_decode(codec, Chroma::Yuv420, asked.depth, (asked.width, asked.height))
}

impl Settled {
    /// Threads that look at frames: so many on the CPU, and one for a device.
    pub fn pool(&self, threads: usize) -> Result<InferencePool> {
        self.on.clone().map_or_else(|| InferencePool::start(threads), InferencePool::on_device)
    }

    /// `cpu`, or the GPU as the driver calls it.
    pub fn device(&self) -> &str {
        self.on.as_ref().map_or("cpu", |on| on.device.description())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{DEVICE_LOST, status_before_job};

    #[test]
    fn a_gpu_that_is_lost_ends_the_process_and_any_other_trouble_leaves_the_cpu() {
        let lost = ModelError::Device(CudaError::Lost { action: "run a model", reason: "it is gone".to_owned() });
        assert!(!can_go_on_after(&lost));
        assert_eq!(status_before_job(&lost.into()), DEVICE_LOST);
        assert!(can_go_on_after(&ModelError::Device(CudaError::OutOfMemory { action: "run a model" })));
        assert!(can_go_on_after(&ModelError::RuntimeMissing { problem: "it is nowhere".to_owned() }));
    }
}
