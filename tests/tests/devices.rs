//! What the program says of GPUs on a machine that has none, or an old driver. Where there is one, the tests that need none pass
//! without looking.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::call::Ended;
use framefleet_tests::{Detector, Scratch, clip, repository};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn has_gpu() -> bool {
    fs::exists("/dev/nvidiactl").unwrap()
}

fn clip_in(scratch: &Scratch) -> PathBuf {
    scratch.clip("clip.mp4", &clip::moving("128x96", 1), "-c:v libx264 -preset ultrafast -pix_fmt yuv420p")
}

/// With nothing installed for the user.
fn devices(arguments: &[&str], columns: &str) -> Ended {
    let nowhere = Scratch::new();
    let mut command = Command::new(repository::framefleet());
    command.arg("devices").args(arguments).env("COLUMNS", columns).env("XDG_DATA_HOME", nowhere.path());
    let output = command.output().unwrap();
    Ended::new(format!("{command:?}"), output)
}

#[test]
fn a_gpu_that_is_not_there_is_a_mistake_that_names_the_driver_and_the_command() {
    if has_gpu() {
        return;
    }
    let scratch = Scratch::new();
    let ended = scratch.call(Detector::Colours, &[&clip_in(&scratch)]).with(&["--device", "cuda:0"]).run();
    let message = ended.error(2, "DEVICE_UNAVAILABLE");
    for part in ["cuda:0", "no NVIDIA driver", "libcuda.so.1", "apt-get install", "--device cpu"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!scratch.join("out").exists(), "a mistake made a folder of results");
}

#[test]
fn everything_that_setup_would_install_is_named_at_once() {
    if has_gpu() {
        return;
    }
    let scratch = Scratch::new();
    let call = scratch.call(Detector::Colours, &[&clip_in(&scratch)]).with(&["--device", "cuda:0"]);
    let call = call.env("XDG_DATA_HOME", scratch.path().to_str().unwrap()).env("FRAMEFLEET_ONNXRUNTIME", "");
    let ended = call.run();
    let message = ended.error(2, "DEVICE_UNAVAILABLE");
    for part in ["libcudnn.so.9", "libonnxruntime_providers_cuda.so", "`./dev setup --gpu`"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}

#[test]
fn a_gpu_without_a_number_is_a_bad_request() {
    let scratch = Scratch::new();
    let ended = scratch.call(Detector::Colours, &[&clip_in(&scratch)]).with(&["--device", "cuda:x"]).run();
    let message = ended.error(2, "BAD_REQUEST");
    assert!(message.contains("--device") && message.contains("cuda:0"), "{message}");
}

#[test]
fn auto_works_without_a_word_where_there_is_no_gpu() {
    if has_gpu() {
        return;
    }
    let scratch = Scratch::new();
    // A job's standard error must be empty.
    scratch.call(Detector::Colours, &[&clip_in(&scratch)]).with(&["--device", "auto"]).run().job();
}

#[test]
fn flags_that_a_cpu_does_not_heed_are_said_to_have_no_effect() {
    let scratch = Scratch::new();
    let call = scratch.call(Detector::Colours, &[&clip_in(&scratch)]).with(&["--device", "cpu"]);
    let ended = call.with(&["--batch", "4", "--tensorrt"]).run();
    assert_eq!((ended.status, ended.stderr.lines().count()), (Some(0), 1), "{ended}");
    assert!(ended.stderr.contains("--batch and --tensorrt have no effect"), "{ended}");
}

/// A driver of CUDA 12.2 that shows one GPU, for `LD_LIBRARY_PATH`.
fn old_driver(scratch: &Scratch) -> String {
    let source = "int cuInit(unsigned f) { return 0; }\n\
                  int cuDriverGetVersion(int *v) { *v = 12020; return 0; }\n\
                  int cuDeviceGetCount(int *n) { *n = 1; return 0; }\n\
                  int cuDeviceGet(int *d, int n) { return 999; }\n\
                  int cuGetErrorName(int e, const char **s) { *s = \"INVENTED\"; return 0; }\n\
                  int cuGetErrorString(int e, const char **s) { *s = \"invented\"; return 0; }\n";
    let source = scratch.file("driver.c", source.as_bytes());
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"]);
    let made = compiler.arg(scratch.join("libcuda.so.1")).arg(source).status().unwrap();
    assert!(made.success());
    scratch.path().to_str().unwrap().to_owned()
}

#[test]
fn an_old_driver_is_refused_with_both_versions_and_auto_goes_on_with_a_warning() {
    let scratch = Scratch::new();
    let (video, driver) = (clip_in(&scratch), old_driver(&scratch));
    let call = |device: &str| {
        let call = scratch.call(Detector::Colours, &[&video]).with(&["--device", device]);
        call.env("LD_LIBRARY_PATH", &driver).run()
    };
    let ended = call("cuda:0");
    let message = ended.error(2, "DEVICE_UNAVAILABLE");
    assert!(message.contains("CUDA 12.2") && message.contains("CUDA 13.0"), "{message}");
    let ended = call("auto");
    assert_eq!((ended.status, ended.stderr.lines().count()), (Some(0), 1), "{ended}");
    assert!(ended.stderr.contains("the CPU is used") && ended.stderr.contains("CUDA 12.2"), "{ended}");
}

#[test]
fn devices_says_what_auto_takes_at_the_end_and_ends_well() {
    let ended = devices(&[], "80");
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""), "{ended}");
    assert!(ended.stdout.trim_end().lines().last().unwrap().starts_with("--device auto takes c"), "{ended}");
    assert!(ended.stdout.contains("`./dev setup --gpu`"), "{ended}");
}

#[test]
fn devices_prints_one_line_of_json() {
    let ended = devices(&["--json"], "80");
    assert_eq!((ended.status, ended.stdout.lines().count()), (Some(0), 1), "{ended}");
    let document: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    for key in ["cpu", "driver", "gpus", "onnxruntime", "libraries", "missing", "auto"] {
        assert!(document.get(key).is_some(), "{key}: {document}");
    }
    assert!(document["cpu"]["cores"].as_u64().unwrap() >= 1);
}
