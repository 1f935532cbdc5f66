//! What a fleet said of its jobs, in the order in which it was said.

use crate::fleet::Fleet;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::status::{Progress, Status};
use framefleet_contract::outcome::State;
use framefleet_queue::board::{Board, JobState};
use framefleet_queue::read::From;
use framefleet_queue::{Reader, Record, Topics};
use std::collections::HashMap;
use std::time::Duration;

#[derive(Debug)]
pub struct Words {
    topics: Topics,
    /// By the job's id as the key has it, in the order of the broker's times.
    of_jobs: HashMap<String, Vec<Record>>,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Words {
    pub fn read(fleet: &Fleet) -> Self {
        let topics = fleet.topics().clone();
        let mut of_jobs: HashMap<String, Vec<Record>> = HashMap::new();
        let mut reader = Reader::open(fleet.connection(), &Board::topics(&topics), From::Beginning).unwrap();
        reader
            .read_all(PATIENCE, |record| {
                let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
                of_jobs.entry(key).or_default().push(record);
                Ok(())
            })
            .unwrap();
        // Each topic is in its own order already, which records of the same millisecond keep.
        of_jobs.values_mut().for_each(|records| records.sort_by_key(|record| record.timestamp_ms));
        Self { topics, of_jobs }
    }

    /// However often it was said: always the bytes that were put.
    pub fn assert_one_outcome(&self, id: &JobId, put: &[u8]) {
        let said: Vec<&Record> = self.of(id).filter(|record| record.topic == self.topics.outcomes()).collect();
        assert!(!said.is_empty(), "the outcome of {id} was never said");
        for record in said {
            let value = record.value.as_deref().map(String::from_utf8_lossy);
            assert_eq!(value, Some(String::from_utf8_lossy(put)), "another outcome of {id}");
        }
    }

    /// For whoever follows the fleet as its clients do: progress only grows, and the outcome stays.
    pub fn assert_forwards(&self, id: &JobId, ended: State) {
        let (mut board, mut progress, mut outcome) = (Board::default(), None::<Progress>, None);
        for record in self.of(id) {
            board.take(&self.topics, record);
            let Some(job) = board.job(id) else { continue };
            assert!(job.progress >= progress, "{id} went back from {progress:?} to {:?}", job.progress);
            progress = job.progress;
            let is_final = job.state.is_final().then_some(job.state);
            assert!(outcome.is_none() || outcome == is_final, "{id} was {outcome:?}, and then {:?}", job.state);
            outcome = is_final;
        }
        let expected = match ended {
            State::Succeeded => JobState::Succeeded,
            State::Failed => JobState::Failed,
            State::Cancelled => JobState::Cancelled,
        };
        assert_eq!(outcome, Some(expected), "what clients see of {id} at the end");
        self.assert_true(id);
    }

    /// No status says more than there can be.
    fn assert_true(&self, id: &JobId) {
        for record in self.of(id).filter(|record| record.topic == self.topics.status()) {
            let Some(value) = &record.value else { continue };
            let Progress { segments_done, segments, .. } = serde_json::from_slice::<Status>(value).unwrap().progress;
            assert!(segments_done <= segments, "{segments_done} of {segments} segments of {id}");
        }
    }

    fn of(&self, id: &JobId) -> impl Iterator<Item = &Record> {
        self.of_jobs.get(id.as_str()).into_iter().flatten()
    }
}
