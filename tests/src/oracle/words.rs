//! What a fleet said of its jobs, in the order in which it was said.

use super::Look;
use crate::fleet::Fleet;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::status::{Progress, Status};
use framefleet_contract::outcome::State;
use framefleet_queue::board::{Board, JobState};
use framefleet_queue::{Record, Topics};
use std::collections::HashMap;

/// By the job's id, as the key has it.
#[derive(Debug)]
pub struct Words {
    topics: Topics,
    /// In the order of the broker's times.
    of_jobs: HashMap<String, Vec<Record>>,
    /// The values of all outcomes.
    outcomes: HashMap<String, Vec<Option<Vec<u8>>>>,
}

impl Words {
    pub fn read(fleet: &Fleet) -> Self {
        let topics = fleet.topics().clone();
        let mut this = Self { topics: topics.clone(), of_jobs: HashMap::new(), outcomes: HashMap::new() };
        for record in fleet.records(&Board::topics(&topics)) {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            if record.topic == topics.outcomes() {
                this.outcomes.entry(key.clone()).or_default().push(record.value.clone());
            }
            this.of_jobs.entry(key).or_default().push(record);
        }
        // Each topic is in its own order already, which records of the same millisecond keep.
        this.of_jobs.values_mut().for_each(|records| records.sort_by_key(|record| record.timestamp_ms));
        this
    }

    /// Each time that it was said.
    pub fn outcomes_of(&self, id: &JobId) -> &[Option<Vec<u8>>] {
        self.outcomes.get(id.as_str()).map_or(&[], Vec::as_slice)
    }

    /// For whoever follows the fleet as its clients do: progress only grows, and the outcome stays.
    pub fn look_forwards(&self, id: &JobId, ended: State) -> Look {
        let (mut board, mut progress, mut outcome) = (Board::default(), None::<Progress>, None);
        for record in self.of_jobs.get(id.as_str()).into_iter().flatten() {
            self.look_at_counts(record)?;
            board.take(&self.topics, record);
            let Some(job) = board.job(id) else { continue };
            if job.progress < progress {
                return Err(format!("it went back from {progress:?} to {:?}", job.progress));
            }
            progress = job.progress;
            let is_final = job.state.is_final().then_some(job.state);
            if outcome.is_some() && outcome != is_final {
                return Err(format!("it was {outcome:?}, and then {:?}", job.state));
            }
            outcome = is_final;
        }
        let expected = match ended {
            State::Succeeded => JobState::Succeeded,
            State::Failed => JobState::Failed,
            State::Cancelled => JobState::Cancelled,
        };
        if outcome == Some(expected) { Ok(()) } else { Err(format!("clients see it as {outcome:?}, not {expected:?}")) }
    }

    /// No status says more than there can be.
    fn look_at_counts(&self, record: &Record) -> Look {
        let Some(value) = record.value.as_ref().filter(|_| record.topic == self.topics.status()) else { return Ok(()) };
        let Progress { segments_done, segments, .. } = serde_json::from_slice::<Status>(value).unwrap().progress;
        let fits = segments_done <= segments;
        if fits { Ok(()) } else { Err(format!("{segments_done} of {segments} segments")) }
    }
}
