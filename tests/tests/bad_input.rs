//! What cannot be: each mistake and each failure of the surroundings has its code, its exit status and one line, and
//! leaves nothing half-published behind.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::outcome::State;
use framefleet_tests::disk::Disk;
use framefleet_tests::job::contents_of;
use framefleet_tests::scratch::{files_below, temporary_files_below};
use framefleet_tests::{Detector, Scratch, clip, repository};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const X264: &str = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p";

fn clip_in(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.clip(name, &clip::moving("160x96", 1), X264)
}

/// The call is a mistake: status 2, one line, and no job is begun. Gives the message.
fn refused(scratch: &Scratch, code: &str, video: &Path) -> String {
    let ended = scratch.call(Detector::Colours, &[video]).run();
    let message = ended.error(2, code).to_owned();
    assert!(message.contains(video.to_str().unwrap()), "which file? {message}");
    assert!(ended.stdout.is_empty(), "{ended}");
    assert!(!scratch.join("out").exists(), "a folder of results was made");
    message
}

/// The job fails: status 1, one line, and an outcome that says the same, with no file to trust.
fn fails(scratch: &Scratch, code: &str, video: &Path) -> String {
    let ended = scratch.call(Detector::Colours, &[video]).run();
    let message = ended.error(1, code).to_owned();
    let job = &ended.lines()[0];
    let stored: framefleet_contract::outcome::Outcome =
        serde_json::from_slice(&fs::read(job.folder.join("outcome.json")).unwrap()).unwrap();
    assert_eq!((stored.state, stored.files.len()), (State::Failed, 0));
    let failure = stored.error.unwrap();
    assert_eq!((failure.code.as_str(), failure.message.as_str()), (code, message.as_str()));
    assert_eq!(temporary_files_below(&scratch.join("out")), [] as [PathBuf; 0]);
    let again = scratch.call(Detector::Colours, &[video]).run();
    assert!(again.error(1, code).starts_with(&format!("{message} (it failed before; remove ")), "asked again: {again}");
    assert!(again.lines()[0].was_finished);
    message
}

#[test]
fn a_missing_file_is_not_found() {
    let scratch = Scratch::new();
    refused(&scratch, "SOURCE_NOT_FOUND", &scratch.join("nowhere.mp4"));
}

#[test]
fn a_folder_is_not_a_video() {
    let scratch = Scratch::new();
    let folder = scratch.join("folder.mp4");
    fs::create_dir(&folder).unwrap();
    let message = refused(&scratch, "PATH_DENIED", &folder);
    assert!(message.contains("folder"), "{message}");
}

/// It must not be opened: that would wait for a writer for ever.
#[test]
fn a_named_pipe_is_not_a_video() {
    let scratch = Scratch::new();
    let pipe = scratch.join("pipe.mp4");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let message = refused(&scratch, "PATH_DENIED", &pipe);
    assert!(message.contains("pipe"), "{message}");
}

#[test]
fn a_socket_and_a_device_are_no_videos() {
    let scratch = Scratch::new();
    let socket = scratch.join("socket.mp4");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    refused(&scratch, "PATH_DENIED", &socket);
    refused(&scratch, "PATH_DENIED", Path::new("/dev/zero"));
}

#[test]
fn an_empty_file_has_no_video() {
    let scratch = Scratch::new();
    fails(&scratch, "NO_VIDEO", &scratch.file("empty.mp4", b""));
}

#[test]
fn other_kinds_of_files_have_no_video() {
    let scratch = Scratch::new();
    let mut zip = b"PK\x03\x04\x14\0\0\0\x08\0".to_vec();
    zip.extend((0..4000u32).map(|i| (i * i % 251) as u8));
    fails(&scratch, "NO_VIDEO", &scratch.file("zip.mp4", &zip));
    fails(&scratch, "NO_VIDEO", &scratch.file("text.mp4", "just some words\n".repeat(300).as_bytes()));
    fails(&scratch, "NO_VIDEO", &scratch.file("zeros.mp4", &[0; 5000]));
}

#[test]
fn sound_alone_is_no_video() {
    let scratch = Scratch::new();
    let tone = ["-f", "lavfi", "-i", "sine=duration=1"].map(String::from);
    fails(&scratch, "NO_VIDEO", &scratch.clip("sound.mp4", &tone, "-c:a aac"));
    fails(&scratch, "NO_VIDEO", &scratch.clip("sound.mkv", &tone, "-c:a pcm_s16le"));
}

#[test]
fn a_cover_picture_is_no_video() {
    let scratch = Scratch::new();
    let cover = scratch.clip("cover.jpg", &clip::moving("64x64", 1), "-frames:v 1 -q:v 5");
    let tone = ["-f", "lavfi", "-i", "sine=duration=1"].map(String::from);
    let inputs = [tone.to_vec(), clip::from(&cover)].concat();
    let options = "-map 0 -map 1 -c:a aac -c:v copy -disposition:v:0 attached_pic";
    let song = scratch.clip("song.mp4", &inputs, options);
    assert_eq!(clip::stream_field(&song, "codec_type"), "video", "the cover is there to be mistaken");
    fails(&scratch, "NO_VIDEO", &song);
}

#[test]
fn a_copy_that_stopped_early_is_corrupt() {
    let scratch = Scratch::new();
    let whole = scratch.clip("whole.mp4", &clip::moving("160x96", 3), &format!("{X264} -movflags +faststart"));
    let bytes = fs::read(&whole).unwrap();
    let message = fails(&scratch, "INPUT_CORRUPT", &scratch.file("cut.mp4", &bytes[..bytes.len() * 3 / 5]));
    assert!(message.contains("cut.mp4"), "{message}");
    fails(&scratch, "INPUT_CORRUPT", &scratch.file("last-byte.mp4", &bytes[..bytes.len() - 1]));
}

#[test]
fn an_mp4_without_its_index_is_corrupt() {
    let scratch = Scratch::new();
    let whole = scratch.clip("whole.mp4", &clip::moving("160x96", 3), X264);
    let bytes = fs::read(&whole).unwrap();
    let index = bytes.windows(4).rposition(|four| four == b"moov").unwrap() - 4;
    assert!(index > bytes.len() / 2, "the index is not at the end");
    let message = fails(&scratch, "INPUT_CORRUPT", &scratch.file("no-index.mp4", &bytes[..index]));
    assert!(message.contains("moov"), "{message}");
}

/// It would make the program read whatever file or host it names.
#[test]
fn a_playlist_is_not_opened() {
    let scratch = Scratch::new();
    let segment = scratch.clip("segment.ts", &clip::moving("160x96", 1), X264);
    let playlist = format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n", segment.display());
    fails(&scratch, "FORMAT_DENIED", &scratch.file("list.mp4", playlist.as_bytes()));
    let concat = format!("ffconcat version 1.0\nfile '{}'\n", segment.display());
    fails(&scratch, "FORMAT_DENIED", &scratch.file("concat.mp4", concat.as_bytes()));
}

#[test]
fn of_several_videos_the_bad_one_fails_and_the_others_are_done() {
    let scratch = Scratch::new();
    let (first, last) = (clip_in(&scratch, "first.mp4"), clip_in(&scratch, "last.mp4"));
    let bad = scratch.file("bad.mp4", b"");
    let ended = scratch.call(Detector::Colours, &[&first, &bad, &last]).run();
    let message = ended.error(1, "NO_VIDEO");
    assert!(message.contains("bad.mp4"), "{message}");
    let states: Vec<State> = ended.lines().iter().map(|job| job.outcome.state).collect();
    assert_eq!(states, [State::Succeeded, State::Failed, State::Succeeded]);
}

/// Nothing has been begun yet when it is found that one of the videos is not there.
#[test]
fn of_several_videos_a_missing_one_stops_the_call_before_any_is_done() {
    let scratch = Scratch::new();
    let first = clip_in(&scratch, "first.mp4");
    let ended = scratch.call(Detector::Colours, &[&first, &scratch.join("missing.mp4")]).run();
    assert!(ended.error(2, "SOURCE_NOT_FOUND").contains("missing.mp4"));
    assert!(!scratch.join("out").exists());
}

fn refused_with_model(code: &str, model: &Path) -> String {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let ended = scratch.bare_call().with_path("--model", model).with(&[video.to_str().unwrap()]).run();
    assert!(!scratch.join("out/jobs").exists());
    ended.error(2, code).to_owned()
}

#[test]
fn a_file_that_is_no_onnx_is_an_invalid_model() {
    let scratch = Scratch::new();
    let text = scratch.file("model.onnx", b"these are words, not a graph");
    let message = refused_with_model("MODEL_INVALID", &text);
    assert!(message.contains(text.to_str().unwrap()), "{message}");
    refused_with_model("MODEL_INVALID", &scratch.file("empty.onnx", b""));
    let whole = fs::read(repository::cells()).unwrap();
    refused_with_model("MODEL_INVALID", &scratch.file("half.onnx", &whole[..whole.len() / 2]));
}

#[test]
fn a_graph_of_an_unknown_layout_is_not_recognised() {
    let message = refused_with_model("MODEL_UNRECOGNISED", &repository::graph("fastest.onnx"));
    assert!(message.contains("fastest.onnx"), "{message}");
}

#[test]
fn an_unknown_model_is_not_found_and_the_known_ones_are_named() {
    let message = refused_with_model("MODEL_NOT_FOUND", Path::new("strasse"));
    assert!(message.contains("strasse") && message.contains("street"), "{message}");
    refused_with_model("MODEL_NOT_FOUND", Path::new("/nowhere/model.onnx"));
    // A device or a FIFO would never end.
    refused_with_model("MODEL_NOT_FOUND", Path::new("/dev/zero"));
}

fn bad_request(arguments: &[&str]) -> String {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let ended = scratch.bare_call().with(&[video.to_str().unwrap(), "--model", "street"]).with(arguments).run();
    assert!(!scratch.join("out").exists(), "{arguments:?} made a folder of results");
    ended.error(2, "BAD_REQUEST").to_owned()
}

#[test]
fn a_class_that_the_model_lacks_is_a_bad_request() {
    let message = bad_request(&["--classes", "person,unicorn"]);
    assert!(message.contains("unicorn") && message.contains("bicycle"), "{message}");
}

#[test]
fn settings_out_of_their_range_are_bad_requests() {
    for (flag, value) in [
        ("--confidence", "2"),
        ("--confidence", "-0.1"),
        ("--confidence", "NaN"),
        ("--iou", "1.01"),
        ("--every", "0"),
        ("--every", "-1"),
        ("--threads", "0"),
        ("--segment-seconds", "0"),
        ("--segment-seconds", "inf"),
        ("--track-thresh", "7"),
        ("--match-thresh", "NaN"),
        ("--device", "abacus"),
        ("--job-id", "../escape"),
    ] {
        let message = bad_request(&[&format!("{flag}={value}")]);
        assert!(message.contains(flag) || message.contains(value), "{flag} {value}: {message}");
    }
}

#[test]
fn an_unknown_flag_is_a_bad_request() {
    let message = bad_request(&["--confidance", "0.5"]);
    assert!(message.contains("--confidance"), "{message}");
}

#[test]
fn no_video_at_all_is_a_bad_request() {
    let scratch = Scratch::new();
    scratch.bare_call().with(&["--model", "street"]).run().error(2, "BAD_REQUEST");
}

#[test]
fn one_job_id_for_two_videos_is_a_bad_request() {
    let scratch = Scratch::new();
    let (a, b) = (clip_in(&scratch, "a.mp4"), clip_in(&scratch, "b.mp4"));
    scratch.call(Detector::Colours, &[&a, &b]).with(&["--job-id", "same"]).run().error(2, "BAD_REQUEST");
}

#[test]
fn a_missing_runtime_is_named() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let call = scratch.call(Detector::Colours, &[&video]).env("FRAMEFLEET_ONNXRUNTIME", "/nonexistent");
    let ended = call.run();
    let message = ended.error(2, "RUNTIME_MISSING");
    assert!(message.contains("/nonexistent"), "{message}");
}

/// Every file of a job that ended, but for those that tell of speeds and times.
fn lasting(files: BTreeMap<PathBuf, Vec<u8>>) -> BTreeMap<PathBuf, Vec<u8>> {
    let measured = ["summary.json", "outcome.json", "check.json"];
    let differs = |name: &Path| measured.iter().any(|measured| name.ends_with(measured));
    files.into_iter().filter(|(name, _)| !differs(name)).collect()
}

/// The volume runs full at one point of the job after the other, is given more space, and the job goes on.
#[test]
fn a_full_volume_is_told_and_the_job_goes_on_when_there_is_space() {
    let scratch = Scratch::new();
    let video = scratch.clip("clip.mp4", &clip::moving("160x96", 8), X264);
    let call = || scratch.call(Detector::Colours, &[&video]).with(&["--segment-seconds", "2"]);
    let undisturbed = lasting({
        call().out(&scratch.join("elsewhere")).run().job();
        contents_of(&scratch.join("elsewhere"))
    });
    let needed: usize = undisturbed.values().map(Vec::len).sum();
    let mut stages = Vec::new();
    for kib in (12..).step_by(28) {
        let disk = Disk::mount(&scratch.join(&format!("disk-{kib}")), kib);
        let out = scratch.join(&format!("disk-{kib}"));
        let ended = call().out(&out).run_through(&disk.prefix());
        if ended.status == Some(0) {
            assert!(kib as usize * 1024 >= needed, "{needed} bytes do not fit into {kib} KiB");
            break;
        }
        let seen = disk.seen_from_outside();
        ended.error(if seen.join("jobs").exists() { 1 } else { 2 }, "VOLUME_FULL");
        let left = contents_of(&seen);
        for (name, bytes) in &lasting(left.clone()) {
            assert_eq!(Some(bytes), undisturbed.get(name), "{} at {kib} KiB is not whole", name.display());
        }
        stages.push(left.len());

        disk.remount("size=16m");
        let job = call().out(&out).run_through(&disk.prefix()).job();
        assert!(!job.was_finished);
        let finished = contents_of(&seen);
        assert!(left.iter().all(|(name, bytes)| finished.get(name) == Some(bytes)), "a published file changed");
        assert!(lasting(finished) == undisturbed, "not the same bytes as elsewhere, at {kib} KiB");
    }
    stages.dedup();
    assert!(stages.len() >= 4, "the disk ran full at too few points to mean much: {stages:?}");
}

#[test]
fn a_volume_that_runs_full_while_drawing_keeps_the_tracks() {
    let scratch = Scratch::new();
    let video = scratch.clip("clip.mp4", &clip::moving("320x192", 2), X264);
    let out = scratch.join("disk");
    let disk = Disk::mount(&out, 150);
    let call = || scratch.call(Detector::Colours, &[&video]).with(&["--annotate"]).out(&out);
    call().run_through(&disk.prefix()).error(1, "VOLUME_FULL");
    let seen = disk.seen_from_outside();
    assert_eq!(temporary_files_below(&seen), [] as [PathBuf; 0]);
    let names = files_below(&seen);
    let has = |name: &str| names.iter().any(|path| path.ends_with(name));
    assert!(has("tracks.parquet") && !has("annotated.mp4") && !has("outcome.json"), "{names:?}");
    disk.remount("size=16m");
    call().run_through(&disk.prefix()).job();
    assert!(files_below(&seen).iter().any(|path| path.ends_with("annotated.mp4")));
}

#[test]
fn a_read_only_volume_is_told_and_left_as_it_is() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let out = scratch.join("disk");
    let disk = Disk::mount(&out, 4096);
    let call = || scratch.call(Detector::Colours, &[&video]).out(&out);
    call().run_through(&disk.prefix()).job();
    let before = contents_of(&disk.seen_from_outside());
    disk.remount("ro");
    let ended = call().with(&["--every", "2"]).run_through(&disk.prefix());
    let message = ended.error(2, "VOLUME_READ_ONLY");
    assert!(message.contains(out.to_str().unwrap()), "{message}");
    assert!(contents_of(&disk.seen_from_outside()) == before);
}

#[test]
fn results_cannot_go_below_a_file() {
    let scratch = Scratch::new();
    let video = clip_in(&scratch, "clip.mp4");
    let file = scratch.file("file", b"mine");
    let ended = scratch.call(Detector::Colours, &[&video]).out(&file.join("out")).run();
    ended.error(2, "VOLUME_IO");
    assert_eq!(fs::read(&file).unwrap(), b"mine");
}

#[test]
fn a_path_that_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = Scratch::new();
    let video = scratch.join("x").with_file_name(std::ffi::OsStr::from_bytes(b"caf\xe9.mp4"));
    fs::write(&video, b"x").unwrap();
    let ended = scratch.call(Detector::Colours, &[&video]).run();
    let message = ended.error(2, "PATH_DENIED");
    assert!(message.contains("not UTF-8"), "{message}");
}

#[test]
fn a_reader_of_stdout_that_goes_away_is_no_error() {
    let scratch = Scratch::new();
    let video = scratch.clip("clip.mp4", &clip::moving("160x96", 1), "-c:v libx264 -pix_fmt yuv420p");
    let mut child = scratch.call(Detector::Colours, &[&video]).start();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), String::from_utf8_lossy(&ended.stderr).as_ref()), (Some(0), ""));
}
