//! A GPU that the tests pretend: a driver of their own, on which FFmpeg's NVDEC code, our kernels, and all that calls CUDA run
//! as on NVIDIA's. `gpu.h` says what it is, and the files beside it hold its parts.
//!
//! FFmpeg and cudarc load the driver by its name, from where the system's loader finds it. That is told by
//! `LD_LIBRARY_PATH`, before a process begins: so each test runs again in a process of its own.

mod clip;

pub use clip::{Clip, Encoding};
use framefleet_native::cuda::{Gpu, compile};
use framefleet_native::ffmpeg::hardware::Hardware;
use std::any::type_name;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::{env, fs};
use tempfile::TempDir;

/// The folder through which a test and its driver speak. Set in the process that has one.
pub const FOLDER: &str = "FRAMEFLEET_PRETENDED_GPU";
/// What its only GPU says it is, and what kernels are compiled for: nothing is done with them but to load them.
const COMPUTE_CAPABILITY: (u32, u32) = (8, 9);

/// Seconds after which a test counts as hanging: many times what it takes.
const LONGEST_S: &str = "300";

const PARTS: [&str; 6] = ["gpu.cpp", "streams.cpp", "memory.cpp", "kernels.cpp", "nvdec.cpp", "uncalled.cpp"];

/// Calls a test where there is this driver. `test` is a closure of the test's own function, which has its name.
pub fn in_its_own_process<T: Fn()>(test: T) {
    if env::var_os(FOLDER).is_some() {
        return test();
    }
    let name = type_name::<T>().strip_suffix("::{{closure}}").expect("it is a closure");
    let (_crate, name) = name.split_once("::").expect("a test is in a crate");
    let folder = folder_with_driver();
    let mut again = Command::new("timeout");
    again.arg(LONGEST_S).arg(env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env(FOLDER, folder.path()).env("LD_LIBRARY_PATH", folder.path());
    let ended = again.output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(ended.status.success(), "{name} in its own process: {}\n{}", ended.status, said.concat());
    assert!(folder.path().join("counts").exists(), "{name} took up no GPU");
}

/// For `LD_LIBRARY_PATH`.
pub fn folder_with_driver() -> TempDir {
    static LIBRARY: LazyLock<Vec<u8>> = LazyLock::new(|| {
        // Before there is a driver, of which NVRTC asks more than this one can do when it compiles. The other processes find
        // the kernels compiled.
        compile(COMPUTE_CAPABILITY).expect("./dev test provides NVRTC");
        compiled()
    });
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("clips")).unwrap();
    let library = folder.path().join("libcuda.so.1");
    fs::write(&library, &*LIBRARY).unwrap();
    for name in ["libcuda.so", "libnvcuvid.so.1"] {
        std::os::unix::fs::symlink(&library, folder.path().join(name)).unwrap();
    }
    folder
}

fn compiled() -> Vec<u8> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libcuda.so.1");
    let mut compiler = Command::new("c++");
    compiler.args(["-std=c++17", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]);
    compiler
        .args(["-fvisibility=hidden", "-Wl,-soname,libcuda.so.1", "-I"])
        .arg(here.join("../native/src/cuda/kernels"));
    compiler.args(PARTS.map(|part| here.join("tests/pretended_gpu").join(part))).arg("-o").arg(&library);
    assert!(compiler.status().expect("./dev setup installs a C++ compiler").success(), "the driver is compiled");
    fs::read(library).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env::var_os(FOLDER).expect("the test is in its own process"))
}

/// The GPU of this process, and what goes wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct PretendedGpu {
    pub memory_bytes: u64,
    /// The launch of a kernel, from 0, at which it is lost.
    pub lost_at_launch: Option<u64>,
    /// The picture, from 0, that NVDEC fails at, and the CUDA error that it gives.
    pub failing_picture: Option<(u64, u32)>,
}

impl PretendedGpu {
    pub const SOUND: Self = Self { memory_bytes: 8 << 30, lost_at_launch: None, failing_picture: None };

    /// To be called once.
    pub fn take_up(self) -> Arc<Gpu> {
        self.put_into(&folder());
        let gpu = Gpu::open(0).unwrap();
        assert_eq!((gpu.name(), gpu.compute_capability()), ("Pretended GPU", COMPUTE_CAPABILITY));
        gpu
    }

    /// Tells the driver in this folder what it is to be.
    pub fn put_into(self, folder: &Path) {
        let never = |number: Option<u64>| number.map_or(-1, |number| number as i64);
        let (picture, error) = self.failing_picture.unzip();
        let (launch, picture, error) = (never(self.lost_at_launch), never(picture), error.unwrap_or(0));
        fs::write(folder.join("settings"), format!("{} {launch} {picture} {error}", self.memory_bytes)).unwrap();
    }
}

/// Decodes every [`Clip`] of this process.
pub fn nvdec_of(gpu: &Arc<Gpu>) -> Arc<Hardware> {
    Hardware::new(Arc::clone(gpu), 1, Box::new(|_| Ok(()))).unwrap()
}

/// What the driver counted until now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub held: Held,
    pub calls_without_context: i64,
    /// From the host to the GPU.
    pub uploaded_bytes: i64,
    pub preprocessed_batches: i64,
    /// Given to NVDEC.
    pub decoded_pictures: i64,
}

/// What was taken and not given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    pub contexts: i64,
    /// Of the GPU.
    pub memory_bytes: i64,
    /// Blocks of the host's memory.
    pub pinned: i64,
    pub streams: i64,
    pub events: i64,
    pub modules: i64,
    /// Pictures of NVDEC.
    pub surfaces: i64,
    pub decoders: i64,
}

impl Counts {
    pub fn now() -> Self {
        let bytes = fs::read(folder().join("counts")).unwrap();
        let numbers: Vec<i64> = bytes.chunks_exact(8).map(|n| i64::from_ne_bytes(n.try_into().unwrap())).collect();
        let [held @ .., calls_without_context, uploaded_bytes, preprocessed_batches, decoded_pictures] = &numbers[..]
        else {
            unreachable!("{numbers:?}")
        };
        let &[contexts, memory_bytes, pinned, streams, events, modules, surfaces, decoders] = held else {
            unreachable!("{numbers:?}")
        };
        Self {
            held: Held { contexts, memory_bytes, pinned, streams, events, modules, surfaces, decoders },
            calls_without_context: *calls_without_context,
            uploaded_bytes: *uploaded_bytes,
            preprocessed_batches: *preprocessed_batches,
            decoded_pictures: *decoded_pictures,
        }
    }

    /// Checks that all was given back, and that each call was made in a context. Everything must have been dropped.
    pub fn at_the_end() -> Self {
        let counts = Self::now();
        assert_eq!((counts.held, counts.calls_without_context), (Held::default(), 0));
        counts
    }
}
