//! What must be so after every fault, whatever it was.
//!
//! Each job has exactly one outcome; every listed file is what the outcome says; no status goes backwards, and none comes
//! after an outcome; what is committed is done; the frame ledger balances; the tracks are the bytes of an undisturbed run.

pub mod commits;
mod words;

use crate::fleet::Fleet;
use crate::footage::Footage;
use crate::job::rows_of;
use crate::wait;
use commits::Commits;
use framefleet_contract::ErrorCode;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::OUTCOME;
use framefleet_contract::outcome::{Outcome, State};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;
use words::Words;

/// The jobs of a fleet, and how each is to end.
#[derive(Debug)]
pub struct Oracle<'a> {
    fleet: &'a Fleet,
    expected: BTreeMap<JobId, Expected<'a>>,
}

#[derive(Debug, Clone, Copy)]
enum Expected<'a> {
    Succeeded(&'a Footage),
    Failed(ErrorCode),
    Cancelled,
}

/// Until everything is committed. Twice: a message of a worker that was lost comes again.
const PATIENCE: Duration = Duration::from_secs(120);

impl<'a> Oracle<'a> {
    pub fn of(fleet: &'a Fleet) -> Self {
        Self { fleet, expected: BTreeMap::new() }
    }

    #[must_use]
    pub fn succeeded<'j>(mut self, ids: impl IntoIterator<Item = &'j JobId>, footage: &'a Footage) -> Self {
        self.expected.extend(ids.into_iter().map(|id| (id.clone(), Expected::Succeeded(footage))));
        self
    }

    #[must_use]
    pub fn failed(mut self, id: &JobId, code: ErrorCode) -> Self {
        self.expected.insert(id.clone(), Expected::Failed(code));
        self
    }

    #[must_use]
    pub fn cancelled<'j>(mut self, ids: impl IntoIterator<Item = &'j JobId>) -> Self {
        self.expected.extend(ids.into_iter().map(|id| (id.clone(), Expected::Cancelled)));
        self
    }

    /// Waits until all have ended and everything is committed, and looks. A worker must be there to do that.
    pub fn check(&self) {
        self.fleet.wait_for_outcomes(self.expected.keys());
        wait::within(PATIENCE, "everything is finished and committed", || Commits::read(self.fleet).waiting() == 0);
        let words = Words::read(self.fleet);
        for (id, expected) in &self.expected {
            let outcome = self.fleet.outcome(id).unwrap();
            words.assert_one_outcome(id, &fs::read(self.fleet.folder(id).path_of(OUTCOME)).unwrap());
            words.assert_forwards(id, outcome.state);
            self.assert_files(id, &outcome);
            match expected {
                Expected::Succeeded(footage) => self.assert_undisturbed(id, &outcome, footage),
                Expected::Cancelled => assert_eq!(outcome.state, State::Cancelled, "{outcome:?}"),
                Expected::Failed(code) => {
                    assert_eq!(outcome.state, State::Failed, "{outcome:?}");
                    assert_eq!(outcome.error.as_ref().map(|error| error.code), Some(*code), "{outcome:?}");
                }
            }
        }
    }

    fn assert_files(&self, id: &JobId, outcome: &Outcome) {
        let folder = self.fleet.folder(id);
        for file in &outcome.files {
            let path = folder.path_of(&file.path);
            assert_eq!(Sha256::of_file(&path).unwrap(), file.sha256, "{}", path.display());
            assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes, "{}", path.display());
            if let Some(rows) = file.rows {
                assert_eq!(rows_of(&path).len() as u64, rows, "{}", path.display());
            }
        }
    }

    fn assert_undisturbed(&self, id: &JobId, outcome: &Outcome, footage: &Footage) {
        assert_eq!(outcome.state, State::Succeeded, "{outcome:?}");
        let tracks = outcome.files.iter().find(|file| file.path == "tracks.parquet").expect("tracks");
        assert_eq!(tracks.sha256, footage.digest, "job {id} has other tracks than an undisturbed run");
        let summary = self.fleet.folder(id).summary().unwrap().expect("a summary");
        let frames = summary.frames;
        assert_eq!(frames.decoded, frames.inferred + frames.skipped, "the frame ledger of {id}");
        assert_eq!(frames, footage.frames, "the frames of {id}");
    }
}
