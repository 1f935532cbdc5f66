use super::Machine;
use framefleet_models::Runtime;
use framefleet_native::cuda::libraries::Places;
use framefleet_native::cuda::{CudaError, Gpu, Libraries};
use std::sync::Arc;

/// The one that the program runs on.
#[derive(Debug)]
pub struct ThisMachine;

impl Machine for ThisMachine {
    type Gpu = Arc<Gpu>;

    fn gpus(&self) -> Result<usize, CudaError> {
        if Gpu::has_driver() { Gpu::count() } else { Ok(0) }
    }

    fn missing(&self) -> Vec<CudaError> {
        Libraries::load(&gpu_places()).missing()
    }

    fn open(&self, ordinal: usize) -> Result<Arc<Gpu>, CudaError> {
        Gpu::open(ordinal)
    }
}

/// Where what GPU work needs may be: where `./dev setup --gpu` puts it, and beside the ONNX Runtime that is to be loaded.
pub fn gpu_places() -> Places {
    let onnxruntime = Runtime::candidates_for_gpu();
    let mut folders = Runtime::gpu_folders();
    let beside = onnxruntime.first().and_then(|library| Some(library.parent()?.to_owned()));
    folders.splice(0..0, beside.filter(|folder| !folders.contains(folder)));
    Places { folders, onnxruntime }
}
