//! The GPU that is measured, and all that runs on it.

use crate::monitor;
use crate::{Failure, Options};
use framefleet_models::check::{Checked, Report};
use framefleet_models::cuda::{CudaDevice, CudaSettings};
use framefleet_models::device::Device;
use framefleet_models::{Model, Runtime, Serving};
use framefleet_native::cuda::libraries::Component;
use framefleet_native::cuda::nvdec::{self, Chroma, Codec};
use framefleet_native::cuda::{Gpu, Kernels, Libraries};
use framefleet_native::ffmpeg::hardware::{Asked, Hardware};
use framefleet_worker::device::gpu_places;
use nvml_wrapper::Nvml;
use std::path::Path;
use std::sync::Arc;

#[derive(Debug)]
pub struct Card {
    pub gpu: Arc<Gpu>,
    pub kernels: Arc<Kernels>,
    /// For batches of what the options say.
    pub device: Arc<dyn Device>,
    /// The same for batches of one.
    pub one_at_a_time: Arc<dyn Device>,
    pub runtime: Runtime,
    /// Where it decodes; none in a rehearsal.
    pub hardware: Option<Arc<Hardware>>,
    pub libraries: Libraries,
    nvml: Option<Nvml>,
    is_pretended: bool,
}

impl Card {
    /// In this order, since whoever comes later asks for what is loaded before.
    pub fn open(options: &Options) -> Result<Self, Failure> {
        let libraries = Libraries::load(&gpu_places());
        let is_real = !options.rehearse;
        if is_real && let Some(missing) = libraries.missing().into_iter().next() {
            return Err(missing.into());
        }
        let gpu = Gpu::open(options.gpu)?;
        let runtime = if is_real { Runtime::load_for_gpu()? } else { Runtime::load()? };
        let device = |largest_batch: usize| -> Result<Arc<dyn Device>, Failure> {
            let settings = CudaSettings { largest_batch, ..CudaSettings::default() };
            let device = CudaDevice::new(Arc::clone(&gpu), settings)?;
            Ok(Arc::new(if is_real { device } else { device.with_host_inference() }))
        };
        Ok(Self {
            kernels: Arc::new(Kernels::load(&gpu)?),
            device: device(options.batch)?,
            one_at_a_time: device(1)?,
            runtime,
            hardware: is_real.then(|| hardware(&gpu)).transpose()?,
            libraries,
            nvml: if is_real { Nvml::init().ok() } else { None },
            is_pretended: options.rehearse,
            gpu,
        })
    }

    /// None where NVML is not there.
    pub fn nvml(&self) -> Option<nvml_wrapper::Device<'_>> {
        monitor::device(self.nvml.as_ref()?, self.gpu.uuid().as_deref())
    }

    /// Such as `580.159.03`.
    pub fn driver_release(&self) -> Option<String> {
        self.nvml.as_ref()?.sys_driver_version().ok()
    }

    pub fn is_pretended(&self) -> bool {
        self.is_pretended
    }

    /// A model as the pipeline has it, on a device.
    pub fn serving(&self, onnx: &Path, device: &Arc<dyn Device>) -> Result<Arc<Serving>, Failure> {
        let model = Model::open(onnx)?;
        // Nobody reads it here; the program's own has what was seen when the model was tried out.
        let report = Report::untried(&model);
        let runtime = self.runtime.clone().on(Arc::clone(device));
        Ok(Arc::new(Serving::new(&runtime, Checked { model, report }, None)))
    }

    /// Versions of what is measured, as the libraries tell them.
    pub fn versions(&self) -> Vec<(&'static str, String)> {
        let told = self.libraries.iter().filter_map(|(component, state)| match state {
            framefleet_native::cuda::libraries::State::Found { version: Some(version), .. } => {
                let name = if component == Component::Driver { "CUDA of the driver" } else { component.title() };
                Some((name, version.to_string()))
            }
            _ => None,
        });
        told.chain([("ONNX Runtime", self.runtime.version().to_owned())]).collect()
    }
}

/// NVDEC for whatever it says that it can do.
fn hardware(gpu: &Arc<Gpu>) -> Result<Arc<Hardware>, Failure> {
    let capabilities = nvdec::capabilities(gpu)?;
    let engines = capabilities.engines();
    let can_decode = move |asked: &Asked<'_>| {
        let codec = match asked.codec {
            "h264" => Codec::H264,
            "hevc" => Codec::Hevc,
            other => return Err(format!("{other} is not measured")),
        };
        capabilities.can_decode(codec, Chroma::Yuv420, asked.depth, (asked.width, asked.height))
    };
    Ok(Hardware::new(Arc::clone(gpu), engines, Box::new(can_decode))?)
}
