//! A job's folder, read as a user's program would.

use crate::scratch::files_below;
use framefleet_contract::detection_file::{self, Row};
use framefleet_contract::identity::Sha256;
use framefleet_contract::outcome::Outcome;
use framefleet_contract::plan::Plan;
use framefleet_contract::summary::Summary;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What the program printed of a job.
#[derive(Debug)]
pub struct Job {
    pub folder: PathBuf,
    pub was_finished: bool,
    pub outcome: Outcome,
    /// Absent where the job failed before there was anything to sum up.
    pub summary: Option<Summary>,
}

impl Job {
    /// From one line of `--json`.
    pub fn parse(line: &str) -> Self {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line:?}"));
        Self {
            folder: PathBuf::from(json["folder"].as_str().unwrap()),
            was_finished: json["was_finished"].as_bool().unwrap(),
            outcome: serde_json::from_value(json["outcome"].clone()).unwrap(),
            summary: serde_json::from_value(json["summary"].clone()).unwrap(),
        }
    }

    pub fn id(&self) -> &str {
        self.outcome.job_id.as_str()
    }

    pub fn summary(&self) -> &Summary {
        self.summary.as_ref().expect("a job that succeeded has a summary")
    }

    pub fn plan(&self) -> Plan {
        serde_json::from_slice(&fs::read(self.folder.join("plan.json")).unwrap()).unwrap()
    }

    /// The plans that took its place, one after the other, because it did not hold.
    pub fn next_plans(&self) -> Vec<Plan> {
        let names = ["plan-whole.json", "plan-counted.json"].map(|name| self.folder.join(name));
        let there = names.iter().filter(|name| name.exists());
        there.map(|name| serde_json::from_slice(&fs::read(name).unwrap()).unwrap()).collect()
    }

    pub fn rows(&self) -> Vec<Row> {
        rows_of(&self.folder.join("tracks.parquet"))
    }

    /// The digest of the result.
    pub fn digest(&self) -> Sha256 {
        Sha256::of_file(&self.folder.join("tracks.parquet")).unwrap()
    }

    /// The times of the frames that have rows, by frame number; fails where the rows of a frame disagree or are not in order.
    pub fn times_us(&self) -> BTreeMap<i64, i64> {
        let mut times: BTreeMap<i64, i64> = BTreeMap::new();
        let mut last = i64::MIN;
        for row in self.rows() {
            assert!(row.frame >= last, "frame {} comes after {last}", row.frame);
            last = row.frame;
            let time = *times.entry(row.frame).or_insert(row.pts_us);
            assert_eq!(time, row.pts_us, "frame {} has two times", row.frame);
        }
        times
    }

    /// Every file below the job's folder by name, with its bytes.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        contents_of(&self.folder)
    }
}

pub fn rows_of(path: &Path) -> Vec<Row> {
    detection_file::read_rows(path).unwrap().flat_map(Result::unwrap).collect()
}

/// Every file below a folder by name, with its bytes.
pub fn contents_of(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    files_below(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}
