//! A model in ONNX Runtime whose work is put onto our own stream.

use super::{error::CudaError, stream::Stream};
use ort::environment::Environment;
use ort::ep::{self, ArenaExtendStrategy, ExecutionProviderDispatch, cuda::ConvAlgorithmSearch as ConvolutionSearch};
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{RunOptions, Session, builder::GraphOptimizationLevel};
use std::path::Path;
use std::sync::Arc;

/// Why a model does not do on a GPU.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GpuModelError {
    #[error(transparent)]
    Cuda(#[from] CudaError),
    /// What ONNX Runtime says, where it is none of the above.
    #[error("{0}")]
    Onnx(String),
    /// Pictures or tensors that are not as large as they must be.
    #[error("{0}")]
    Shape(String),
}

/// The bytes of an ONNX file, and of what it keeps beside it, by name.
#[derive(Debug, Clone, Copy)]
pub struct ModelBytes<'a> {
    pub onnx: &'a [u8],
    pub external: &'a [(String, Arc<[u8]>)],
}

/// What runs the model's operations.
#[derive(Debug, Clone, Copy)]
pub enum Provider<'a> {
    /// ONNX Runtime's kernels for CUDA.
    Cuda {
        /// The same result every time, whatever it costs: no TF32, and always the same algorithms.
        deterministic: bool,
        /// Can launch the whole model at once, as it was launched when it was recorded.
        graphs: bool,
    },
    /// TensorRT in half precision, and CUDA's kernels for what it cannot do.
    TensorRt {
        /// Where built engines are kept, of this very model, GPU and versions alone.
        cache: &'a Path,
        /// `name:1x3x640x640,…` for inputs of open dimensions: the least, the usual and the largest.
        profiles: [&'a str; 3],
    },
    /// ONNX Runtime's kernels for the CPU: for a pretended GPU, whose memory is the host's.
    Host,
}

/// A model that is loaded on a GPU, used by one thread.
#[derive(Debug)]
pub struct GpuModel {
    // Before the stream, whose stream it uses to its end.
    pub(super) session: Session,
    pub(super) stream: Stream,
    graphs: Graphs,
    /// Its input may be wanted in the host's memory, since operations may run there.
    pub(super) may_read_on_host: bool,
    runs_on_host: bool,
}

/// What a session does about CUDA graphs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Graphs {
    /// It was made to know none.
    Unknown,
    /// It knows them, and each run says that it is none.
    Known { can_record: bool },
    /// Each batch that is made is one, of the next number.
    Recorded { next: u32 },
}

impl GpuModel {
    /// Loads a model. With TensorRT, and without its engine in the cache, that takes minutes.
    pub fn load(
        environment: &Environment,
        model: ModelBytes<'_>,
        stream: &Stream,
        provider: Provider<'_>,
    ) -> Result<Self, GpuModelError> {
        let session =
            session(environment, model, stream, provider).map_err(|error| failed(stream, "load a model", &error))?;
        let graphs = match provider {
            Provider::Cuda { graphs: true, .. } => Graphs::Known { can_record: true },
            Provider::Cuda { graphs: false, .. } | Provider::TensorRt { .. } | Provider::Host => Graphs::Unknown,
        };
        let runs_on_host = matches!(provider, Provider::Host);
        // Where graphs can be recorded, ONNX Runtime has seen to it that all operations are the GPU's.
        let may_read_on_host = matches!(provider, Provider::Cuda { graphs: false, .. } | Provider::Host);
        Ok(Self { session, stream: stream.clone(), graphs, may_read_on_host, runs_on_host })
    }

    /// Memory on the device that is ONNX Runtime's own, so that it takes and gives tensors without copying them.
    pub(super) fn allocator(&self) -> ort::Result<Allocator> {
        if self.runs_on_host {
            return Ok(Allocator::default());
        }
        let ordinal = self.stream.gpu.ordinal() as i32;
        let info = MemoryInfo::new(AllocationDevice::CUDA, ordinal, AllocatorType::Device, MemoryType::Default)?;
        Allocator::new(&self.session, info)
    }

    /// Lets the runs of batches that are made from now on be recorded, as far as the provider can: by the thread that will
    /// run them, which alone ONNX Runtime lets play what it recorded. See [`Batch::record`](super::Batch::record).
    pub fn begin_to_record(&mut self) {
        if self.graphs == (Graphs::Known { can_record: true }) {
            self.graphs = Graphs::Recorded { next: FIRST_GRAPH };
        }
    }

    pub fn records(&self) -> bool {
        matches!(self.graphs, Graphs::Recorded { .. })
    }

    /// Goes on without graphs after a recording failed. Batches that were made for it are no use any more.
    pub fn give_up_recording(&mut self) -> Result<(), CudaError> {
        self.graphs = Graphs::Known { can_record: false };
        self.stream.end_recording()
    }

    /// For runs that always take the same memory.
    pub(super) fn options_of_a_batch(&mut self) -> ort::Result<RunOptions> {
        let Graphs::Recorded { next } = &mut self.graphs else { return unwaited(self.options_of_one_run()?) };
        let mut options = RunOptions::new()?;
        options.set(GRAPH_ID, next.to_string())?;
        *next += 1;
        unwaited(options)
    }

    /// For a run after which the outputs are there at once.
    pub(super) fn options_of_one_run(&self) -> ort::Result<RunOptions> {
        let mut options = RunOptions::new()?;
        if self.graphs != Graphs::Unknown {
            options.set(GRAPH_ID, NOT_RECORDED)?;
        }
        Ok(options)
    }
}

/// Whoever takes the outputs waits for them on the stream.
fn unwaited(mut options: RunOptions) -> ort::Result<RunOptions> {
    options.disable_device_sync()?;
    Ok(options)
}

/// ONNX Runtime's name for it.
const GRAPH_ID: &str = "gpu_graph_id";
/// 0 is what runs are that say nothing.
const FIRST_GRAPH: u32 = 1;
/// What stands for no graph.
const NOT_RECORDED: &str = "-1";

fn session(
    environment: &Environment,
    model: ModelBytes<'_>,
    stream: &Stream,
    provider: Provider<'_>,
) -> ort::Result<Session> {
    let deterministic = matches!(provider, Provider::Cuda { deterministic: true, .. });
    let mut builder = Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        .with_inter_op_spinning(false)?
        .with_deterministic_compute(deterministic)?
        .with_execution_providers(dispatches(stream, provider))?;
    for (name, bytes) in model.external {
        builder = builder.with_external_initializer_file_in_memory(name, bytes.clone())?;
    }
    builder.commit_from_memory(model.onnx)
}

/// In the order in which they are asked whether they can do an operation. One that cannot be had is an error, since the CPU
/// would silently take its place.
fn dispatches(stream: &Stream, provider: Provider<'_>) -> Vec<ExecutionProviderDispatch> {
    match provider {
        Provider::Cuda { deterministic, graphs } => vec![cuda(stream, deterministic, graphs)],
        Provider::TensorRt { cache, profiles: [least, usual, largest] } => {
            let cache = cache.display();
            let tensorrt = ep::TensorRT::default()
                .with_device_id(stream.gpu.ordinal() as i32)
                .with_fp16(true)
                .with_engine_cache(true)
                .with_engine_cache_path(&cache)
                .with_timing_cache(true)
                .with_timing_cache_path(&cache)
                .with_profile_min_shapes(least)
                .with_profile_opt_shapes(usual)
                .with_profile_max_shapes(largest);
            // SAFETY: the stream outlives the session: whoever keeps the session has the stream too, and drops it later. That is
            // `GpuModel`, and each `Batch`, whose binding keeps the session.
            let tensorrt = unsafe { tensorrt.with_compute_stream(stream.raw.cu_stream().cast()) };
            vec![tensorrt.build().error_on_failure(), cuda(stream, false, false)]
        }
        Provider::Host => Vec::new(),
    }
}

fn cuda(stream: &Stream, deterministic: bool, graphs: bool) -> ExecutionProviderDispatch {
    let search = if deterministic { ConvolutionSearch::Default } else { ConvolutionSearch::Heuristic };
    let cuda = ep::CUDA::default()
        .with_device_id(stream.gpu.ordinal() as i32)
        .with_arena_extend_strategy(ArenaExtendStrategy::SameAsRequested)
        .with_conv_algorithm_search(search)
        .with_tf32(!deterministic)
        .with_cuda_graph(graphs);
    // SAFETY: as above.
    let cuda = unsafe { cuda.with_compute_stream(stream.raw.cu_stream().cast()) };
    cuda.build().error_on_failure()
}

/// What an error of ONNX Runtime means, which tells of CUDA's in words only.
pub(super) fn failed(stream: &Stream, action: &'static str, error: &ort::Error) -> GpuModelError {
    let said = error.to_string();
    if tells_of_memory(&said) {
        return CudaError::OutOfMemory { action }.into();
    }
    match stream.gpu.check(action) {
        Err(lost @ CudaError::Lost { .. }) => lost.into(),
        _ => GpuModelError::Onnx(said),
    }
}

/// Of its arena, of CUDA itself, and of cuDNN and cuBLAS, which need memory of their own.
fn tells_of_memory(said: &str) -> bool {
    const WORDS: [&str; 6] = [
        "Failed to allocate memory",
        "Available memory of",
        "out of memory",
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "cudaErrorMemoryAllocation",
    ];
    WORDS.iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_onnx_runtime_says_of_memory_is_known() {
        for said in [
            "Non-zero status code returned while running Conv node. Status Message: \
             bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 3355443200",
            "CUDA failure 2: out of memory ; GPU=0 ; hostname=node ; file=cuda_allocator.cc ; line=47 ; expr=cudaMalloc",
            "CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED ; GPU=0",
        ] {
            assert!(tells_of_memory(said), "{said}");
        }
        assert!(!tells_of_memory("CUDA failure 700: an illegal memory access was encountered ; GPU=0"));
    }
}
