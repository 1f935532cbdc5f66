//! What must be so after every fault, whatever it was.
//!
//! Each job has exactly one outcome; every listed file is what the outcome says; no status goes backwards, and none comes
//! after an outcome; what is committed is done; the frame ledger balances; the tracks are the bytes of an undisturbed run.

pub mod commits;
mod findings;
mod words;

pub use findings::Findings;

use crate::fleet::{Fleet, PATIENCE};
use crate::footage::Footage;
use crate::job::rows_of;
use crate::wait;
use commits::Commits;
use framefleet_contract::ErrorCode;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::OUTCOME;
use framefleet_contract::outcome::{Outcome, PublishedFile, State};
use std::collections::BTreeMap;
use std::fs;
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

/// What is wrong, in words.
type Look = Result<(), String>;

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
        let findings = self.findings();
        assert!(findings.are_none(), "{findings}");
    }

    /// The same, telling what is wrong.
    pub fn findings(&self) -> Findings {
        let mut findings = Findings::default();
        for id in self.expected.keys() {
            if !wait::is_so_within(PATIENCE, || self.fleet.outcome(id).is_some()) {
                findings.losses.push(format!("job {id} has no outcome"));
            }
        }
        if !wait::is_so_within(PATIENCE, || Commits::read(self.fleet).waiting() == 0) {
            let waiting = Commits::read(self.fleet).waiting();
            findings.losses.push(format!("{waiting} messages are never committed"));
        }
        let words = Words::read(self.fleet);
        for (id, expected) in &self.expected {
            let Some(outcome) = self.fleet.outcome(id) else { continue };
            findings.outcomes += 1;
            let put = fs::read(self.fleet.folder(id).path_of(OUTCOME)).unwrap();
            match words.outcomes_of(id) {
                [] => findings.losses.push(format!("the outcome of {id} was never said")),
                said if said.iter().all(|said| said.as_deref() == Some(&put)) => {}
                said => {
                    findings.duplicates.push(format!("{id} has other outcomes than the one that was put: {said:?}"));
                }
            }
            let looks = [
                words.look_forwards(id, outcome.state),
                self.look_at_files(id, &outcome),
                self.look_at_end(id, &outcome, *expected),
            ];
            findings.others.extend(looks.into_iter().filter_map(Result::err).map(|what| format!("job {id}: {what}")));
        }
        findings
    }

    fn look_at_files(&self, id: &JobId, outcome: &Outcome) -> Look {
        for listed in &outcome.files {
            let path = self.fleet.folder(id).path_of(&listed.path);
            let found = PublishedFile {
                path: listed.path.clone(),
                bytes: fs::metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?.len(),
                sha256: Sha256::of_file(&path).unwrap(),
                rows: listed.rows.map(|_| rows_of(&path).len() as u64),
            };
            if found != *listed {
                return Err(format!("{found:?} is there, and {listed:?} is listed"));
            }
        }
        Ok(())
    }

    fn look_at_end(&self, id: &JobId, outcome: &Outcome, expected: Expected<'_>) -> Look {
        let code = outcome.error.as_ref().map(|error| error.code);
        match (expected, outcome.state) {
            (Expected::Succeeded(footage), State::Succeeded) => self.look_undisturbed(id, outcome, footage),
            (Expected::Cancelled, State::Cancelled) => Ok(()),
            (Expected::Failed(expected), State::Failed) if code == Some(expected) => Ok(()),
            _ => Err(format!("it ended as {outcome:?}")),
        }
    }

    fn look_undisturbed(&self, id: &JobId, outcome: &Outcome, footage: &Footage) -> Look {
        let tracks = outcome.files.iter().find(|file| file.path == "tracks.parquet");
        if tracks.map(|tracks| &tracks.sha256) != Some(&footage.digest) {
            return Err(format!("its tracks are not those of an undisturbed run: {tracks:?}"));
        }
        let frames = self.fleet.folder(id).summary().unwrap().ok_or("it has no summary")?.frames;
        if frames.decoded != frames.inferred + frames.skipped || frames != footage.frames {
            return Err(format!("its frames are {frames:?}, and the video has {:?}", footage.frames));
        }
        Ok(())
    }
}
