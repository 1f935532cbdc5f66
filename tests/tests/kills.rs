//! `kill -9` at any moment of a long job: nothing half-written is ever seen, and the result has the same bytes.

use framefleet_tests::job::contents_of;
use framefleet_tests::random::Random;
use framefleet_tests::{Call, Detector, Job, Scratch, clip};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Seconds of the clip, and segments of its plan.
const SEGMENTS: u64 = 100;
const KILLS: u32 = 50;
/// Of one job: in each tenth of its course.
const KILLS_OF_A_JOB: u64 = 10;
/// What a job's course is divided into: a step of planning, a segment, or a step of finishing.
const PLANNING: [&str; 4] = ["", "request.json", "packets.parquet", "plan.json"];
const FINISHING: [&str; 2] = ["tracks.parquet", "summary.json"];

#[test]
fn fifty_kills_over_a_long_clip_leave_the_same_bytes() {
    let scratch = Scratch::new();
    let h264 = "-c:v libx264 -preset ultrafast -g 25 -bf 2 -x264-params scenecut=0 -pix_fmt yuv420p";
    let video = scratch.clip("long.mp4", &clip::moving("160x96", SEGMENTS as u32), h264);
    let call = |out: &Path| {
        let arguments = ["--segment-seconds", "1", "--job-id", "killed"];
        scratch.call(Detector::Colours, &[&video]).with(&arguments).out(out)
    };
    let undisturbed = call(&scratch.join("undisturbed")).run().job();
    assert_eq!(undisturbed.plan().segments.len() as u64, SEGMENTS);
    let expected = Expected::new(&undisturbed);

    let mut random = Random::seeded();
    let mut kills = 0;
    for round in 0.. {
        let out = scratch.join(&format!("out-{round}"));
        kills += expected.kill_and_finish(&call, &out, &mut random);
        fs::remove_dir_all(&out).unwrap();
        if kills >= KILLS {
            break;
        }
        assert!(round < 20, "only {kills} kills came in time");
    }
    println!("{kills} kills");
}

/// The files of a job that nobody disturbed.
struct Expected {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Expected {
    fn new(undisturbed: &Job) -> Self {
        Self { files: undisturbed.contents() }
    }

    /// Kills a job once in every tenth of its course, and lets it finish. Gives how often it was killed.
    fn kill_and_finish(&self, call: &impl Fn(&Path) -> Call, out: &Path, random: &mut Random) -> u32 {
        let folder = out.join("jobs/killed");
        let course = PLANNING.len() as u64 + SEGMENTS + FINISHING.len() as u64;
        let mut kills = 0;
        for tenth in 0..KILLS_OF_A_JOB {
            let step = (tenth * course + random.below(course)) / KILLS_OF_A_JOB;
            let moment = Moment::of_step(&folder, step, random);
            let killed = call(out).start_and_kill(moment.due()).is_none();
            self.assert_whole(&folder, step);
            kills += u32::from(killed);
        }
        let job = call(out).run().job_taken_up();
        self.assert_whole(&folder, course);
        assert_eq!(job.contents().get(Path::new("tracks.parquet")), self.files.get(Path::new("tracks.parquet")));
        kills
    }

    /// Whatever is there under a final name is what an undisturbed job has there.
    fn assert_whole(&self, folder: &Path, step: u64) {
        if !folder.exists() {
            return;
        }
        for (name, bytes) in contents_of(folder) {
            let shown = name.display();
            if name.to_string_lossy().contains(".tmp-") {
                continue;
            }
            if name.ends_with("summary.json") || name.ends_with("outcome.json") {
                let whole = serde_json::from_slice::<serde_json::Value>(&bytes);
                assert!(whole.is_ok(), "{shown} after step {step}: {whole:?}");
            } else {
                assert!(self.files.get(&name) == Some(&bytes), "{shown} after step {step} is not what it should be");
            }
        }
    }
}

/// A file that appears, and a time after it: some files appear long before the next one.
struct Moment {
    file: PathBuf,
    after: Duration,
}

impl Moment {
    fn of_step(folder: &Path, step: u64, random: &mut Random) -> Self {
        let step = step as usize;
        let segments = SEGMENTS as usize;
        let name = match step.checked_sub(PLANNING.len()) {
            None => PLANNING[step].to_owned(),
            Some(segment) if segment < segments => format!("segments/{segment:05}.parquet"),
            Some(finishing) => FINISHING[finishing - segments].to_owned(),
        };
        // Tracking begins with the last segment and takes as long as some dozens of segments.
        let longest = if step + 1 == PLANNING.len() + segments { 400_000 } else { 30_000 };
        let after = random.below(longest) * random.below(2);
        Self { file: folder.join(name), after: Duration::from_micros(after) }
    }

    fn due(self) -> impl FnMut() -> bool {
        let mut seen = None;
        move || {
            if seen.is_none() && self.file.exists() {
                seen = Some(Instant::now());
            }
            seen.is_some_and(|at| at.elapsed() >= self.after)
        }
    }
}
