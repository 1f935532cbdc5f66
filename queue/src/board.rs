//! What is known of every job, put together from the topics `jobs`, `status` and `outcomes`. Pure.

use crate::read::Record;
use crate::topics::Topics;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::message::status::{Progress, Status, Step};
use framefleet_contract::message::submission::JobMessage;
use framefleet_contract::outcome::{Outcome, State};
use framefleet_contract::source_url::SourceUrl;
use serde::Serialize;
use std::collections::BTreeMap;

/// One job, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    pub job_id: JobId,
    pub state: JobState,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// When the request came to the broker, milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted_ms: Option<i64>,
    /// When its outcome came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Of the request that the fleet works on, or worked on.
    #[serde(skip)]
    pub request_sha256: Option<Sha256>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Nobody has looked at it yet.
    Queued,
    /// A cancellation was sent, and nobody has answered it yet.
    Cancelling,
    /// Its segments wait or are worked on.
    Detecting,
    /// The tracks are made.
    Tracking,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Cancelling,
        Self::Detecting,
        Self::Tracking,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Cancelling => "cancelling",
            Self::Detecting => "detecting",
            Self::Tracking => "tracking",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// All jobs. Takes records in any order of the topics; each topic's own order is kept by its partitions.
#[derive(Debug, Default)]
pub struct Board {
    jobs: BTreeMap<JobId, Known>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    source: Option<String>,
    model: Option<String>,
    queue: Option<String>,
    labels: BTreeMap<String, String>,
    submitted_ms: Option<i64>,
    is_cancelled: bool,
    status: Option<Status>,
    outcome: Option<(Outcome, i64)>,
}

impl Board {
    /// Takes a record of one of the topics [`Board::topics`]. What cannot be read is passed over, since whoever works on it
    /// makes a dead letter of it.
    pub fn take(&mut self, topics: &Topics, record: &Record) {
        let Some(id) = record.key.as_deref().and_then(|key| JobId::new(String::from_utf8(key.to_vec()).ok()?).ok())
        else {
            return;
        };
        let Some(value) = &record.value else {
            if record.topic == topics.outcomes() {
                self.jobs.remove(&id);
            }
            return;
        };
        if record.topic == topics.jobs() {
            if let Ok(message) = JobMessage::parse(record.key.as_deref(), value) {
                self.jobs.entry(id).or_default().take_message(message, record.timestamp_ms);
            }
        } else if record.topic == topics.status() {
            if let Ok(status) = serde_json::from_slice::<Status>(value) {
                self.jobs.entry(id).or_default().take_status(status);
            }
        } else if record.topic == topics.outcomes()
            && let Ok(outcome) = serde_json::from_slice::<Outcome>(value)
        {
            self.jobs.entry(id).or_default().outcome = Some((outcome, record.timestamp_ms));
        }
    }

    /// The topics that it is made of.
    pub fn topics(topics: &Topics) -> Vec<String> {
        vec![topics.jobs(), topics.status(), topics.outcomes()]
    }

    pub fn job(&self, id: &JobId) -> Option<Job> {
        self.jobs.get(id).map(|known| known.job(id))
    }

    /// All of them, those that were submitted last at the end.
    pub fn jobs(&self) -> Vec<Job> {
        let mut jobs: Vec<Job> = self.jobs.iter().map(|(id, known)| known.job(id)).collect();
        jobs.sort_by_key(|job| job.submitted_ms);
        jobs
    }
}

impl Known {
    /// The first request counts, as for whoever plans it.
    fn take_message(&mut self, message: JobMessage, timestamp_ms: i64) {
        match message {
            JobMessage::Cancellation(_) => self.is_cancelled = true,
            JobMessage::Request(submission) if self.submitted_ms.is_none() => {
                self.submitted_ms = Some(timestamp_ms);
                self.source = Some(match SourceUrl::new(&submission.source) {
                    // Without its credentials.
                    Ok(url) => url.to_string(),
                    Err(_) => submission.source,
                });
                self.model = submission.model;
                self.queue = Some(submission.queue);
                self.labels = submission.labels;
            }
            JobMessage::Request(_) => {}
        }
    }

    fn take_status(&mut self, status: Status) {
        if self.status.as_ref().is_none_or(|known| known.progress <= status.progress) {
            self.status = Some(status);
        }
    }

    fn job(&self, id: &JobId) -> Job {
        let status = self.status.as_ref();
        let outcome = self.outcome.as_ref();
        Job {
            job_id: id.clone(),
            state: self.state(),
            source: status.map(|status| status.source.clone()).or(self.source.clone()),
            model: status.map(|status| status.model.name.clone()).or(self.model.clone()),
            queue: status.map(|status| status.queue.clone()).or(self.queue.clone()),
            labels: status.map_or(&self.labels, |status| &status.labels).clone(),
            progress: status.map(|status| status.progress),
            submitted_ms: self.submitted_ms,
            ended_ms: outcome.map(|(_, at)| *at),
            outcome: outcome.map(|(outcome, _)| outcome.clone()),
            request_sha256: match outcome {
                Some((outcome, _)) => outcome.request_sha256.clone(),
                None => status.and_then(|status| status.request_sha256.clone()),
            },
        }
    }

    fn state(&self) -> JobState {
        match (&self.outcome, &self.status) {
            (Some((outcome, _)), _) => match outcome.state {
                State::Succeeded => JobState::Succeeded,
                State::Failed => JobState::Failed,
                State::Cancelled => JobState::Cancelled,
            },
            _ if self.is_cancelled => JobState::Cancelling,
            (None, Some(status)) if status.progress.step == Step::Tracking => JobState::Tracking,
            (None, Some(_)) => JobState::Detecting,
            (None, None) => JobState::Queued,
        }
    }
}
