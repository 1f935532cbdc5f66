//! A driver that pretends a GPU, as the tests have it: the harness is gone through where there is none.

use crate::Failure;
use framefleet_native::cuda::compile;
use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

/// The folder through which the driver is told what it is, as `worker/tests/pretended_gpu/driver.rs` has it. Set where this
/// program was started with it.
const VARIABLE: &str = "FRAMEFLEET_PRETENDED_GPU";
/// Memory in bytes, and that nothing goes wrong.
const SETTINGS: &str = "8589934592 -1 -1 0";
const PARTS: [&str; 6] = ["gpu.cpp", "streams.cpp", "memory.cpp", "kernels.cpp", "nvdec.cpp", "uncalled.cpp"];

/// Whether this process has the pretended driver.
pub fn is_on() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Starts this program once more where the system's loader finds the pretended driver: it looks for drivers nowhere but in
/// its own places, which are settled when a process begins.
pub fn start() -> Result<ExitCode, Failure> {
    let folder = tempfile::tempdir()?;
    compile_driver(folder.path())?;
    std::fs::create_dir(folder.path().join("clips"))?;
    std::fs::write(folder.path().join("settings"), SETTINGS)?;
    // Where there is no driver: NVRTC asks one for more than this one can do. From now on the kernels are found compiled.
    compile((8, 9))?;
    let places = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let places = env::join_paths([folder.path().to_owned()].into_iter().chain(env::split_paths(&places)))?;
    let mut again = Command::new(env::current_exe()?);
    again.args(env::args_os().skip(1)).env("LD_LIBRARY_PATH", places).env(VARIABLE, folder.path());
    Ok(if again.status()?.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compile_driver(folder: &Path) -> Result<(), Failure> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace");
    let mut compiler = Command::new("c++");
    compiler
        .args(["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-fvisibility=hidden"])
        .args(["-Wl,-soname,libcuda.so.1", "-I"])
        .arg(repository.join("native/src/cuda/kernels"))
        .args(PARTS.map(|part| repository.join("worker/tests/pretended_gpu").join(part)))
        .arg("-o")
        .arg(folder.join("libcuda.so.1"));
    if compiler.status()?.success() { Ok(()) } else { Err(format!("{compiler:?} failed").into()) }
}
