use std::ffi::CStr;

/// A part of what GPU work needs or can use, in the order in which they are loaded: what others rest on comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// NVIDIA's driver.
    Driver,
    /// NVDEC, the GPU's decoder of video: a part of the driver that containers may lack.
    Nvdec,
    CudaRuntime,
    CublasLt,
    Cublas,
    Curand,
    /// The compiler of our kernels.
    Nvrtc,
    Cudnn,
    TensorRt,
    /// The part of ONNX Runtime that runs models with CUDA. It is not loaded here: ONNX Runtime does that, from its own folder.
    OnnxRuntimeCuda,
}

/// How a component comes here, if it must.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    Driver,
    Setup,
    Optional,
}

impl Component {
    pub const ALL: &'static [Self] = &[
        Self::Driver,
        Self::Nvdec,
        Self::CudaRuntime,
        Self::CublasLt,
        Self::Cublas,
        Self::Curand,
        Self::Nvrtc,
        Self::Cudnn,
        Self::TensorRt,
        Self::OnnxRuntimeCuda,
    ];

    /// The file, by the name under which others ask for it.
    pub fn file(self) -> &'static str {
        match self {
            Self::Driver => "libcuda.so.1",
            Self::Nvdec => "libnvcuvid.so.1",
            Self::CudaRuntime => "libcudart.so.13",
            Self::CublasLt => "libcublasLt.so.13",
            Self::Cublas => "libcublas.so.13",
            Self::Curand => "libcurand.so.10",
            Self::Nvrtc => "libnvrtc.so.13",
            Self::Cudnn => "libcudnn.so.9",
            Self::TensorRt => "libnvinfer.so.10",
            Self::OnnxRuntimeCuda => "libonnxruntime_providers_cuda.so",
        }
    }

    /// What a reader calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Driver => "NVIDIA driver",
            Self::Nvdec => "NVDEC",
            Self::CudaRuntime => "CUDA runtime",
            Self::CublasLt => "cuBLASLt",
            Self::Cublas => "cuBLAS",
            Self::Curand => "cuRAND",
            Self::Nvrtc => "NVRTC",
            Self::Cudnn => "cuDNN",
            Self::TensorRt => "TensorRT",
            Self::OnnxRuntimeCuda => "ONNX Runtime's CUDA provider",
        }
    }

    /// What it takes to have an optional component; the others are told of by [`super::Libraries::missing`].
    pub fn optional_remedy(self) -> Option<&'static str> {
        match self {
            Self::Nvdec => Some(
                "video is decoded on the CPU; `apt-get install libnvcuvid1` from where the driver came has it, and containers need NVIDIA_DRIVER_CAPABILITIES=compute,utility,video",
            ),
            Self::TensorRt => Some(
                "models run with CUDA; NVIDIA's archive of TensorRT 10 for CUDA 13 has it: unpack it, and let FRAMEFLEET_CUDA_LIBRARIES name its folder lib",
            ),
            _ => None,
        }
    }

    pub(super) fn need(self) -> Need {
        match self {
            Self::Driver => Need::Driver,
            Self::Nvdec | Self::TensorRt => Need::Optional,
            _ => Need::Setup,
        }
    }

    pub(super) fn is_of_driver(self) -> bool {
        matches!(self, Self::Driver | Self::Nvdec)
    }

    /// Libraries that it loads by name when they are needed, and cannot do without.
    pub(super) fn companions(self) -> &'static [&'static str] {
        match self {
            Self::Cudnn => &[
                "libcudnn_graph.so.9",
                "libcudnn_ops.so.9",
                "libcudnn_cnn.so.9",
                "libcudnn_adv.so.9",
                "libcudnn_heuristic.so.9",
                "libcudnn_engines_runtime_compiled.so.9",
                "libcudnn_engines_precompiled.so.9",
            ],
            Self::TensorRt => &["libnvinfer_plugin.so.10", "libnvonnxparser.so.10"],
            _ => &[],
        }
    }

    /// How the files begin that lie beside it and that it loads by name, of which the version is not known beforehand.
    pub(super) fn pieces_beside(self) -> Option<&'static str> {
        match self {
            Self::Nvrtc => Some("libnvrtc-builtins.so."),
            _ => None,
        }
    }

    /// One that every version of it has.
    pub(super) fn symbol(self) -> Option<&'static CStr> {
        match self {
            Self::Driver => Some(c"cuDriverGetVersion"),
            Self::Nvdec => Some(c"cuvidGetDecoderCaps"),
            Self::CudaRuntime => Some(c"cudaRuntimeGetVersion"),
            Self::CublasLt => Some(c"cublasLtGetVersion"),
            Self::Cublas => Some(c"cublasGetProperty"),
            Self::Curand => Some(c"curandGetVersion"),
            Self::Nvrtc => Some(c"nvrtcVersion"),
            Self::Cudnn => Some(c"cudnnGetVersion"),
            Self::TensorRt => Some(c"getInferLibVersion"),
            Self::OnnxRuntimeCuda => None,
        }
    }
}
