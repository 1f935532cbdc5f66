//! What a job leaves behind: the files of its folder, what they say, and what its id depends on.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::Sha256;
use framefleet_contract::outcome::State;
use framefleet_tests::job::{contents_of, rows_of};
use framefleet_tests::scratch::files_below;
use framefleet_tests::{Detector, Job, Scratch, clip, repository};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn keyed_clip(scratch: &Scratch) -> PathBuf {
    let options = "-c:v libx264 -preset ultrafast -g 25 -bf 2 -pix_fmt yuv420p";
    scratch.clip("clip.mp4", &clip::moving("160x96", 4), options)
}

#[test]
fn the_folder_holds_the_listed_files_and_no_other() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let job = scratch.call(Detector::Colours, &[&video]).with(&["--segment-seconds", "2"]).run().job();
    let model = Sha256::of_file(&repository::cells()).unwrap();
    let mut expected: Vec<PathBuf> = [
        "outcome.json",
        "packets.parquet",
        "plan.json",
        "request.json",
        "segments/00000.parquet",
        "segments/00001.parquet",
        "summary.json",
        "tracks.parquet",
    ]
    .iter()
    .map(|name| Path::new("jobs").join(job.id()).join(name))
    .chain(
        ["check.json", "manifest.json", "model.onnx"].map(|name| Path::new("models").join(model.as_str()).join(name)),
    )
    .collect();
    expected.sort();
    assert_eq!(files_below(&scratch.join("out")), expected);
    let kept = scratch.join("out/models").join(model.as_str()).join("model.onnx");
    assert_eq!(fs::read(kept).unwrap(), fs::read(repository::cells()).unwrap());
}

#[test]
fn the_outcome_lists_the_results_truly() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let job = scratch.call(Detector::Colours, &[&video]).with(&["--annotate"]).run().job();
    assert_eq!(job.outcome.state, State::Succeeded);
    let names: BTreeSet<&str> = job.outcome.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["annotated.mp4", "summary.json", "tracks.parquet"]));
    for file in &job.outcome.files {
        let path = job.folder.join(&file.path);
        assert_eq!(file.bytes, fs::metadata(&path).unwrap().len(), "{}", file.path);
        assert_eq!(file.sha256, Sha256::of_file(&path).unwrap(), "{}", file.path);
        let rows = file.path.ends_with(".parquet").then(|| rows_of(&path).len() as u64);
        assert_eq!(file.rows, rows, "{}", file.path);
    }
    let stored: framefleet_contract::outcome::Outcome =
        serde_json::from_slice(&fs::read(job.folder.join("outcome.json")).unwrap()).unwrap();
    assert_eq!(stored, job.outcome);
}

#[test]
fn the_summary_counts_what_the_result_holds() {
    let scratch = Scratch::new();
    let job = scratch.call(Detector::Street, &[&repository::street()]).run().job();
    let (summary, rows) = (job.summary(), job.rows());
    let tracked = rows.iter().filter_map(|row| row.track_id);
    assert_eq!(summary.detections, rows.len() as u64);
    assert_eq!(summary.tracked, tracked.clone().count() as u64);
    assert_eq!(summary.tracks, tracked.collect::<BTreeSet<i64>>().len() as u64);
    let names = ["person", "car", "bicycle"];
    for (name, counts) in &summary.classes {
        let class_id = names.iter().position(|known| known == name).expect("a class of the sample's detector") as i32;
        let of_class = rows.iter().filter(|row| row.detection.class_id == class_id).count() as u64;
        assert_eq!(counts.detections, of_class, "{name}");
    }
    assert_eq!(summary.classes.values().map(|counts| counts.detections).sum::<u64>(), summary.detections);
    assert_eq!(summary.classes.values().map(|counts| counts.tracks).sum::<u64>(), summary.tracks);
    let frames = summary.frames;
    assert_eq!((frames.packets, frames.decoded, frames.inferred), (300, 300, 300));
    assert!(rows.iter().all(|row| row.detection.score >= 0.1), "a score below --confidence");
}

#[test]
fn every_nth_frame_is_inferred_and_the_others_are_counted_as_skipped() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    for every in [1, 4, 7, 1000] {
        let job = scratch.call(Detector::Colours, &[&video]).with(&["--every", &every.to_string()]).run().job();
        let frames = job.summary().frames;
        assert_eq!(frames.decoded, frames.inferred + frames.skipped);
        assert_eq!((frames.packets, frames.decoded, frames.dropped), (100, 100, 0));
        let seen: Vec<i64> = job.times_us().into_keys().collect();
        assert_eq!(seen, (0..100).step_by(every).collect::<Vec<i64>>());
        assert_eq!(frames.inferred, seen.len() as u64);
    }
}

#[test]
fn only_the_classes_asked_for_are_kept() {
    let scratch = Scratch::new();
    let sample = repository::street();
    let all = scratch.call(Detector::Street, &[&sample]).with(&["--every", "5"]).run().job();
    let some =
        scratch.call(Detector::Street, &[&sample]).with(&["--every", "5", "--classes", "car,bicycle"]).run().job();
    let rows = |job: &Job, keep: &dyn Fn(i32) -> bool| {
        let rows = job.rows().into_iter().map(|row| (row.frame, row.detection));
        rows.filter(|(_, detection)| keep(detection.class_id)).collect::<Vec<_>>()
    };
    let is_wanted = |class_id| class_id == 1 || class_id == 2;
    let wanted = rows(&all, &is_wanted);
    assert!(!wanted.is_empty() && wanted.len() < all.rows().len(), "nothing to tell apart");
    assert_eq!(rows(&some, &|_| true), wanted);
}

#[test]
fn a_higher_confidence_keeps_the_surer_rows() {
    let scratch = Scratch::new();
    let sample = repository::street();
    let call =
        |confidence| scratch.call(Detector::Street, &[&sample]).with(&["--every", "5", "--confidence", confidence]);
    let (low, high) = (call("0.1").run().job().rows(), call("0.5").run().job().rows());
    let detections = |rows: &[framefleet_contract::detection_file::Row]| {
        let sure = rows.iter().filter(|row| row.detection.score >= 0.5);
        sure.map(|row| (row.frame, row.detection)).collect::<Vec<_>>()
    };
    assert!(high.len() < low.len());
    assert_eq!(detections(&high).len(), high.len());
    assert_eq!(detections(&high), detections(&low));
}

#[test]
fn the_id_follows_from_the_video_the_model_and_the_settings() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let id =
        |arguments: &[&str]| scratch.call(Detector::Colours, &[&video]).with(arguments).run().job().id().to_owned();
    let plain = id(&[]);
    assert!(plain.starts_with("clip-"), "{plain}");
    let elsewhere = scratch.call(Detector::Colours, &[&video]).out(&scratch.join("elsewhere")).run().job();
    assert_eq!(elsewhere.id(), plain);
    assert!(!elsewhere.was_finished);
    for same in [&["--threads", "1"][..], &["--segment-seconds", "2"], &["--device", "cpu"]] {
        assert_eq!(id(same), plain, "{same:?}");
    }
    let others = [
        id(&["--every", "2"]),
        id(&["--classes", "red"]),
        id(&["--annotate"]),
        id(&["--track-thresh", "0.5"]),
        id(&["--match-thresh", "0.8"]),
        id(&["--track-buffer", "31"]),
        scratch.call(Detector::Street, &[&video]).run().job().id().to_owned(),
    ];
    let distinct: BTreeSet<&String> = others.iter().chain([&plain]).collect();
    assert_eq!(distinct.len(), others.len() + 1, "{others:?}");
    assert_eq!(id(&["--classes", "red,blue"]), id(&["--classes", "blue,red,blue"]), "an order is no setting");
}

#[test]
fn another_video_under_the_same_name_is_another_job() {
    let scratch = Scratch::new();
    let before = scratch.call(Detector::Colours, &[&keyed_clip(&scratch)]).run().job();
    let options = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p";
    let other = scratch.clip("clip.mp4", &clip::moving("128x96", 4), options);
    let after = scratch.call(Detector::Colours, &[&other]).run().job();
    assert_ne!(before.id(), after.id());
    assert!(!after.was_finished);
}

#[test]
fn one_id_for_two_requests_is_a_conflict_and_changes_nothing() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let call = || scratch.call(Detector::Colours, &[&video]).with(&["--job-id", "mine"]);
    let job = call().run().job();
    assert_eq!(job.id(), "mine");
    let before = contents_of(&scratch.join("out"));
    let ended = call().with(&["--every", "2"]).run();
    let message = ended.error(2, "JOB_CONFLICT");
    assert!(message.contains("mine") && message.contains("settings"), "{message}");
    let line: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(line["error"]["code"], "JOB_CONFLICT", "the video's line of JSON");
    assert!(contents_of(&scratch.join("out")) == before, "a file changed");
    assert!(call().run().job().was_finished, "the first request is still the job's");
}

#[test]
fn json_is_one_line_for_each_video_and_nothing_else() {
    let scratch = Scratch::new();
    let videos = [keyed_clip(&scratch), repository::street()];
    let paths: Vec<&Path> = videos.iter().map(PathBuf::as_path).collect();
    let ended = scratch.call(Detector::Colours, &paths).run();
    assert_eq!(ended.jobs().len(), 2, "{ended}");
    assert_eq!(ended.stdout.matches('\n').count(), 2, "{ended}");
    for (line, video) in ended.stdout.lines().zip(&videos) {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["source"].as_str().map(Path::new), Some(video.canonicalize().unwrap().as_path()));
    }
}

#[test]
fn metrics_count_the_frames() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let file = scratch.join("metrics.txt");
    let job = scratch.call(Detector::Colours, &[&video]).with_path("--metrics", &file).run().job();
    let counters = counters(&fs::read_to_string(&file).unwrap());
    let frames = job.summary().frames;
    assert_eq!(counters.get("framefleet_frames_decoded_total"), Some(&frames.decoded));
    assert_eq!(counters.get("framefleet_frames_inferred_total"), Some(&frames.inferred));
    assert_eq!(counters.get("framefleet_frames_damaged_total"), Some(&0));
    assert_eq!(counters.get("framefleet_detections_total"), Some(&job.summary().detections));
    assert_eq!(counters.get("framefleet_segments_published_total"), Some(&1));
}

/// The samples of Prometheus' text format that are integers, by name, those of different labels added up.
fn counters(text: &str) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let name = name.split('{').next().unwrap().to_owned();
        *counters.entry(name).or_insert(0) += value.parse::<u64>().unwrap_or(0);
    }
    counters
}

/// The published file is the truth; a reader trusts only what the outcome lists, and says so when it is not there any more.
#[test]
fn a_damaged_segment_is_named_and_not_used() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let call = || scratch.call(Detector::Colours, &[&video]).with(&["--segment-seconds", "2"]);
    let job = call().run().job();
    for name in ["tracks.parquet", "summary.json", "outcome.json"] {
        fs::remove_file(job.folder.join(name)).unwrap();
    }
    let segment = job.folder.join("segments/00001.parquet");
    let bytes = fs::read(&segment).unwrap();
    fs::write(&segment, &bytes[..bytes.len() / 2]).unwrap();
    let ended = call().run();
    let message = ended.error(1, "JOB_DAMAGED");
    assert!(message.contains("00001.parquet"), "{message}");
    assert!(!job.folder.join("outcome.json").exists() && !job.folder.join("tracks.parquet").exists());
}

/// "Nothing to do" is only said of a job whose files are there as they were published.
#[test]
fn a_finished_job_whose_result_is_gone_or_changed_is_damaged() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let call = || scratch.call(Detector::Colours, &[&video]);
    let tracks = call().run().job().folder.join("tracks.parquet");
    let published = fs::read(&tracks).unwrap();
    for spoil in [None, Some(&published[..100]), Some(b"PAR1".as_slice())] {
        fs::remove_file(&tracks).unwrap();
        if let Some(bytes) = spoil {
            fs::write(&tracks, bytes).unwrap();
        }
        let ended = call().run();
        let message = ended.error(1, "JOB_DAMAGED");
        assert!(message.contains("tracks.parquet"), "{message}");
        fs::write(&tracks, &published).unwrap();
        assert!(call().run().job().was_finished, "restored, it is whole again");
    }
}

/// A disk that turns a bit over makes other boxes, and a Parquet file that can still be read.
#[test]
fn rows_that_changed_on_disk_are_not_tracked() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let call = || scratch.call(Detector::Colours, &[&video]).with(&["--job-id", "j", "--segment-seconds", "1"]);
    let job = call().run().job();
    for name in ["outcome.json", "summary.json", "tracks.parquet"] {
        fs::remove_file(job.folder.join(name)).unwrap();
    }
    let segment = job.folder.join("segments/00001.parquet");
    let sound = fs::read(&segment).unwrap();
    let mut silent = 0;
    for part in 1..12 {
        let mut bytes = sound.clone();
        bytes[sound.len() * part / 12] ^= 0x04;
        fs::write(&segment, &bytes).unwrap();
        let ended = call().run();
        if ended.status == Some(0) {
            // Not in the rows: nothing that counts has changed.
            assert_eq!(ended.job().digest(), job.outcome.files[0].sha256);
            silent += 1;
            for name in ["outcome.json", "summary.json", "tracks.parquet"] {
                fs::remove_file(job.folder.join(name)).unwrap();
            }
        } else {
            ended.error(1, "JOB_DAMAGED");
        }
    }
    assert!(silent < 6, "{silent} of 11 changes went unseen");
}

/// ONNX Runtime would keep a database of what it ran, to send it away.
#[test]
fn nothing_is_written_but_results() {
    let scratch = Scratch::new();
    let video = scratch.keyed("clip.mp4", clip::H264);
    let cache = scratch.join("cache");
    fs::create_dir(&cache).unwrap();
    scratch.call(Detector::Colours, &[&video]).env("XDG_CACHE_HOME", cache.to_str().unwrap()).run().job();
    assert_eq!(files_below(&cache), [] as [PathBuf; 0]);
}

#[test]
fn a_segment_in_the_place_of_another_is_not_used() {
    let scratch = Scratch::new();
    let video = keyed_clip(&scratch);
    let call = || scratch.call(Detector::Colours, &[&video]).with(&["--segment-seconds", "1"]);
    let folder = call().run().job().folder;
    for name in ["outcome.json", "tracks.parquet", "segments/00001.parquet"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    fs::copy(folder.join("segments/00000.parquet"), folder.join("segments/00001.parquet")).unwrap();
    let ended = call().run();
    let message = ended.error(1, "JOB_DAMAGED");
    assert!(message.contains("00001.parquet"), "{message}");
}
