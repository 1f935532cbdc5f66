//! All that a machine has for running models, as it was found.

use super::patience::patiently;
use super::settled::tried;
use super::{Machine, gpu_places};
use framefleet_models::cuda::CudaSettings;
use framefleet_models::{Installed, ModelError, Runtime};
use framefleet_native::cuda::libraries::Component;
use framefleet_native::cuda::nvdec::{self, Capabilities};
use framefleet_native::cuda::{CudaError, Gpu, Libraries, Memory};
use nvml_wrapper::Nvml;
use std::fs;
use std::path::Path;
use std::thread::available_parallelism;

#[derive(Debug)]
pub struct Inventory {
    pub cpu: Cpu,
    /// NVIDIA's GPUs on the PCI bus. They are there without a driver too.
    pub on_the_bus: usize,
    /// Such as `580.95.05`, where the driver's library for monitoring (NVML) is there.
    pub driver_release: Option<String>,
    /// What the driver shows, in CUDA's order; none without a driver, an error where it does not start.
    pub gpus: Result<Vec<Seen>, CudaError>,
    pub libraries: Libraries,
    pub onnxruntime: Option<Installed>,
    pub onnxruntime_for_gpu: Option<Installed>,
}

#[derive(Debug)]
pub struct Cpu {
    pub model: Option<String>,
    /// That this process may use.
    pub cores: usize,
}

/// A GPU, if it can be taken up.
pub type Seen = Result<Properties, CudaError>;

#[derive(Debug)]
pub struct Properties {
    pub name: String,
    /// Major and minor.
    pub compute_capability: (u32, u32),
    pub memory: Result<Memory, CudaError>,
    /// Of the time just passed, percent in which it computed, where NVML is there.
    pub busy_percent: Option<u32>,
    /// What NVDEC can do.
    pub decoder: Result<Capabilities, CudaError>,
    /// Why no model runs on it, where nothing is missing and none does.
    pub problem: Option<CudaError>,
}

impl Inventory {
    /// Looks at this machine: loads what there is, and takes up one GPU after the other.
    pub fn take() -> Self {
        patiently("", Self::take_at_once)
    }

    fn take_at_once() -> Self {
        let libraries = Libraries::load(&gpu_places());
        let is_complete = libraries.missing().is_empty();
        let nvml = Nvml::init().ok();
        let count = if Gpu::has_driver() { Gpu::count() } else { Ok(0) };
        Self {
            cpu: Cpu::of_this_machine(),
            on_the_bus: on_the_bus(Path::new("/sys/bus/pci/devices")),
            driver_release: nvml.as_ref().and_then(|nvml| nvml.sys_driver_version().ok()),
            gpus: count
                .map(|count| (0..count).map(|ordinal| Properties::of(ordinal, nvml.as_ref(), is_complete)).collect()),
            onnxruntime: Runtime::installed(),
            onnxruntime_for_gpu: Runtime::installed_for_gpu()
                .filter(|_| libraries.of(Component::OnnxRuntimeCuda).reason().is_none()),
            libraries,
        }
    }

    pub fn has_driver(&self) -> bool {
        self.libraries.of(Component::Driver).reason().is_none()
    }
}

/// What was found decides as the machine itself would.
impl Machine for Inventory {
    /// Its name.
    type Gpu = String;

    fn gpus(&self) -> Result<usize, CudaError> {
        self.gpus.as_ref().map(Vec::len).map_err(Clone::clone)
    }

    fn missing(&self) -> Vec<CudaError> {
        self.libraries.missing()
    }

    fn open(&self, ordinal: usize) -> Result<String, CudaError> {
        let seen = self.gpus.as_ref().map_err(Clone::clone)?;
        match seen.get(ordinal) {
            Some(Ok(Properties { problem: Some(problem), .. }) | Err(problem)) => Err(problem.clone()),
            Some(Ok(properties)) => Ok(properties.name.clone()),
            None => Err(CudaError::NoSuchDevice { ordinal, found: format!("{} can be seen", seen.len()) }),
        }
    }
}

impl Cpu {
    fn of_this_machine() -> Self {
        let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        Self { model: cpu_model(&text), cores: available_parallelism().map_or(1, std::num::NonZero::get) }
    }
}

/// The name in `/proc/cpuinfo`, which not every architecture has.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" "))
}

impl Properties {
    fn of(ordinal: usize, nvml: Option<&Nvml>, is_complete: bool) -> Seen {
        let gpu = Gpu::open(ordinal)?;
        Ok(Self {
            name: gpu.name().to_owned(),
            compute_capability: gpu.compute_capability(),
            memory: gpu.memory(),
            busy_percent: nvml.and_then(|nvml| {
                // NVML counts GPUs otherwise than CUDA does.
                let device = nvml.device_by_uuid(gpu.uuid()?).ok()?;
                Some(device.utilization_rates().ok()?.gpu)
            }),
            decoder: nvdec::capabilities(&gpu),
            // Last, since it takes memory and time of the GPU.
            problem: if is_complete { tried(&gpu, CudaSettings::default()).err().map(of_gpu) } else { None },
        })
    }
}

fn of_gpu(error: ModelError) -> CudaError {
    match error {
        ModelError::Device(error) => error,
        // The others say what to do themselves.
        other => CudaError::Failed { action: "run a model", reason: other.to_string() },
    }
}

/// The vendor is NVIDIA's, and the class that of displays (03).
fn on_the_bus(devices: &Path) -> usize {
    let entries = fs::read_dir(devices).into_iter().flatten().filter_map(Result::ok);
    let begins = |path: &Path, start: &str| fs::read_to_string(path).is_ok_and(|text| text.starts_with(start));
    let is_gpu = |path: &Path| begins(&path.join("vendor"), "0x10de") && begins(&path.join("class"), "0x03");
    entries.filter(|entry| is_gpu(&entry.path())).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpus_model_is_the_first_of_its_cores() {
        let text = "processor\t: 0\nmodel name\t: Some  CPU @ 2.0GHz\nprocessor\t: 1\nmodel name\t: Other\n";
        assert_eq!(cpu_model(text).as_deref(), Some("Some CPU @ 2.0GHz"));
        assert_eq!(cpu_model("processor : 0\nFeatures : fp asimd"), None);
    }

    #[test]
    fn gpus_of_others_and_nvidias_other_devices_are_not_counted() {
        let bus = tempfile::tempdir().unwrap();
        let devices = [("a", "0x10de", "0x030200"), ("b", "0x10de", "0x040300"), ("c", "0x8086", "0x030000")];
        for (name, vendor, class) in devices {
            let device = bus.path().join(name);
            fs::create_dir(&device).unwrap();
            fs::write(device.join("vendor"), format!("{vendor}\n")).unwrap();
            fs::write(device.join("class"), format!("{class}\n")).unwrap();
        }
        assert_eq!(on_the_bus(bus.path()), 1);
        assert_eq!(on_the_bus(Path::new("/nowhere")), 0);
    }
}
