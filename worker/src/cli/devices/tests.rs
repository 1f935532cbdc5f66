use super::*;
use crate::device::{Cpu, Properties};
use framefleet_models::Installed;
use framefleet_native::cuda::libraries::{Component, State, Version};
use framefleet_native::cuda::nvdec::{Capabilities, Capability, Chroma, Codec};
use framefleet_native::cuda::{CudaError, Libraries, Memory};

const COLUMNS: usize = 80;

fn found(major: u32, minor: u32) -> State {
    State::Found { path: None, version: Some(Version::new(major, minor, 0)) }
}

/// Nothing but a CPU.
fn laptop() -> Inventory {
    let version = Ok("1.31.1".to_owned());
    Inventory {
        cpu: Cpu { model: Some("Some CPU @ 2.0GHz".to_owned()), cores: 8 },
        on_the_bus: 0,
        driver_release: None,
        gpus: Ok(Vec::new()),
        libraries: Libraries::from_iter([]),
        onnxruntime: Some(Installed { path: "/data/libonnxruntime.so.1.31.1".into(), version }),
        onnxruntime_for_gpu: None,
    }
}

fn h100() -> Properties {
    let able = |codec, chroma, depth| Capability {
        codec,
        chroma,
        depth,
        supported: true,
        least: (48, 16),
        largest: (8192, 4320),
        most_macroblocks: 139_264,
        engines: 7,
    };
    let decoder: Capabilities = [
        able(Codec::H264, Chroma::Yuv420, 8),
        able(Codec::Hevc, Chroma::Yuv420, 8),
        able(Codec::Hevc, Chroma::Yuv420, 10),
        able(Codec::Hevc, Chroma::Yuv444, 12),
        Capability { supported: false, engines: 0, ..able(Codec::Av1, Chroma::Yuv420, 8) },
    ]
    .into_iter()
    .collect();
    Properties {
        name: "NVIDIA H100".to_owned(),
        compute_capability: (9, 0),
        memory: Ok(Memory { free: 78 << 30, total: 80 << 30 }),
        busy_percent: Some(12),
        decoder: Ok(decoder),
        problem: None,
    }
}

/// Two GPUs and all that they need, but for `TensorRT`.
fn server() -> Inventory {
    let needed = Component::ALL.iter().filter(|component| **component != Component::TensorRt);
    Inventory {
        on_the_bus: 2,
        driver_release: Some("580.95.05".to_owned()),
        gpus: Ok(vec![Ok(h100()), Ok(h100())]),
        libraries: needed.map(|&component| (component, found(13, 0))).collect(),
        ..laptop()
    }
}

/// The page as its words, and that no line is too long.
fn words(inventory: &Inventory) -> String {
    let page = text::page(inventory, COLUMNS);
    for line in page.lines() {
        assert!(console::measure_text_width(line) <= COLUMNS, "{line}");
    }
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn assert_says(words: &str, sentences: &[&str]) {
    for sentence in sentences {
        assert!(words.contains(sentence), "{sentence:?} is not in: {words}");
    }
}

#[test]
fn a_machine_without_a_gpu_reads_what_one_would_need_and_that_auto_takes_the_cpu() {
    let words = words(&laptop());
    assert_says(
        &words,
        &[
            "CPU Some CPU @ 2.0GHz, 8 cores GPU no NVIDIA GPU",
            "ONNX Runtime for the CPU 1.31.1 ONNX Runtime for GPUs -",
            "Missing for NVIDIA GPUs:",
            "there is no NVIDIA driver",
            "apt-get install",
            "`./dev setup --gpu` installs them",
        ],
    );
    assert!(words.ends_with("--device auto takes cpu: there is no NVIDIA GPU"), "{words}");
    assert!(!words.contains("TensorRT 10"), "nobody adds TensorRT to a machine without a GPU: {words}");
}

#[test]
fn an_onnx_runtime_that_is_none_is_told_with_the_reason_and_the_command() {
    let problem = "/data/libonnxruntime.so.1.31.1: file too short".to_owned();
    let build = Installed { path: "/data/libonnxruntime.so.1.31.1".into(), version: Err(problem.clone()) };
    let inventory = Inventory { onnxruntime: Some(build), ..laptop() };
    assert_says(
        &words(&inventory),
        &[
            "ONNX Runtime for the CPU cannot be used ONNX Runtime for GPUs -",
            "ONNX Runtime for the CPU cannot be used (/data/libonnxruntime.so.1.31.1: file too short)",
            "`./dev setup` installs another one",
        ],
    );
    let build = &json::document(&inventory)["onnxruntime"]["cpu"];
    assert_eq!((&build["version"], &build["problem"]), (&serde_json::Value::Null, &problem.into()));
}

#[test]
fn a_gpu_without_a_driver_is_told_from_none() {
    let words = words(&Inventory { on_the_bus: 1, ..laptop() });
    assert_says(&words, &["GPU 1 of NVIDIA's, without a driver"]);
    assert!(words.ends_with("takes cpu: there is an NVIDIA GPU, and no driver for it"), "{words}");
}

#[test]
fn a_complete_machine_lists_its_gpus_and_what_they_decode_once() {
    let words = words(&server());
    assert_says(
        &words,
        &[
            "GPU 2, driver 580.95.05 with CUDA 13.0",
            "cuda:0 NVIDIA H100 9.0 78.0 of 80.0 GiB free 12 % 7 cuda:1 NVIDIA H100",
            "cuda:0, cuda:1 decode",
            "codec 4:2:0 4:2:2 4:4:4 up to H.264 8 - - 8192x4320 HEVC 8 10 - 12 8192x4320",
            "AV1 - - - MPEG-2",
            "cuDNN 13.0 NVRTC 13.0 TensorRT -",
            "Can be done without: TensorRT (not there)",
        ],
    );
    assert!(!words.contains("Missing"), "{words}");
    assert!(words.ends_with("takes cuda:0: NVIDIA H100, on which a model has run"), "{words}");
}

#[test]
fn an_old_driver_is_named_with_both_versions() {
    let libraries = server().libraries.iter().map(|(component, state)| (component, state.clone())).collect::<Vec<_>>();
    let old = libraries.into_iter().chain([(Component::Driver, found(12, 2))]).collect();
    let words = words(&Inventory { libraries: old, driver_release: None, ..server() });
    assert_says(&words, &["it has CUDA 12.2, and CUDA 13.0 is needed", "install NVIDIA's driver 580 or later"]);
    assert!(words.ends_with("takes cpu: there is a GPU that cannot be used, for what is said above"), "{words}");
}

#[test]
fn a_driver_that_does_not_start_and_a_full_gpu_are_told() {
    let broken = CudaError::Missing {
        what: "the NVIDIA driver does not start".to_owned(),
        reason: "CUDA error 803".to_owned(),
        remedy: "start the machine again".to_owned(),
    };
    let not_starting = words(&Inventory { gpus: Err(broken), ..server() });
    assert_says(&not_starting, &["unknown, since the driver 580.95.05", "CUDA error 803", "start the machine again"]);
    let full = CudaError::OutOfMemory { action: "take up the GPU" };
    let full = words(&Inventory { gpus: Ok(vec![Err(full)]), ..server() });
    assert_says(&full, &["cuda:0 cannot be taken up", "cuda:0: the GPU's memory does not suffice"]);
    assert_says(&full, &["--device auto takes cpu: there is a GPU that cannot be used, for what is said above"]);
}

#[test]
fn a_gpu_on_which_no_model_runs_is_told_and_not_taken() {
    let broken = CudaError::Missing {
        what: "ONNX Runtime does not run models on this GPU".to_owned(),
        reason: "CUDNN_STATUS_NOT_INITIALIZED".to_owned(),
        remedy: "`./dev setup --gpu` installs libraries that fit each other".to_owned(),
    };
    let inventory = Inventory { gpus: Ok(vec![Ok(Properties { problem: Some(broken), ..h100() })]), ..server() };
    let words = words(&inventory);
    assert_says(
        &words,
        &["cuda:0 NVIDIA H100 9.0", "cuda:0: ONNX Runtime does not run models on this GPU (CUDNN_STATUS"],
    );
    assert!(words.ends_with("takes cpu: there is a GPU that cannot be used, for what is said above"), "{words}");
    let document = json::document(&inventory);
    assert!(document["gpus"][0]["problem"].as_str().unwrap().contains("CUDNN_STATUS"), "{document}");
    assert_eq!(document["auto"]["device"], "cpu");
}

#[test]
fn a_driver_that_shows_no_gpu_is_told_from_no_driver() {
    let words = words(&Inventory { gpus: Ok(Vec::new()), ..server() });
    assert_says(&words, &["GPU none that the driver 580.95.05 with CUDA 13.0 shows to this process"]);
    assert!(words.ends_with("takes cpu: the driver shows no GPU to this process"), "{words}");
}

#[test]
fn the_document_has_the_same_for_programs() {
    let with = json::document(&server());
    assert_eq!(with["gpus"][1]["device"], "cuda:1");
    assert_eq!(with["gpus"][0]["memory_bytes"]["total"], 80_u64 << 30);
    assert_eq!(with["gpus"][0]["decoder"]["engines"], 7);
    assert_eq!(with["gpus"][0]["decoder"]["decodes"].as_array().unwrap().len(), 4);
    assert_eq!(with["driver"], serde_json::json!({ "release": "580.95.05", "cuda": "13.0" }));
    assert_eq!(with["missing"], serde_json::json!([]));
    assert_eq!(with["auto"]["device"], "cuda:0");
    let without = json::document(&laptop());
    assert_eq!((&without["driver"], &without["gpus"]), (&serde_json::Value::Null, &serde_json::json!([])));
    assert_eq!(without["onnxruntime"]["cpu"]["version"], "1.31.1");
    assert_eq!(without["auto"]["device"], "cpu");
    for lack in without["missing"].as_array().unwrap() {
        assert!(lack["what"].is_string() && lack["reason"].is_string() && lack["remedy"].is_string(), "{lack}");
    }
}
