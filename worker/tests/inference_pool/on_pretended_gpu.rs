//! The session of a real GPU on a driver that pretends one: the same calls, the same kernels, and memory that is the host's.

use super::on_device::{code, on_cpu};
use super::pretended_gpu::{Counts, PretendedGpu, in_its_own_process};
use super::{Bench, Opened, tracks, until};
use framefleet_contract::ErrorCode;
use framefleet_models::Runtime;
use framefleet_models::cuda::{CudaDevice, CudaSettings, Engines};
use framefleet_models::device::Device;
use framefleet_native::cuda::Gpu;
use framefleet_native::ffmpeg::hardware::Hardware;
use framefleet_worker::infer::{InferencePool, OnDevice};
use framefleet_worker::interrupt::Stop;
use std::sync::Arc;
use std::thread;

/// Each picture that a model is warmed up with takes 1.4 MB, and there are batches of 1, 2, 4 and 8: those up to 4 fit.
const SMALL: PretendedGpu = PretendedGpu { memory_bytes: 16_000_000, ..PretendedGpu::SOUND };
/// A model is warmed up with 18 launches: three times with batches of 1, 2 and 4, each with two kernels.
const BREAKS: PretendedGpu = PretendedGpu { lost_at_launch: Some(30), ..PretendedGpu::SOUND };

/// The same as [`Bench::new`], with a GPU in place of two threads.
pub fn bench_on(gpu: Arc<Gpu>, hardware: Option<Arc<Hardware>>, settings: CudaSettings) -> Bench {
    let device: Arc<dyn Device> = Arc::new(CudaDevice::new(gpu, settings).unwrap().with_host_inference());
    let bench = Bench::new();
    let runtime = bench.runtime.clone().on(device.clone());
    Bench { pool: InferencePool::on_device(OnDevice { device, hardware }).unwrap(), runtime, ..bench }
}

/// One that is given pictures from the host.
fn bench(gpu: PretendedGpu, settings: CudaSettings) -> Bench {
    bench_on(gpu.take_up(), None, settings)
}

pub fn batches_of(largest_batch: usize) -> CudaSettings {
    CudaSettings { largest_batch, ..CudaSettings::default() }
}

#[test]
fn a_gpu_finds_what_the_cpu_finds() {
    in_its_own_process(|| {
        let gpu = PretendedGpu::SOUND.take_up();
        let device = CudaDevice::new(Arc::clone(&gpu), batches_of(8)).unwrap().with_host_inference();
        device.try_out(&Runtime::load().unwrap()).unwrap();
        drop(device);
        let bench = bench_on(gpu, None, batches_of(8));
        let (video, street) = (bench.video(1), bench.street());
        let jobs = bench.three_at_once(&video, &street);
        assert!(jobs.iter().all(|bytes| bytes == on_cpu()));
        drop((bench, street));
        Counts::at_the_end();
    });
}

#[test]
fn one_size_of_batch_finds_the_same_whoever_shares_it() {
    in_its_own_process(|| {
        let settings = CudaSettings { deterministic: true, ..batches_of(4) };
        let bench = bench(PretendedGpu::SOUND, settings);
        let (video, street) = (bench.video(1), bench.street());
        let alone = tracks(&bench.run("alone", &video, &street, &Stop::default()).unwrap());
        assert!(bench.three_at_once(&video, &street).iter().all(|shared| *shared == alone));
        assert!(alone == on_cpu());
    });
}

/// Those that the GPU looks through, and those that are copied back whole, of fixed shapes and of any.
#[test]
fn heads_of_all_kinds_are_read_from_a_gpu() {
    in_its_own_process(|| {
        let on_gpu = bench(PretendedGpu::SOUND, batches_of(4));
        let on_cpu = Bench::new();
        let video = on_gpu.video(1);
        for graph in [
            "v8",
            "v8_open",
            "v8_bytes",
            "yolox",
            "v5",
            "v6",
            "damo_yolo",
            "nanodet_plus",
            "rt_detr",
            "end_to_end",
            "torchvision",
            "tensorflow",
        ] {
            let onnx = format!("models/tests/graphs/{graph}.onnx");
            let run =
                |bench: &Bench| tracks(&bench.run(graph, &video, &bench.serving(&onnx), &Stop::default()).unwrap());
            assert!(run(&on_gpu) == run(&on_cpu), "{graph}");
        }
        drop(on_gpu);
        Counts::at_the_end();
    });
}

#[test]
fn a_small_gpu_takes_half_the_batch() {
    in_its_own_process(|| {
        let bench = bench(SMALL, batches_of(8));
        let (video, street) = (bench.video(1), bench.street());
        let device = bench.runtime.device().unwrap();
        let session = device.load(&bench.runtime, &street.checked().model, device.largest_batch()).unwrap();
        assert_eq!(session.buckets().sizes(), [1, 2, 4]);
        drop(session);
        let finished = bench.run("small", &video, &street, &Stop::default()).unwrap();
        assert_eq!(code(&finished), None);
        assert!(tracks(&finished) == on_cpu());
        drop((bench, street));
        Counts::at_the_end();
    });
}

/// On a pretended GPU another session of the CPU stands for TensorRT's.
#[test]
fn another_session_takes_over_between_two_batches() {
    in_its_own_process(|| {
        let engines = tempfile::tempdir().unwrap();
        let tensorrt = Some(Engines { folder: engines.path().to_owned(), version: "10.9".to_owned() });
        let bench = bench(PretendedGpu::SOUND, CudaSettings { tensorrt, ..batches_of(2) });
        let (video, fixed) = (bench.video(1), bench.serving("models/tests/graphs/v8.onnx"));
        let stop = Stop::default();
        let before = tracks(&bench.run("before", &video, &fixed, &stop).unwrap());
        let built = || {
            let mut engines = std::fs::read_dir(engines.path()).unwrap();
            engines.next().is_some_and(|engine| !engine.unwrap().path().join("building").exists())
        };
        until("an engine", built);
        assert!(tracks(&bench.run("after", &video, &fixed, &stop).unwrap()) == before);
        drop((bench, fixed));
        Counts::at_the_end();
    });
}

#[test]
fn a_gpu_that_is_too_small_says_so() {
    in_its_own_process(|| {
        let bench = bench(SMALL, batches_of(64));
        let (video, street) = (bench.video(1), bench.street());
        let opened = Opened::new(&bench, "too-small", &video, &street);
        let error = opened.detect(&bench, &street, 1000.0, &Stop::default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeviceMemory, "{error}");
    });
}

#[test]
fn a_gpu_that_breaks_is_told_of() {
    in_its_own_process(|| {
        let bench = Arc::new(bench(BREAKS, batches_of(4)));
        let (video, street) = (bench.video(1), bench.street());
        let under_way = bench.pool.under_way();
        let running = thread::spawn({
            let bench = bench.clone();
            move || bench.run("lost", &video, &street, &Stop::default()).map(|_| ())
        });
        until("a lost GPU", || under_way.lost().is_some());
        let error = under_way.lost().unwrap();
        assert_eq!(error.code(), ErrorCode::DeviceLost);
        assert!(error.to_string().contains("719"), "{error}");
        assert!(!running.is_finished());
    });
}
