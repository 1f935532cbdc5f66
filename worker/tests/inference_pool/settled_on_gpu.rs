//! What the program does with a GPU on which no model runs: the driver is there, and all libraries by their names, but
//! ONNX Runtime's part for CUDA is none.

use super::Bench;
use super::pretended_gpu::{FOLDER, PretendedGpu, folder_with_driver};
use framefleet_models::Runtime;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs};
use tempfile::TempDir;

/// What each library answers when it is asked for its version.
const ANSWERS: &str = "#include <stddef.h>\n\
                       int cudaRuntimeGetVersion(int *v) { *v = 13000; return 0; }\n\
                       size_t cublasLtGetVersion(void) { return 130000; }\n\
                       int cublasGetProperty(int which, int *v) { *v = which ? 0 : 13; return 0; }\n\
                       int curandGetVersion(int *v) { *v = 10400; return 0; }\n\
                       size_t cudnnGetVersion(void) { return 92000; }\n";
const LIBRARIES: [&str; 12] = [
    "libcudart.so.13",
    "libcublasLt.so.13",
    "libcublas.so.13",
    "libcurand.so.10",
    "libcudnn.so.9",
    "libcudnn_graph.so.9",
    "libcudnn_ops.so.9",
    "libcudnn_cnn.so.9",
    "libcudnn_adv.so.9",
    "libcudnn_heuristic.so.9",
    "libcudnn_engines_runtime_compiled.so.9",
    "libcudnn_engines_precompiled.so.9",
];

/// The build of ONNX Runtime for the CPU, with all that one for CUDA needs beside it.
fn onnxruntime() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    fs::write(file("answers.c"), ANSWERS).unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).args([file("answers.so"), file("answers.c")]);
    assert!(compiler.status().unwrap().success());
    for name in LIBRARIES {
        fs::copy(file("answers.so"), file(name)).unwrap();
    }
    fs::write(file("libonnxruntime_providers_cuda.so"), "words").unwrap();
    let build = Runtime::installed().expect("./dev setup installs ONNX Runtime").path;
    let library = file("libonnxruntime.so");
    symlink(build, &library).unwrap();
    (folder, library)
}

/// Runs the program with these arguments, in a folder of its own.
fn framefleet(arguments: &[&str]) -> (TempDir, Output) {
    let (folder, library) = onnxruntime();
    // The compiler of kernels is the tests' own.
    let named = env::var_os("FRAMEFLEET_CUDA_LIBRARIES").unwrap_or_default();
    let places = env::join_paths([folder.path().to_owned()].into_iter().chain(env::split_paths(&named))).unwrap();
    let driver = folder_with_driver();
    PretendedGpu::SOUND.put_into(driver.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_framefleet"));
    command.current_dir(folder.path()).args(arguments);
    command.env("FRAMEFLEET_ONNXRUNTIME", library).env("FRAMEFLEET_CUDA_LIBRARIES", places);
    command.env("LD_LIBRARY_PATH", driver.path()).env(FOLDER, driver.path());
    let output = command.output().unwrap();
    (folder, output)
}

fn run(video: &Path, device: &str) -> (TempDir, Output) {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/catalog");
    let video = video.to_str().unwrap();
    framefleet(&["run", "--json", "--device", device, "--models", models, "--model", "street", video])
}

/// But for the warning that a busy machine is slow.
fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text.lines().filter(|line| !line.contains("have not answered for"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_gpu_that_runs_no_model_is_refused_before_any_work() {
    let bench = Bench::new();
    let (_folder, output) = run(&bench.video(1), "cuda:0");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(2), ""), "{said}");
    for part in ["DEVICE_UNAVAILABLE", "ONNX Runtime does not run models on this GPU", "`./dev setup --gpu`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn auto_takes_the_cpu_where_the_gpu_runs_no_model_and_says_so() {
    let bench = Bench::new();
    let (_folder, output) = run(&bench.video(1), "auto");
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(0), 1), "{said}");
    for part in ["the CPU is used", "ONNX Runtime does not run models on this GPU", "--device cpu"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let job: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(job["summary"]["device"], "cpu", "{job}");
}

#[test]
fn devices_shows_the_gpu_and_why_no_model_runs_on_it() {
    let (_folder, output) = framefleet(&["devices"]);
    let page = text(&output.stdout);
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{page}");
    assert!(words.contains("cuda:0 Pretended GPU 8.9"), "{page}");
    assert!(words.contains("cuda:0: ONNX Runtime does not run models on this GPU"), "{page}");
    assert!(words.contains("--device auto takes cpu: there is a GPU that cannot be used"), "{page}");
}
