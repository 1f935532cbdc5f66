//! However the work is divided, cut off and taken up again, the result has the same bytes.

use framefleet_contract::identity::Sha256;
use framefleet_tests::random::Random;
use framefleet_tests::scratch::temporary_files_below;
use framefleet_tests::{Call, Detector, Ended, Job, Scratch, clip, repository, wait};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

/// Runs into a folder of its own.
fn run(scratch: &Scratch, detector: Detector, video: &Path, arguments: &[&str]) -> Job {
    let out = scratch.join(&format!("out-{}", arguments.join("")));
    scratch.call(detector, &[video]).with(arguments).out(&out).run().job()
}

#[test]
fn threads_and_segments_do_not_change_the_sample() {
    let scratch = Scratch::new();
    let sample = repository::street();
    let first = run(&scratch, Detector::Street, &sample, &["--threads", "1", "--segment-seconds", "1000"]);
    assert_eq!(first.plan().segments.len(), 1);
    assert!(first.summary().tracked > 0, "no tracks to compare");
    for (threads, seconds, segments) in [("2", "1", 6), ("5", "3", 3), ("2", "1000", 1)] {
        let job = run(&scratch, Detector::Street, &sample, &["--threads", threads, "--segment-seconds", seconds]);
        assert_eq!(job.plan().segments.len(), segments, "{seconds} s");
        assert_eq!(job.digest(), first.digest(), "{threads} threads, {seconds} s");
    }
}

/// Encoders like to share work among as many threads as there are cores, and what they write follows from how they share.
/// Where there is one core, this says nothing.
#[test]
fn cores_do_not_change_the_annotated_video() {
    let scratch = Scratch::new();
    let video = scratch.keyed("clip.mp4", clip::H264);
    let call = |out: &str| scratch.call(Detector::Colours, &[&video]).with(&["--annotate"]).out(&scratch.join(out));
    let on_all = call("all").run().job();
    let on_one = call("one").run_through(&["taskset", "-c", &first_core()].map(str::to_owned)).job();
    let annotated = |job: &Job| fs::read(job.folder.join("annotated.mp4")).unwrap();
    assert!(annotated(&on_one) == annotated(&on_all), "the number of cores can be seen in the annotated video");
}

/// Of those that this process may use.
fn first_core() -> String {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has it");
    let cores = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("it is in every status");
    cores.trim().split([',', '-']).next().expect("a process may use one").to_owned()
}

#[test]
fn the_phase_of_every_third_frame_does_not_depend_on_the_cuts() {
    let scratch = Scratch::new();
    let video = scratch.keyed("clip.mp4", clip::H264);
    let whole = run(&scratch, Detector::Colours, &video, &["--every", "3", "--segment-seconds", "1000"]);
    let frames: Vec<i64> = whole.times_us().into_keys().collect();
    assert_eq!(frames, (0..250).step_by(3).collect::<Vec<i64>>());
    for seconds in ["1", "2", "4"] {
        let cut = run(&scratch, Detector::Colours, &video, &["--every", "3", "--segment-seconds", seconds]);
        assert!(cut.plan().segments.len() > 1);
        assert_eq!(cut.digest(), whole.digest(), "{seconds} s");
    }
}

/// Kills a job at random moments, some of them given by time and some by what has been published, until it finishes.
#[test]
fn killed_at_any_moment_a_job_ends_with_the_same_bytes() {
    let scratch = Scratch::new();
    let video = scratch.clip(
        "clip.mp4",
        &clip::from(&repository::street()),
        "-vf scale=320:180 -c:v libx264 -preset ultrafast -g 25 -bf 2",
    );
    let arguments = ["--segment-seconds", "1", "--annotate", "--job-id", "killed"];
    let call = |out: &Path| scratch.call(Detector::Street, &[&video]).with(&arguments).out(out);
    let started = Instant::now();
    let undisturbed = call(&scratch.join("undisturbed")).run().job();
    let length = started.elapsed().as_micros() as u64;
    assert_eq!(undisturbed.plan().segments.len(), 12);

    let mut random = Random::seeded();
    let mut kills = 0;
    for round in 0.. {
        let out = scratch.join(&format!("out-{round}"));
        let (job, killed) = finish_between_kills(&call, &out, length, &mut random);
        kills += killed;
        assert_same_results(&job, &undisturbed);
        assert_nothing_is_done_again(&call(&out).run().job(), &job);
        if kills >= 12 {
            break;
        }
    }
    println!("{kills} kills");
}

/// Runs and kills until the job ends, and tells how often it was killed.
fn finish_between_kills(call: &impl Fn(&Path) -> Call, out: &Path, length: u64, random: &mut Random) -> (Job, u32) {
    let segments = out.join("jobs/killed/segments");
    for killed in 0.. {
        // Later attempts may run longer, or a job that needs its whole length to draw would never end.
        let delay = Duration::from_micros(random.below(length * (4 + u64::from(killed)) / 4));
        let segment = segments.join(format!("{:05}.parquet", random.below(12)));
        let by_segment = random.below(3) == 0 && !segment.exists();
        let started = Instant::now();
        let due = || if by_segment { segment.exists() } else { started.elapsed() >= delay };
        if let Some(ended) = call(out).start_and_kill(due) {
            return (ended.job_taken_up(), killed);
        }
        assert!(killed < 100, "it never ends");
    }
    unreachable!("the range has no end")
}

fn assert_same_results(job: &Job, undisturbed: &Job) {
    let (ours, theirs) = (job.contents(), undisturbed.contents());
    let differs = |name: &&PathBuf| !name.ends_with("summary.json") && !name.ends_with("outcome.json");
    let others: Vec<&PathBuf> =
        theirs.keys().filter(differs).filter(|name| ours.get(*name) != theirs.get(*name)).collect();
    assert!(others.is_empty(), "{others:?} are not the same");
    let leftover = |name: &Path| name.to_string_lossy().contains(".tmp-");
    let unknown = ours.keys().find(|name| !theirs.contains_key(*name) && !leftover(name));
    assert_eq!(unknown, None, "a file that no design knows of");
    let counts = |job: &Job| (job.summary().frames, job.summary().detections, job.summary().tracks);
    assert_eq!(counts(job), counts(undisturbed));
    let digests = |job: &Job| -> Vec<(String, Sha256)> {
        let files = job.outcome.files.iter().filter(|file| file.path != "summary.json");
        files.map(|file| (file.path.clone(), file.sha256.clone())).collect()
    };
    assert_eq!(digests(job), digests(undisturbed));
}

fn assert_nothing_is_done_again(again: &Job, job: &Job) {
    assert!(again.was_finished);
    assert_eq!((&again.outcome, &again.summary), (&job.outcome, &job.summary));
}

/// One in each place in which a process can be killed while it publishes.
#[test]
fn leftovers_of_killed_processes_are_swept_from_everywhere_after_a_day() {
    let scratch = Scratch::new();
    let video = scratch.keyed("clip.mp4", clip::H264);
    let call = || scratch.call(Detector::Colours, &[&video]);
    let job = call().run().job();
    let out = scratch.join("out");
    let model = fs::read_dir(out.join("models")).unwrap().next().unwrap().unwrap().path();
    let young = job.folder.join(".tmp-young");
    fs::write(&young, b"x").unwrap();
    let two_days_ago = SystemTime::now() - Duration::from_hours(48);
    for folder in [&out, &model, &job.folder, &job.folder.join("segments")] {
        fs::create_dir_all(folder).unwrap();
        File::create(folder.join(".tmp-old")).unwrap().set_modified(two_days_ago).unwrap();
    }
    call().run().job();
    let left = temporary_files_below(&out);
    assert_eq!(left, [young.strip_prefix(&out).unwrap()], "a young one may belong to a process that lives");
}

#[test]
fn a_finished_job_is_left_alone() {
    let scratch = Scratch::new();
    let video = scratch.keyed("clip.mp4", clip::H264);
    let job = scratch.call(Detector::Colours, &[&video]).run().job();
    let times = |job: &Job| -> Vec<SystemTime> {
        let modified = |name: &PathBuf| fs::metadata(job.folder.join(name)).unwrap().modified().unwrap();
        job.contents().keys().map(modified).collect()
    };
    let before = (job.contents(), times(&job));
    let again =
        scratch.call(Detector::Colours, &[&video]).with(&["--threads", "1", "--segment-seconds", "2"]).run().job();
    assert_nothing_is_done_again(&again, &job);
    assert!((again.contents(), times(&again)) == before, "a file was touched");
}

/// For people the same is a line of words.
#[test]
fn a_finished_job_is_said_to_be_finished() {
    let scratch = Scratch::new();
    let video = scratch.keyed("clip.mp4", clip::H264);
    let cells = repository::cells();
    let say = || {
        let arguments = ["run", video.to_str().unwrap(), "--model", cells.to_str().unwrap(), "--out", "out"];
        let output =
            Command::new(repository::framefleet()).current_dir(scratch.path()).args(arguments).output().unwrap();
        let ended = Ended::new(format!("{arguments:?}"), output);
        assert_eq!(ended.status, Some(0), "{ended}");
        ended.stdout
    };
    assert!(!say().contains("finished before"));
    let again = say();
    assert!(again.contains("clip.mp4: finished before, nothing to do"), "{again}");
    assert!(again.contains("tracks.parquet"), "{again}");
}

#[test]
fn an_interrupted_job_says_so_and_goes_on_as_it_was_planned() {
    let scratch = Scratch::new();
    let sample = repository::street();
    let call = |seconds| {
        scratch.call(Detector::Street, &[&sample]).with(&["--job-id", "stopped", "--segment-seconds", seconds])
    };
    for signal in ["INT", "TERM"] {
        let out = scratch.join(signal);
        let first = out.join("jobs/stopped/segments/00000.parquet");
        let child = call("1").out(&out).start();
        wait::until("the first segment is published", || first.exists());
        let kill = format!("kill -{signal} {}", child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let ended = Ended::new(format!("a call that got SIG{signal}"), child.wait_with_output().unwrap());
        ended.error(130, "INTERRUPTED");
        assert!(!out.join("jobs/stopped/outcome.json").exists(), "an open job has no outcome");
        assert_eq!(temporary_files_below(&out), [] as [PathBuf; 0]);
        let job = call("1000").out(&out).run().job();
        assert!(job.summary().segments.found > 0, "it began anew");
        assert_eq!(job.plan().segments.len(), 6, "the plan that is there counts");
        let undisturbed = run(&scratch, Detector::Street, &sample, &["--segment-seconds", "1000"]);
        assert_eq!(job.digest(), undisturbed.digest());
    }
}

/// What goes to a file is for programs and editors, which do not read colours.
#[test]
fn log_lines_have_no_colours_where_there_is_no_terminal() {
    let scratch = Scratch::new();
    let video = scratch.keyed("clip.mp4", clip::H264);
    let ended = scratch.call(Detector::Colours, &[&video]).env("FRAMEFLEET_LOG", "info").run();
    assert!(ended.stderr.contains("ready"), "no log line to look at: {ended}");
    assert!(!ended.stderr.contains('\u{1b}'), "an escape sequence: {ended}");
}
