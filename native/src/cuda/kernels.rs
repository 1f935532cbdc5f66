//! Our own kernels. They are C++ that also compiles for a CPU, where the tests compare them with the CPU's path:
//! `models/tests/kernels.rs`.

mod parameters;
mod preprocessing;
mod survivors;

pub use parameters::{DeviceRange, Element, Plain};
pub use preprocessing::{ChannelParameters, InputLayout, InputParameters, PictureParameters};
pub use survivors::{HeadParameters, Survivor, Values};

use super::{compile, error::CudaError, gpu::Gpu};
use cudarc::driver::{CudaFunction, CudaStream, LaunchConfig, PushKernelArg};

/// One program. The lines that a compiler complains of are those of the files.
pub(super) const SOURCE: &str = concat!(
    "#line 1 \"shared.h\"\n",
    include_str!("kernels/shared.h"),
    "#line 1 \"preprocess.cu\"\n",
    include_str!("kernels/preprocess.cu"),
    "#line 1 \"survivors.cu\"\n",
    include_str!("kernels/survivors.cu"),
);

/// Columns and rows of the input that a block makes: a warp writes 32 neighbours, which are one or a few transactions.
const PIXELS: [u32; 2] = [32, 8];
/// Places that a block looks at.
const PLACES: u32 = 128;

/// The kernels, ready to run on one GPU.
#[derive(Debug)]
pub struct Kernels {
    preprocess: CudaFunction,
    survivors: CudaFunction,
}

impl Kernels {
    /// Compiles them for the GPU, or finds them compiled. The first time that takes a fraction of a second.
    pub fn load(gpu: &Gpu) -> Result<Self, CudaError> {
        let failed = CudaError::of("load the kernels");
        let program = compile(gpu.compute_capability())?;
        let module = gpu.context().load_module(program.into_module()).map_err(&failed)?;
        let function = |name: &str| module.load_function(name).map_err(&failed);
        Ok(Self { preprocess: function("preprocess")?, survivors: function("survivors")? })
    }

    /// Fills an input from `count` pictures, all of it, padding included.
    ///
    /// # Safety
    /// Until the stream has come this far, on the device: `pictures` is where `count` [`PictureParameters`] lie, aligned to
    /// 8 bytes, which were placed ([`PictureParameters::placed`]) in memory that is there and not written to; and `output`,
    /// aligned to an element, is where [`InputParameters::bytes`] are that nobody else uses.
    pub(crate) unsafe fn preprocess(
        &self,
        stream: &CudaStream,
        pictures: u64,
        count: u32,
        input: &InputParameters,
        output: u64,
    ) -> Result<(), CudaError> {
        if count == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (input.width.div_ceil(PIXELS[0]), input.height.div_ceil(PIXELS[1]), count),
            block_dim: (PIXELS[0], PIXELS[1], 1),
            shared_mem_bytes: 0,
        };
        let mut launch = stream.launch_builder(&self.preprocess);
        launch.arg(&pictures).arg(input).arg(&output);
        // SAFETY: these are the kernel's parameters, and the caller answers for where they lead.
        unsafe { launch.launch(config) }.map(drop).map_err(CudaError::of("preprocess pictures"))
    }

    /// Lists the places of a head that pass, in any order, behind the `count` that there are; that may be more than there is
    /// room for. The count begins with 0 only if the caller set it.
    ///
    /// # Safety
    /// Until the stream has come this far, on the device: `head` was placed ([`HeadParameters::placed`]) in outputs that are
    /// there and not written to; `list` is where there is room for its capacity of [`Survivor`]s, and `count` where there is
    /// a u32, both aligned to 4 bytes and nobody else's.
    pub(crate) unsafe fn survivors(
        &self,
        stream: &CudaStream,
        head: &HeadParameters,
        list: u64,
        count: u64,
    ) -> Result<(), CudaError> {
        if head.places == 0 || head.pictures == 0 {
            return Ok(());
        }
        let config = LaunchConfig {
            grid_dim: (head.places.div_ceil(PLACES), head.pictures, 1),
            block_dim: (PLACES, 1, 1),
            shared_mem_bytes: 0,
        };
        let mut launch = stream.launch_builder(&self.survivors);
        launch.arg(head).arg(&list).arg(&count);
        // SAFETY: these are the kernel's parameters, and the caller answers for where they lead.
        unsafe { launch.launch(config) }.map(drop).map_err(CudaError::of("look for what a head found"))
    }
}
