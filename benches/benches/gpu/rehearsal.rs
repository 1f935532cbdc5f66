//! A driver that pretends a GPU, as the tests have it: the harness is gone through where there is none.

use crate::Failure;
use framefleet_native::cuda::compile;
use framefleet_native::cuda::libraries::{Libraries, Places};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// Compiles it and loads it in the place of the real one. It is there as long as the folder that is given.
pub fn pretend_a_gpu() -> Result<TempDir, Failure> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace");
    let folder = tempfile::tempdir()?;
    let mut compiler = Command::new("c++");
    compiler
        .args(["-std=c++17", "-O2", "-ffp-contract=off", "-shared", "-fPIC", "-DSMALL_MEMORY_BYTES=16000000"])
        .args(["-Wl,-soname,libcuda.so.1", "-I"])
        .arg(repository.join("native/src/cuda/kernels"))
        .arg(repository.join("worker/tests/inference_pool/pretended_driver.cpp"))
        .arg("-o")
        .arg(folder.path().join("libcuda.so.1"));
    if !compiler.status()?.success() {
        return Err(format!("{compiler:?} failed").into());
    }
    // Before there is a driver: NVRTC asks one for more than this one can do. From now on the kernels are found compiled.
    compile((8, 9))?;
    Libraries::load(&Places { folders: vec![folder.path().to_owned()], onnxruntime: None });
    Ok(folder)
}
