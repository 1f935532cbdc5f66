//! Frames of several sources in batches on a device, and what happens when it fails.

use super::pretended::{Fault, Pretended};
use super::{Bench, Opened, tracks, until};
use framefleet_contract::ErrorCode;
use framefleet_contract::job_folder::TRACKS;
use framefleet_worker::infer::{InferencePool, OnDevice};
use framefleet_worker::interrupt::Stop;
use framefleet_worker::job::Finished;
use std::process::Command;
use std::sync::{Arc, LazyLock, Weak};
use std::thread;

/// The same as [`Bench::new`], with a device in place of two threads.
fn bench(device: &Arc<Pretended>) -> Bench {
    let bench = Bench::new();
    let runtime = bench.runtime.clone().on(device.clone());
    Bench {
        pool: InferencePool::on_device(OnDevice { device: device.clone(), hardware: None }).unwrap(),
        runtime,
        ..bench
    }
}

/// What the CPU finds in the sample once over, one frame at a time.
pub fn on_cpu() -> &'static [u8] {
    static TRACKS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let bench = Bench::new();
        tracks(&bench.run("cpu", &bench.video(1), &bench.street(), &Stop::default()).unwrap())
    });
    &TRACKS
}

pub fn code(finished: &Finished) -> Option<ErrorCode> {
    finished.outcome.error.as_ref().map(|failure| failure.code)
}

#[test]
fn batches_of_several_sources_give_the_bytes_that_single_frames_give() {
    let device = Pretended::new(8, Fault::None);
    let bench = bench(&device);
    let jobs = bench.three_at_once(&bench.video(1), &bench.street());
    assert!(jobs.iter().all(|bytes| bytes == on_cpu()));
    assert_eq!(device.loads(), [8], "one session for all");
    let batches = device.batches();
    assert!(batches.iter().any(|pictures| *pictures > 1), "{batches:?}");
}

#[test]
fn two_models_take_turns_on_a_device() {
    let device = Pretended::new(4, Fault::None);
    let bench = bench(&device);
    bench.assert_two_models_do_not_disturb_each_other(&bench.video(1));
}

#[test]
fn too_little_memory_halves_the_batch_once_and_loses_nothing() {
    for at_the_end in [false, true] {
        let device = Pretended::new(4, Fault::MemoryFor { pictures: 2, at_the_end });
        let bench = bench(&device);
        let (video, street) = (bench.video(1), bench.street());
        let finished = bench.run("halved", &video, &street, &Stop::default()).unwrap();
        assert!(tracks(&finished) == on_cpu());
        assert_eq!(device.loads(), [4, 2], "at the end: {at_the_end}");
        assert!(device.batches().iter().any(|pictures| *pictures > 2), "there was nothing to halve");
    }
}

#[test]
fn too_little_memory_for_the_half_fails_the_job_and_not_the_next() {
    let device = Pretended::new(8, Fault::MemoryFor { pictures: 1, at_the_end: false });
    let bench = bench(&device);
    let (video, street) = (bench.video(1), bench.street());
    let opened = Opened::new(&bench, "failing", &video, &street);
    let error = opened.detect(&bench, &street, 1000.0, &Stop::default()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DeviceMemory);
    assert_eq!(device.loads(), [8, 4]);
    let again = opened.detect(&bench, &street, 1000.0, &Stop::default()).unwrap_err();
    assert_eq!(again.code(), ErrorCode::DeviceMemory, "the thread goes on");
}

#[test]
fn a_batch_that_fails_fails_its_own_job_alone() {
    for fault in [Fault::FailsAt(3), Fault::PanicsAt(3)] {
        let device = Pretended::new(4, fault);
        let bench = bench(&device);
        let (video, street) = (bench.video(1), bench.street());
        let opened = Opened::new(&bench, "failing", &video, &street);
        let error = opened.detect(&bench, &street, 1000.0, &Stop::default()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InferenceFailed, "{error}");
        let after = bench.run("after", &video, &street, &Stop::default()).unwrap();
        assert_eq!(code(&after), None);
        assert_eq!(device.loads(), [4, 4], "a session that failed is not used again");
    }
}

#[test]
fn a_video_that_no_batch_survives_fails_alone() {
    const WIDTH: u32 = 160;
    let device = Pretended::new(8, Fault::FailsOnWidth(WIDTH));
    let bench = bench(&device);
    let (sound, street) = (bench.video(1), bench.street());
    // Of the same aspect, so that its frames go together with those of the other.
    let poison = bench.root.path().join("poison.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-i"]).arg(&sound).args(["-vf", &format!("scale={WIDTH}:-2")]).arg(&poison);
    assert!(ffmpeg.status().unwrap().success());
    let stop = Stop::default();
    let sound = thread::scope(|scope| {
        let job = scope.spawn(|| bench.run("sound", &sound, &street, &stop).unwrap());
        let opened = Opened::new(&bench, "poison", &poison, &street);
        let error = opened.detect(&bench, &street, 1000.0, &stop).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InferenceFailed, "{error}");
        job.join().unwrap()
    });
    assert!(tracks(&sound) == on_cpu());
}

/// The process would end here. Its job must neither be done nor failed then: another process takes it up.
#[test]
fn a_lost_device_is_told_of_and_its_job_stays_open() {
    let device = Pretended::new(4, Fault::LostAt(3));
    let bench = Arc::new(bench(&device));
    let (video, street) = (bench.video(1), bench.street());
    let under_way = bench.pool.under_way();
    let volume = bench.volume("lost");
    let running = thread::spawn({
        let bench = bench.clone();
        move || bench.run("lost", &video, &street, &Stop::default()).map(|_| ())
    });
    until("a lost device", || under_way.lost().is_some());
    assert_eq!(under_way.lost().unwrap().code(), ErrorCode::DeviceLost);
    // Whoever comes later waits too, as soon as there are frames of it.
    let later = thread::spawn({
        let bench = bench.clone();
        move || bench.run("lost", &bench.video(2), &bench.street(), &Stop::default()).map(|_| ())
    });
    until("packets of another job", || {
        let jobs = std::fs::read_dir(volume.root().join("jobs")).unwrap();
        jobs.filter(|job| job.as_ref().unwrap().path().join("plan.json").exists()).count() == 2
    });
    assert!(!later.is_finished());
    assert!(!running.is_finished());
    let jobs = std::fs::read_dir(volume.root().join("jobs")).unwrap();
    for job in jobs {
        let folder = job.unwrap().path();
        assert!(!folder.join(TRACKS).exists() && !folder.join("outcome.json").exists());
    }
}

#[test]
fn a_session_is_kept_while_its_model_serves_and_goes_with_it() {
    let device = Pretended::new(4, Fault::None);
    let bench = bench(&device);
    let (video, street) = (bench.video(1), bench.street());
    street.warm(7, None).unwrap();
    for name in ["first", "second"] {
        bench.run(name, &video, &street, &Stop::default()).unwrap();
    }
    assert_eq!(device.loads(), [4], "warming made it, and both jobs used it");
    let gone: Weak<_> = Arc::downgrade(&street);
    drop(street);
    until("an end of all sessions", || gone.upgrade().is_none());
}
