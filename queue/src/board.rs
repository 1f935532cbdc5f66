//! What is known of every job, put together from the topics `jobs`, `status` and `outcomes`. Pure.

use crate::read::Record;
use crate::topics::Topics;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::message::status::{Progress, Status, Step};
use framefleet_contract::message::submission::{JobMessage, Submission};
use framefleet_contract::outcome::{Outcome, State};
use framefleet_contract::source_url;
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
    /// When the result is needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
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
    /// With the times at which they came, milliseconds since 1970.
    requests: Vec<(i64, Submission)>,
    cancelled_ms: Option<i64>,
    status: Option<Status>,
    outcome: Option<(Outcome, i64)>,
    /// The job was removed then: what was asked for before is forgotten. Queues keep messages, so that nothing takes those
    /// back.
    forgotten_ms: Option<i64>,
}

impl Board {
    /// Takes a record of one of the topics [`Board::topics`]. What cannot be read is passed over, since whoever works on it
    /// makes a dead letter of it.
    pub fn take(&mut self, topics: &Topics, record: &Record) {
        let Some(id) = record.key.as_deref().and_then(|key| JobId::new(String::from_utf8(key.to_vec()).ok()?).ok())
        else {
            return;
        };
        let known = self.jobs.entry(id).or_default();
        if record.topic == topics.jobs() {
            let message = record.value.as_deref().map(|value| JobMessage::parse(record.key.as_deref(), value));
            if let Some(Ok(message)) = message {
                known.take_message(message, record.timestamp_ms);
            }
        } else if record.topic == topics.status() {
            known.take_status(record.value.as_deref());
        } else if record.topic == topics.outcomes() {
            known.take_outcome(record.value.as_deref(), record.timestamp_ms);
        }
    }

    /// The topics that it is made of.
    pub fn topics(topics: &Topics) -> Vec<String> {
        vec![topics.jobs(), topics.status(), topics.outcomes()]
    }

    pub fn job(&self, id: &JobId) -> Option<Job> {
        self.jobs.get(id).filter(|known| known.is_there()).map(|known| known.job(id))
    }

    /// All of them, those that were submitted last at the end.
    pub fn jobs(&self) -> Vec<Job> {
        let there = self.jobs.iter().filter(|(_, known)| known.is_there());
        let mut jobs: Vec<Job> = there.map(|(id, known)| known.job(id)).collect();
        jobs.sort_by_key(|job| job.submitted_ms);
        jobs
    }

    /// What was asked for under this id: the request that the outcome is of or, without an outcome, the first.
    pub fn request(&self, id: &JobId) -> Option<&Submission> {
        let known = self.jobs.get(id)?;
        let of_outcome = known.outcome.as_ref().and_then(|(outcome, _)| outcome.request_sha256.as_ref());
        let is_meant = |request: &&Submission| of_outcome.is_none_or(|sha256| request.sha256() == *sha256);
        known.requests().map(|(_, request)| request).find(is_meant)
    }
}

impl Known {
    fn take_message(&mut self, message: JobMessage, timestamp_ms: i64) {
        match message {
            JobMessage::Request(submission) => self.requests.push((timestamp_ms, *submission)),
            JobMessage::Cancellation(_) => self.cancelled_ms = self.cancelled_ms.max(Some(timestamp_ms)),
        }
    }

    fn take_status(&mut self, value: Option<&[u8]>) {
        let Some(value) = value else {
            self.status = None;
            return;
        };
        if let Ok(status) = serde_json::from_slice::<Status>(value)
            && self.status.as_ref().is_none_or(|known| known.progress <= status.progress)
        {
            self.status = Some(status);
        }
    }

    fn take_outcome(&mut self, value: Option<&[u8]>, timestamp_ms: i64) {
        match value.map(serde_json::from_slice::<Outcome>) {
            Some(Ok(outcome)) => self.outcome = Some((outcome, timestamp_ms)),
            Some(Err(_)) => {}
            None => {
                self.outcome = None;
                self.forgotten_ms = self.forgotten_ms.max(Some(timestamp_ms));
            }
        }
    }

    fn is_there(&self) -> bool {
        self.outcome.is_some() || self.status.is_some() || self.requests().next().is_some() || self.is_cancelled()
    }

    fn requests(&self) -> impl Iterator<Item = &(i64, Submission)> {
        self.requests.iter().filter(|(at, _)| self.forgotten_ms.is_none_or(|forgotten| *at > forgotten))
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled_ms.is_some_and(|at| self.forgotten_ms.is_none_or(|forgotten| at > forgotten))
    }

    /// The first request counts, as for whoever plans it.
    fn job(&self, id: &JobId) -> Job {
        let status = self.status.as_ref();
        let outcome = self.outcome.as_ref();
        let first = self.requests().next();
        let request = first.map(|(_, request)| request);
        Job {
            job_id: id.clone(),
            state: self.state(),
            source: status
                .map(|status| status.source.clone())
                .or(request.map(|request| source_url::shown(&request.source))),
            model: status.map(|status| status.model.name.clone()).or(request.and_then(|request| request.model.clone())),
            queue: status.map(|status| &status.queue).or(request.map(|request| &request.queue)).cloned(),
            labels: status
                .map(|status| &status.labels)
                .or(request.map(|request| &request.labels))
                .cloned()
                .unwrap_or_default(),
            deadline: status
                .map(|status| status.deadline.clone())
                .or(request.map(|request| request.deadline.clone()))
                .flatten(),
            progress: status.map(|status| status.progress),
            submitted_ms: first.map(|(at, _)| *at),
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
            _ if self.is_cancelled() => JobState::Cancelling,
            (None, Some(status)) if status.progress.step == Step::Tracking => JobState::Tracking,
            (None, Some(_)) => JobState::Detecting,
            (None, None) => JobState::Queued,
        }
    }
}

#[cfg(test)]
mod tests;
