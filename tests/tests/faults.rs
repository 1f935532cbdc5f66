//! Every call by which a job's files are made fails once: the program says so with the right code, nothing half-written
//! has a final name, and the same command afterwards ends with the same bytes.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::job::contents_of;
use framefleet_tests::scratch::temporary_files_below;
use framefleet_tests::strace::{self, SystemCall};
use framefleet_tests::{Call, Detector, Ended, Scratch, clip};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

/// A way for a system call to fail, and the code that it is to end with.
struct Fault {
    call: &'static str,
    /// Of the calls of this name, those whose line in the trace has this in it.
    having: &'static str,
    error: &'static str,
    code: &'static str,
}

const fn fault(call: &'static str, having: &'static str, error: &'static str, code: &'static str) -> Fault {
    Fault { call, having, error, code }
}

impl Fault {
    fn concerns(&self, call: &SystemCall) -> bool {
        call.name == self.call && call.line.contains(self.having)
    }
}

/// The volume's code for each error.
const FAULTS: &[Fault] = &[
    fault("mkdir", "", "ENOSPC", "VOLUME_FULL"),
    fault("mkdir", "", "EACCES", "VOLUME_READ_ONLY"),
    fault("openat", "O_CREAT", "ENOSPC", "VOLUME_FULL"),
    fault("openat", "O_CREAT", "EMFILE", "VOLUME_IO"),
    fault("openat", "O_CREAT", "EROFS", "VOLUME_READ_ONLY"),
    fault("openat", "O_RDONLY", "EIO", "VOLUME_IO"),
    fault("write", "", "ENOSPC", "VOLUME_FULL"),
    fault("write", "", "EIO", "VOLUME_IO"),
    fault("fsync", "", "EIO", "VOLUME_IO"),
    fault("fsync", "", "ENOSPC", "VOLUME_FULL"),
    fault("linkat", "", "EIO", "VOLUME_IO"),
    fault("linkat", "", "EDQUOT", "VOLUME_FULL"),
    fault("linkat", "", "EROFS", "VOLUME_READ_ONLY"),
    fault("unlink", "", "EIO", "VOLUME_IO"),
];

/// Of the annotated video, which FFmpeg writes.
const FAULTS_OF_FFMPEG: &[Fault] = &[
    fault("openat", "O_TRUNC", "EIO", "VOLUME_IO"),
    fault("openat", "O_TRUNC", "EMFILE", "VOLUME_IO"),
    fault("write", "", "EIO", "VOLUME_IO"),
    fault("write", "", "ENOSPC", "VOLUME_FULL"),
];

const CALLS: [&str; 6] = ["mkdir", "openat", "write", "fsync", "linkat", "unlink"];

/// A job to be disturbed, and how it comes out if it is not.
struct Case {
    scratch: Scratch,
    video: PathBuf,
    arguments: &'static [&'static str],
    expected: BTreeMap<PathBuf, Vec<u8>>,
}

impl Case {
    fn new(arguments: &'static [&'static str]) -> Self {
        let scratch = Scratch::new();
        let h264 = "-c:v libx264 -preset ultrafast -g 25 -x264-params scenecut=0 -pix_fmt yuv420p";
        let video = scratch.clip("clip.mp4", &clip::moving("160x96", 2), h264);
        let mut case = Self { scratch, video, arguments, expected: BTreeMap::new() };
        let out = case.scratch.join("undisturbed");
        assert_eq!(case.call(&out).run().job().plan().segments.len(), 2);
        case.expected = contents_of(&out);
        case
    }

    /// One inference thread, so that each thread makes the same calls in every run.
    fn call(&self, out: &Path) -> Call {
        let call = self.scratch.call(Detector::Colours, &[&self.video]).with(self.arguments).out(out);
        // Where it can make no folder, ONNX Runtime does without a database of its own in the user's cache.
        call.env("XDG_CACHE_HOME", "/dev/null").with(&[
            "--segment-seconds",
            "1",
            "--threads",
            "1",
            "--job-id",
            "disturbed",
        ])
    }

    /// The calls of an undisturbed run that concern the volume.
    fn calls(&self) -> Vec<SystemCall> {
        let (out, log) = (self.scratch.join("recorded"), self.scratch.join("recorded.strace"));
        self.call(&out).run_through(&strace::recording(&CALLS, &log)).job();
        strace::calls_below(&out, &log)
    }

    fn out(&self, name: &str) -> PathBuf {
        self.scratch.join(&format!("out-{name}"))
    }

    /// Runs with one call failing, looks at what is left, and runs again.
    fn disturb(&self, call: &SystemCall, fault: &Fault, status: i32) {
        let name = format!("{}-{}-{}", call.name, call.nth, fault.error);
        let (out, log) = (self.out(&name), self.scratch.join(&format!("{name}.strace")));
        let (ended, injected) = self.disturbed(call, fault, &out, &log);
        // A file that was to be removed is rubbish: most of the time nobody needs to know.
        let harmless = call.name == "unlink" && ended.status == Some(0);
        // Threads open files in another order now and then, so that another call is hit than was meant.
        let as_meant = injected.iter().any(|line| line.contains(fault.having));
        if !harmless && as_meant {
            ended.error(status, fault.code);
        } else if !harmless {
            let said = ["VOLUME_IO", "VOLUME_FULL", "VOLUME_READ_ONLY"].map(|code| format!("error: {code}: "));
            assert_eq!(ended.status, Some(status), "{ended}");
            assert!(said.iter().any(|start| ended.stderr.starts_with(start)), "{ended}");
        }
        self.assert_whole(&out, &name);
        if call.name == "unlink" {
            age(&out);
        } else if out.exists() {
            assert_eq!(temporary_files_below(&out), [] as [PathBuf; 0], "{name}");
        }
        self.assert_goes_on(&out, &name);
        fs::remove_dir_all(&out).unwrap();
    }

    /// Libraries open files too, not always as many: where the fault hits none of ours, the call before it is taken.
    fn disturbed(&self, call: &SystemCall, fault: &Fault, out: &Path, log: &Path) -> (Ended, Vec<String>) {
        const TRIES: usize = 10;
        for back in 0..TRIES {
            let call = SystemCall { nth: call.nth.saturating_sub(back).max(1), ..call.clone() };
            let ended = self.call(out).run_through(&strace::failing(&call, fault.error, log));
            let injected = strace::injected(log);
            if injected.iter().any(|line| line.contains(out.to_str().unwrap())) {
                return (ended, injected);
            }
            if out.exists() {
                fs::remove_dir_all(out).unwrap();
            }
        }
        unreachable!("{}, the {}th, is hit by none of {TRIES} tries", call.line, call.nth);
    }

    /// The same command ends the job as if nothing had been.
    fn assert_goes_on(&self, out: &Path, name: &str) {
        self.call(out).run().job_taken_up();
        self.assert_whole(out, name);
        let there: BTreeSet<PathBuf> = contents_of(out).into_keys().collect();
        assert_eq!(there, self.expected.keys().cloned().collect(), "{name}");
    }

    /// Whatever is there under a final name is what an undisturbed job has there.
    fn assert_whole(&self, out: &Path, name: &str) {
        let contents = if out.exists() { contents_of(out) } else { BTreeMap::new() };
        for (path, bytes) in contents.into_iter().filter(|(path, _)| !is_temporary(path)) {
            let shown = path.display();
            if MEASURED.iter().any(|name| path.ends_with(name)) {
                let whole = serde_json::from_slice::<serde_json::Value>(&bytes);
                assert!(whole.is_ok(), "{name}: {shown}: {whole:?}");
            } else {
                assert!(self.expected.get(&path) == Some(&bytes), "{name}: {shown} is not what it should be");
            }
        }
    }
}

/// What tells of speeds and times, and so differs from run to run.
const MEASURED: [&str; 3] = ["summary.json", "outcome.json", "check.json"];

fn is_temporary(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with(".tmp-")
}

/// Makes the temporary files so old that they can belong to nobody.
fn age(out: &Path) {
    let two_days_ago = SystemTime::now() - Duration::from_hours(48);
    for name in temporary_files_below(out) {
        File::options().write(true).open(out.join(name)).unwrap().set_modified(two_days_ago).unwrap();
    }
}

/// Does all of `work` on as many threads as the machine has, and fails at the end if some of it did.
fn in_parallel<T: Sync>(work: &[T], each: impl Fn(&T) + Sync) {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| each(item))).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "of {} went wrong, as said above", work.len());
}

#[test]
fn a_call_that_fails_at_any_step_of_publishing_leaves_nothing_half_done() {
    let case = Case::new(&[]);
    let calls = case.calls();
    // Before there is a job, it is a mistake of the caller's that there is no place for results.
    let begins = |call: &SystemCall| ["/jobs", "/models/"].iter().any(|part| call.line.contains(part));
    let job_begins = calls.iter().position(begins).unwrap();
    let mut work: Vec<(&SystemCall, &Fault, i32)> = Vec::new();
    for fault in FAULTS {
        let before = work.len();
        for (i, call) in calls.iter().enumerate().filter(|(_, call)| fault.concerns(call)) {
            work.push((call, fault, if i < job_begins { 2 } else { 1 }));
        }
        assert!(work.len() >= before + 5, "{} {} is hardly called", fault.call, fault.having);
    }
    println!("{} calls, {} faults", calls.len(), work.len());
    in_parallel(&work, |(call, fault, status)| case.disturb(call, fault, *status));
}

#[test]
fn a_disk_that_fails_under_the_annotated_video_leaves_the_job_open() {
    let case = Case::new(&["--annotate"]);
    let calls = case.calls();
    let published =
        |name: &str| calls.iter().position(|call| call.name == "linkat" && call.line.contains(name)).unwrap();
    let drawing = &calls[published("tracks.parquet\"") + 1..published("annotated.mp4\"")];
    let mut work = Vec::new();
    for fault in FAULTS_OF_FFMPEG {
        let before = work.len();
        work.extend(drawing.iter().filter(|call| fault.concerns(call)).map(|call| (call, fault)));
        assert!(work.len() > before, "{} {} is hardly called", fault.call, fault.having);
    }
    in_parallel(&work, |(call, fault)| case.disturb(call, fault, 1));
}

/// Over NFS a call may succeed and its answer be lost: the client asks again and is told that it is there already, or
/// gives up. A library loaded before the C library's does that here.
#[test]
fn a_call_whose_answer_is_lost_was_made() {
    let case = Case::new(&[]);
    let library = case.scratch.join("lost_answer.so");
    let source = framefleet_tests::repository::root().join("tests/faults/lost_answer.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&library).arg(source);
    assert!(compiler.status().unwrap().success(), "{compiler:?}");

    let calls = case.calls();
    let lost: Vec<(&str, usize, &str)> =
        [("linkat", "EIO"), ("linkat", "EEXIST"), ("mkdir", "EEXIST"), ("unlink", "ENOENT")]
            .into_iter()
            .flat_map(|(name, error)| {
                let count = calls.iter().filter(|call| call.name == name).count();
                assert!(count >= 5, "{name} is hardly called");
                (1..=count).map(move |nth| (name, nth, error))
            })
            .collect();
    in_parallel(&lost, |(name, nth, error)| {
        let what = format!("{name}-{nth}-{error}");
        let (out, said) = (case.out(&what), case.scratch.join(&format!("{what}.lost")));
        let call = case.call(&out).env("LD_PRELOAD", library.to_str().unwrap());
        let call = call.env("LOSE_ANSWER", &what).env("LOSE_ANSWER_LOG", said.to_str().unwrap());
        call.run().job();
        assert!(said.exists(), "{what}: no answer was lost");
        case.assert_whole(&out, &what);
        let there: BTreeSet<PathBuf> = contents_of(&out).into_keys().collect();
        assert_eq!(there, case.expected.keys().cloned().collect(), "{what}");
    });
}
