//! The model directory as a user meets it: `framefleet models`, and new versions while jobs run.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::Sha256;
use framefleet_tests::clip;
use framefleet_tests::disk::Disk;
use framefleet_tests::scratch::files_below;
use framefleet_tests::{Ended, Orders, Scratch, repository, wait};
use serde_json::Value;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const X264: &str = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p";

/// A scratch folder with a model directory in it.
fn with_models(models: &[(&str, PathBuf)]) -> Scratch {
    let scratch = Scratch::new();
    fs::create_dir(scratch.join("models")).unwrap();
    for (place, from) in models {
        put(&scratch, place, from);
    }
    scratch
}

/// Puts a file there by a rename, so that it is whole at once.
fn put(scratch: &Scratch, place: &str, from: &Path) {
    let path = scratch.join("models").join(place);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let part = scratch.join("part");
    fs::copy(from, &part).unwrap();
    fs::rename(part, path).unwrap();
}

fn framefleet(scratch: &Scratch, arguments: &[&str]) -> Ended {
    let mut command = Command::new(repository::framefleet());
    command.current_dir(scratch.path()).args(arguments).stdin(Stdio::null()).env_remove("FRAMEFLEET_LOG");
    let output = command.env("FRAMEFLEET_MODELS", scratch.join("models")).output().unwrap();
    Ended::new(format!("{arguments:?}"), output)
}

fn listed(scratch: &Scratch) -> Vec<Value> {
    let ended = framefleet(scratch, &["models", "list", "--json", "--out", "out"]);
    assert_eq!(ended.status, Some(0), "{ended}");
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The models that the jobs of a call ran on, in their order.
fn models_of(ended: &Ended) -> Vec<Sha256> {
    let model = |job: &framefleet_tests::Job| job.plan().model.sha256;
    ended.lines().iter().map(model).collect()
}

#[test]
fn what_is_good_is_ready_and_what_is_bad_is_refused_with_its_reason() {
    let scratch = with_models(&[
        ("good.onnx", repository::graph("v8.onnx")),
        ("gate/9/model.onnx", repository::graph("v5.onnx")),
        ("gate/10/model.onnx", repository::graph("yolox.onnx")),
        ("strange.onnx", repository::graph("fastest.onnx")),
    ]);
    fs::write(scratch.join("models/text.onnx"), "no model").unwrap();
    fs::create_dir(scratch.join("models/folder.onnx")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", scratch.join("models/link.onnx")).unwrap();
    let models = listed(&scratch);
    let seen: Vec<_> = models
        .iter()
        .map(|model| {
            let text = |key: &str| model[key].as_str().unwrap_or("").to_owned();
            (text("name"), text("version"), text("state"), text("code"), model["serving"].as_bool().unwrap())
        })
        .collect();
    let expected = [
        ("folder", "", "refused", "MODEL_INVALID", false),
        ("gate", "9", "ready", "", false),
        ("gate", "10", "ready", "", true),
        ("good", "", "ready", "", true),
        ("link", "", "refused", "MODEL_DENIED", false),
        ("strange", "", "refused", "MODEL_UNRECOGNISED", false),
        ("text", "", "refused", "MODEL_INVALID", false),
    ];
    let expected: Vec<_> = expected
        .map(|(name, version, state, code, serving)| {
            (name.to_owned(), version.to_owned(), state.to_owned(), code.to_owned(), serving)
        })
        .into();
    assert_eq!(seen, expected);
    let table = framefleet(&scratch, &["models", "list", "--out", "out"]);
    for part in ["gate", "yolox", "MODEL_DENIED: ", "[1,85,22,22]"] {
        assert!(table.stdout.contains(part), "{part} is missing: {table}");
    }
    assert!(!scratch.join("out").exists(), "looking at models made a folder of results");
}

#[test]
fn a_check_tells_all_that_is_known_and_how_to_go_on_where_nothing_is() {
    let scratch = with_models(&[]);
    let graph = repository::graph("half.onnx");
    let report = framefleet(&scratch, &["models", "check", "--json", graph.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    assert_eq!(
        (report["manifest"]["head"].as_str(), report["manifest"]["input"]["element"].as_str()),
        (Some("v8"), Some("f16"))
    );
    assert_eq!(report["sha256"].as_str().unwrap(), Sha256::of_file(&graph).unwrap().as_str());
    assert!(report["frame_s"].as_f64().unwrap() > 0.0 && report["memory_bytes"].as_u64().unwrap() > 0);
    assert_eq!(report["confinement"].as_array().unwrap().len(), 3);
    let told = framefleet(&scratch, &["models", "check", graph.to_str().unwrap()]);
    assert!(told.stdout.contains("bird's nest") && told.stdout.contains("ms a frame"), "{told}");

    let unknown = framefleet(&scratch, &["models", "check", repository::graph("fastest.onnx").to_str().unwrap()]);
    assert!(unknown.error(1, "MODEL_UNRECOGNISED").contains("[1,85,22,22]"));
    assert!(unknown.stdout.contains("# head = ") && unknown.stdout.contains("`output` f32"), "{unknown}");
    framefleet(&scratch, &["models", "check", "nowhere.onnx"]).error(2, "MODEL_NOT_FOUND");
    let nan = repository::graph("not_finite.onnx");
    let nan = framefleet(&scratch, &["models", "check", nan.to_str().unwrap()]);
    assert!(nan.error(1, "MODEL_INVALID").contains("not finite"));
    let fastest = repository::graph("fastest.onnx");
    let unknown = framefleet(&scratch, &["models", "check", "--json", fastest.to_str().unwrap()]);
    let told: Value = serde_json::from_str(&unknown.stdout).unwrap();
    assert_eq!(told["error"]["code"], "MODEL_UNRECOGNISED");
}

#[test]
fn what_a_model_sees_is_drawn_into_a_picture() {
    let scratch = with_models(&[]);
    let street = repository::root().join("models/catalog/street.onnx");
    let video = repository::street();
    let jpeg = scratch.file("picture.jpg", &[]);
    let frame = ["-v", "error", "-y", "-i", video.to_str().unwrap(), "-frames:v", "1"];
    assert!(Command::new("ffmpeg").args(frame).arg(&jpeg).status().unwrap().success());
    let mut drawn = Vec::new();
    for (image, png) in [(&video, "a.png"), (&jpeg, "b.png")] {
        let arguments =
            ["models", "check", street.to_str().unwrap(), "--image", image.to_str().unwrap(), "--drawn", png];
        let ended = framefleet(&scratch, &arguments);
        assert_eq!(ended.status, Some(0), "{ended}");
        let boxes = ended.stdout.rsplit_once('(').unwrap().1.split_once(' ').unwrap().0.parse::<u32>().unwrap();
        assert!(boxes > 5, "{ended}");
        let png = fs::read(scratch.join(png)).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
        drawn.push(png);
    }
    assert_ne!(drawn[0], drawn[1]);
    let notes = scratch.file("notes.txt", b"no picture");
    let notes = notes.to_str().unwrap();
    let arguments = ["models", "check", street.to_str().unwrap(), "--image", jpeg.to_str().unwrap(), "--drawn", notes];
    framefleet(&scratch, &arguments).error(1, "BAD_REQUEST");
    assert_eq!(fs::read(notes).unwrap(), b"no picture");
    let text = Path::new(notes);
    let arguments = ["models", "check", street.to_str().unwrap(), "--image", text.to_str().unwrap()];
    framefleet(&scratch, &arguments).error(1, "NO_VIDEO");
}

#[test]
fn a_pin_holds_a_version_and_a_call_can_name_one() {
    let (one, two) = (repository::graph("v8.onnx"), repository::graph("v5.onnx"));
    let scratch = with_models(&[("gate/1/model.onnx", one.clone()), ("gate/2/model.onnx", two.clone())]);
    let video = scratch.clip("clip.mp4", &clip::moving("160x96", 1), X264);
    let run = |model: &str| {
        let video = video.to_str().unwrap();
        let ended = framefleet(&scratch, &["run", video, "--json", "--model", model, "--out", "out"]);
        assert_eq!(ended.status, Some(0), "{ended}");
        models_of(&ended).remove(0)
    };
    let [one, two] = [one, two].map(|path| Sha256::of_file(&path).unwrap());
    assert_eq!((run("gate"), run("gate@1")), (two.clone(), one.clone()));
    let pinned = framefleet(&scratch, &["models", "pin", "gate", "1", "--out", "out"]);
    assert_eq!(pinned.status, Some(0), "{pinned}");
    assert_eq!((run("gate"), run("gate@2")), (one, two.clone()));
    let shown = listed(&scratch);
    assert_eq!((shown[0]["pinned"].as_bool(), shown[0]["serving"].as_bool()), (Some(true), Some(true)));
    framefleet(&scratch, &["models", "pin", "gate", "3", "--out", "out"]).error(2, "MODEL_NOT_FOUND");
    // Nothing else serves instead of the pinned version; another name's pin is none of its business.
    fs::remove_dir_all(scratch.join("models/gate/1")).unwrap();
    let lost = framefleet(&scratch, &["run", video.to_str().unwrap(), "--model", "gate", "--out", "out"]);
    assert!(lost.error(2, "MODEL_NOT_FOUND").contains("`framefleet models unpin gate`"), "{lost}");
    fs::create_dir_all(scratch.join("out/models/state/other")).unwrap();
    fs::write(scratch.join("out/models/state/other/3.json"), "damaged").unwrap();
    assert_eq!(framefleet(&scratch, &["models", "unpin", "gate", "--out", "out"]).status, Some(0));
    assert_eq!(run("gate"), two);
    fs::write(scratch.join("out/models/state/gate/7.json"), "damaged").unwrap();
    let damaged = framefleet(&scratch, &["run", video.to_str().unwrap(), "--model", "gate", "--out", "out"]);
    assert!(damaged.error(2, "VOLUME_IO").contains("gate/7.json"), "{damaged}");
    assert_eq!(framefleet(&scratch, &["models", "unpin", "gate", "--out", "out"]).status, Some(0));
    let unknown = framefleet(&scratch, &["run", video.to_str().unwrap(), "--model", "gate@7", "--out", "out"]);
    assert!(unknown.error(2, "MODEL_NOT_FOUND").contains("\"7\""));
}

#[test]
fn a_refused_newest_version_leaves_the_one_before_it_in_use() {
    let scratch = with_models(&[("gate/1/model.onnx", repository::graph("v8.onnx"))]);
    fs::create_dir_all(scratch.join("models/gate/2")).unwrap();
    let whole = fs::read(repository::graph("v5.onnx")).unwrap();
    fs::write(scratch.join("models/gate/2/model.onnx"), &whole[..whole.len() / 2]).unwrap();
    let video = scratch.clip("clip.mp4", &clip::moving("160x96", 1), X264);
    let ended = framefleet(&scratch, &["run", video.to_str().unwrap(), "--json", "--model", "gate", "--out", "out"]);
    assert_eq!(ended.status, Some(0), "{ended}");
    assert_eq!(models_of(&ended), [Sha256::of_file(&repository::graph("v8.onnx")).unwrap()]);
    assert!(ended.stderr.contains("MODEL_INVALID"), "{ended}");
}

/// A call on six videos with the model `cells`, the file of which is replaced as soon as the first job is under way: by the
/// same graph, which is another model by what its `model.toml` says. The videos take long until
/// the new version `is_seen`, by what the call says.
fn run_with_a_swap(scratch: &Scratch, arguments: &[&str], toml: &str, is_seen: impl Fn(&str) -> bool) -> Ended {
    let (one, heard, pace) = (repository::cells(), scratch.join("heard"), Orders::new(scratch, "pace"));
    pace.give(&["decode @ hold 40"]);
    let videos: Vec<PathBuf> =
        (0..6).map(|n| scratch.clip(&format!("clip-{n}.mp4"), &clip::moving("640x360", 8 + n), X264)).collect();
    let mut command = Command::new(repository::framefleet());
    command.current_dir(scratch.path()).arg("run").args(&videos).args(["--json", "--threads", "1"]).args(arguments);
    command.args(["--model", "cells", "--out", "out", "--models"]).arg(scratch.join("models"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fs::File::create(&heard).unwrap());
    command.env("FRAMEFLEET_LOG", "info").envs(pace.environment());
    let child = command.spawn().unwrap();
    // By then the first frames went through the model: on them the versions are compared.
    pace.wait_until_done(1);
    pace.give(&["decode @ sleep-30000"]);
    fs::remove_file(scratch.join("models/cells.onnx")).unwrap();
    fs::write(scratch.join("models/cells.toml"), toml).unwrap();
    put(scratch, "cells.onnx", &one);
    wait::calmly("the call has seen the new version", || is_seen(&fs::read_to_string(&heard).unwrap()));
    pace.withdraw();
    let output = Output { stderr: fs::read(&heard).unwrap(), ..child.wait_with_output().unwrap() };
    let ended = Ended::new("a call with a swap".to_owned(), output);
    assert_eq!(ended.status, Some(0), "{ended}");
    ended
}

/// A version dropped while a call runs serves the videos that have not begun, and what is under way is not disturbed by
/// its file going away.
#[test]
fn a_dropped_version_serves_the_videos_that_follow() {
    let one = repository::cells();
    let scratch = with_models(&[("cells.onnx", one.clone())]);
    // Versions are compared beside the work, and a call that ends does not wait for that.
    let is_compared =
        || files_below(&scratch.join("out/models")).iter().any(|path| path.parent().unwrap().ends_with("compared"));
    let is_seen = |heard: &str| heard.contains("is used from here on") && is_compared();
    let ended = run_with_a_swap(&scratch, &[], "max_detections = 299\n", is_seen);
    let models = models_of(&ended);
    let first = Sha256::of_file(&one).unwrap();
    assert_eq!(models.len(), 6);
    assert_eq!(models[0], first);
    let swapped = models.iter().position(|model| *model != first).unwrap_or_else(|| panic!("never swapped: {ended}"));
    assert!(models[swapped..].iter().all(|model| *model == models[swapped]), "{models:?}");
    let compared =
        scratch.join("out/models").join(models[swapped].as_str()).join("compared").join(format!("{first}.json"));
    let compared: Value = serde_json::from_slice(&fs::read(compared).unwrap()).unwrap();
    assert_eq!((compared["lost"].as_u64(), compared["gained"].as_u64()), (Some(0), Some(0)), "{compared}");
    let shown = listed(&scratch);
    assert_eq!(shown[0]["comparison"], compared, "models list does not tell how it differs: {shown:?}");
    for job in ended.lines() {
        assert_eq!(job.outcome.state, framefleet_contract::outcome::State::Succeeded);
    }
}

/// The call's own threshold is below what the new version takes for its least.
#[test]
fn a_version_that_a_call_cannot_use_is_passed_over() {
    let scratch = with_models(&[("cells.onnx", repository::cells())]);
    let (threshold, said) = (["--track-thresh", "0.3"], "cannot be used by this call");
    let is_seen = |heard: &str| heard.contains(said);
    let ended = run_with_a_swap(&scratch, &threshold, "[tracker]\nlow_thresh = 0.4\n", is_seen);
    let first = Sha256::of_file(&repository::cells()).unwrap();
    assert_eq!(models_of(&ended), vec![first; 6]);
    assert_eq!(ended.stderr.matches(said).count(), 1, "{ended}");
}

/// What was stored without its end, by a program that was killed, is still what others may be working with.
#[test]
fn a_model_is_used_as_it_was_stored_first() {
    let scratch = with_models(&[("cells.onnx", repository::cells())]);
    let most = |name: &str| {
        let video = scratch.clip(name, &clip::moving("640x360", 2), X264);
        let ended = framefleet(&scratch, &["run", video.to_str().unwrap(), "--json", "--out", "out"]);
        assert_eq!(ended.status, Some(0), "{ended}");
        let rows = ended.lines().remove(0).rows();
        rows.chunk_by(|left, right| left.frame == right.frame).map(<[_]>::len).max().unwrap()
    };
    assert!(most("first.mp4") > 1);
    let folder = scratch.join("out/models").join(Sha256::of_file(&repository::cells()).unwrap().as_str());
    fs::remove_file(folder.join("check.json")).unwrap();
    let mut manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    manifest["defaults"]["max_detections"] = 1.into();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    assert_eq!(most("second.mp4"), 1);
    assert!(folder.join("check.json").is_file());
}

/// As a terminal does with Ctrl-C: the child in which a model is tried out must not look like a broken model.
#[test]
fn a_signal_to_all_processes_of_a_call_is_no_fault_of_the_model() {
    let scratch = with_models(&[("endless.onnx", repository::graph("endless_loop.onnx"))]);
    let video = scratch.clip("clip.mp4", &clip::moving("160x96", 1), X264);
    let path = scratch.join("models/endless.onnx");
    for model in ["endless", path.to_str().unwrap()] {
        let mut command = Command::new(repository::framefleet());
        command.current_dir(scratch.path()).arg("run").arg(&video).args(["--model", model, "--out", "out"]);
        command.arg("--models").arg(scratch.join("models")).process_group(0);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait::until("the model is being tried out", || has_child(child.id()));
        let kill = format!("kill -INT -{}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let ended = Ended::new(format!("a call on {model} that got SIGINT"), child.wait_with_output().unwrap());
        ended.error(130, "INTERRUPTED");
    }
}

fn has_child(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads
        .into_iter()
        .any(|thread| fs::read_to_string(thread.path().join("children")).is_ok_and(|pids| !pids.is_empty()))
}

#[test]
fn a_read_only_model_directory_is_all_right() {
    let scratch = with_models(&[]);
    let models = scratch.join("models");
    let disk = Disk::mount(&models, 4096);
    fs::copy(repository::graph("v8.onnx"), disk.seen_from_outside().join("one.onnx")).unwrap();
    disk.remount("ro");
    let seen_by = |program: &Path, arguments: &[&OsStr]| {
        let prefix = disk.prefix();
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(program).args(arguments).current_dir(scratch.path()).stdin(Stdio::null());
        Ended::new(format!("{arguments:?}"), command.env("FRAMEFLEET_MODELS", &models).output().unwrap())
    };
    let touched = seen_by(Path::new("touch"), &[models.join("new").as_os_str()]);
    assert!(touched.stderr.contains("Read-only file system"), "{touched}");
    let video = scratch.clip("clip.mp4", &clip::moving("160x96", 1), X264);
    let run = ["run".as_ref(), video.as_os_str(), "--json".as_ref(), "--out".as_ref(), "out".as_ref()];
    let ended = seen_by(&repository::framefleet(), &run);
    assert_eq!(ended.status, Some(0), "{ended}");
    assert_eq!(models_of(&ended), [Sha256::of_file(&repository::graph("v8.onnx")).unwrap()]);
}
