//! Input that means harm or was made by a broken program: each file of `tests/corpus/make.py` comes to the code that it
//! should, with one line, in bounded time and memory; and what is odd but right works.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::fault::Fault;
use framefleet_tests::scratch::temporary_files_below;
use framefleet_tests::{Call, Detector, Ended, Scratch, clip, repository};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// No file of the corpus takes a tenth of it.
const DEADLINE: Duration = Duration::from_mins(1);
/// Address space of the program, with two inference threads: what it maps without any video, and half as much again.
const MOST_MEMORY: &str = "--as=2500000000";
/// Seconds of processor time.
const MOST_TIME: &str = "--cpu=60";
const X264: &str = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p";

fn corpus(scratch: &Scratch) -> (PathBuf, Vec<serde_json::Value>) {
    let folder = scratch.join("corpus");
    let script = repository::root().join("tests/corpus/make.py");
    let status = Command::new("python3").arg(&script).arg(&folder).status().unwrap();
    assert!(status.success(), "{} failed", script.display());
    let manifest = fs::read(folder.join("corpus.json")).unwrap();
    (folder, serde_json::from_slice(&manifest).unwrap())
}

#[test]
fn every_file_of_the_corpus_comes_to_what_it_should() {
    let scratch = Scratch::new();
    let (folder, manifest) = corpus(&scratch);
    let mut wrong = Vec::new();
    for (number, entry) in manifest.iter().enumerate() {
        let arguments: Vec<&str> =
            entry["arguments"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()).collect();
        let file = folder.join(entry["file"].as_str().unwrap());
        let call = scratch.call(Detector::Colours, &[&file]).with(&["--threads", "2"]).with(&arguments);
        let started = Instant::now();
        let bounds = ["prlimit", MOST_MEMORY, MOST_TIME, "--"].map(String::from);
        let ended = call.out(&scratch.join(&format!("out-{number}"))).run_through(&bounds);
        let took = started.elapsed();
        if took > DEADLINE || comes_to(&ended) != expected(entry) {
            wrong.push(format!("{} ({}): took {took:?}: {ended}", entry["file"], entry["what"]));
        }
        assert_eq!(temporary_files_below(&scratch.join(&format!("out-{number}"))), [] as [PathBuf; 0]);
    }
    assert!(manifest.len() > 40, "the corpus has shrunk");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), manifest.len(), wrong.join("\n\n"));
}

fn expected(entry: &serde_json::Value) -> String {
    match entry["comes_to"].as_str().unwrap() {
        "works" => format!("works: {} frames", entry["frames"]),
        code => format!("status 1, {code}"),
    }
}

/// In the words of [`expected`], or whatever else it came to.
fn comes_to(ended: &Ended) -> String {
    match (ended.status, ended.stderr.lines().collect::<Vec<_>>().as_slice()) {
        (Some(0), []) => format!("works: {} frames", ended.lines()[0].summary().frames.decoded),
        (Some(status), [line]) => {
            format!("status {status}, {}", line.split(": ").nth(1).unwrap_or("no code"))
        }
        (status, _) => format!("status {status:?}"),
    }
}

fn clip_in(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.clip(name, &clip::moving("160x96", 2), X264)
}

#[test]
fn a_refused_job_is_done_when_the_limit_is_raised_and_its_folder_removed() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let call = || scratch.call(Detector::Colours, &[&video]);
    let refused = call().with(&["--max-pixels", "15359"]).run();
    let message = refused.error(1, "PIXELS_LIMIT");
    assert!(message.contains("160x96") && message.contains("15359") && message.contains("--max-pixels"), "{message}");
    let job = refused.lines().remove(0);
    let again = call().run();
    assert!(again.error(1, "PIXELS_LIMIT").contains("it failed before"), "{again}");
    fs::remove_dir_all(job.folder).unwrap();
    call().with(&["--max-pixels", "15360"]).run().job();
}

#[test]
fn a_link_out_of_the_roots_is_denied_before_any_job_is_begun() {
    let scratch = Scratch::new();
    let (inside, outside) = (scratch.join("videos"), scratch.join("secrets"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    let allowed = clip_in(&scratch, "videos/allowed.mp4");
    let secret = clip_in(&scratch, "secrets/secret.mp4");
    let link = inside.join("link.mp4");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    let roots = inside.to_str().unwrap();
    for video in [&link, &secret, &inside.join("../secrets/secret.mp4")] {
        let ended = scratch.call(Detector::Colours, &[video]).with(&["--root", roots]).run();
        assert!(ended.error(2, "PATH_DENIED").contains("--root"), "{ended}");
        let ended = scratch.call(Detector::Colours, &[video]).env("FRAMEFLEET_ROOTS", roots).run();
        ended.error(2, "PATH_DENIED");
    }
    assert!(!scratch.join("out").exists());
    scratch.call(Detector::Colours, &[&allowed]).with(&["--root", roots]).run().job();
    let both = format!("{roots}:{}", outside.display());
    scratch.call(Detector::Colours, &[&link]).env("FRAMEFLEET_ROOTS", &both).run().job();
    let missing = scratch.call(Detector::Colours, &[&allowed]).with(&["--root", "/nowhere"]).run();
    assert!(missing.error(2, "BAD_REQUEST").contains("/nowhere"), "{missing}");
}

#[test]
fn limits_out_of_their_range_are_bad_requests() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    for (flag, value) in [
        ("--max-pixels", "0"),
        ("--max-pixels", "67108865"),
        ("--max-duration", "0"),
        ("--max-duration", "inf"),
        ("--max-streams", "0"),
        ("--max-probe-bytes", "12"),
        ("--max-bytes", "-1"),
        ("--stall-seconds", "0.01"),
        ("--stall-seconds", "NaN"),
    ] {
        let ended = scratch.call(Detector::Colours, &[&video]).with(&[&format!("{flag}={value}")]).run();
        let message = ended.error(2, "BAD_REQUEST");
        assert!(message.contains(flag), "{flag} {value}: {message}");
    }
}

/// With one segment a second, so that some are published before the fault.
fn call_with_fault(scratch: &Scratch, video: &Path, environment: [(&str, &str); 3]) -> Call {
    let call = scratch.call(Detector::Colours, &[video]).with(&["--segment-seconds", "1"]);
    environment.into_iter().fold(call, |call, (name, value)| call.env(name, value))
}

const SOON: [&str; 2] = ["--stall-seconds", "0.5"];

fn assert_the_same_command_goes_on(scratch: &Scratch, video: &Path) {
    let undisturbed = {
        let out = scratch.join("undisturbed");
        scratch.call(Detector::Colours, &[video]).with(&["--segment-seconds", "1"]).out(&out).run().job().digest()
    };
    let job = scratch.call(Detector::Colours, &[video]).with(&["--segment-seconds", "1"]).run().job_taken_up();
    assert!(!job.was_finished, "the job was closed");
    assert_eq!(job.digest(), undisturbed);
}

#[test]
fn a_decoder_that_hangs_ends_the_process_and_the_job_goes_on() {
    let scratch = Scratch::new();
    let video = scratch.clip("clip.mp4", &clip::moving("160x96", 6), X264);
    let fault = Fault::new(&scratch);
    let ended = call_with_fault(&scratch, &video, fault.environment("HOLD_DECODER", "120")).with(&SOON).run();
    let message = ended.error(70, "DECODE_STALLED");
    assert!(message.contains("clip.mp4") && message.contains("--stall-seconds"), "{message}");
    let line: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(line["error"]["code"], "DECODE_STALLED");
    fault.release();
    assert_the_same_command_goes_on(&scratch, &video);
}

#[test]
fn a_read_that_does_not_come_back_ends_the_process_and_the_job_goes_on() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let fault = Fault::new(&scratch);
    let ended = call_with_fault(&scratch, &video, fault.environment("HOLD_READ", "clip.mp4")).with(&SOON).run();
    assert!(ended.error(70, "READ_TIMEOUT").contains("clip.mp4"), "{ended}");
    fault.release();
    assert_the_same_command_goes_on(&scratch, &video);
}

/// Each read comes back, so nothing has to be killed.
#[test]
fn one_byte_at_a_time_is_too_slow() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let fault = Fault::new(&scratch);
    let ended = call_with_fault(&scratch, &video, fault.environment("SLOW_READ", "clip.mp4")).with(&SOON).run();
    assert!(ended.error(1, "READ_TIMEOUT").contains("clip.mp4"), "{ended}");
    assert_the_same_command_goes_on(&scratch, &video);
}

/// A process that stands still is not stuck: a laptop was closed, a container frozen.
#[test]
fn a_process_that_was_stopped_goes_on() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let fault = Fault::new(&scratch);
    let child = call_with_fault(&scratch, &video, fault.environment("HOLD_DECODER", "20")).with(&SOON).start();
    fault.wait_until_held();
    let signal = |name: &str| {
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let stopped = Instant::now();
    framefleet_tests::wait::until("four limits have passed", || stopped.elapsed() > Duration::from_secs(2));
    fault.release();
    signal("-CONT");
    let ended = Ended::new("a process that was stopped".to_owned(), child.wait_with_output().unwrap());
    ended.job();
}

#[test]
fn a_file_that_grows_while_it_is_analysed_has_changed() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.ts");
    let fault = Fault::new(&scratch);
    // The first packets are those with which FFmpeg finds out what is in the file.
    for packet in ["1", "40"] {
        let child = call_with_fault(&scratch, &video, fault.environment("HOLD_DECODER", packet)).start();
        fault.wait_until_held();
        fs::OpenOptions::new().append(true).open(&video).unwrap().write_all(&[0x47; 188]).unwrap();
        fault.release();
        let ended = Ended::new("a call".to_owned(), child.wait_with_output().unwrap());
        let message = ended.error(1, "SOURCE_CHANGED");
        assert!(message.contains("clip.ts") && message.contains("bytes, was"), "{message}");
        fault.hold_again();
    }
}
