//! What can be done about a dead letter. Pure.

use crate::board::{Board, JobState};
use crate::client::DeadLetter;
use crate::error::QueueError;
use framefleet_contract::ErrorCode;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::submission::{JobMessage, Submission};

/// How the work of a dead letter can be tried again.
#[derive(Debug, Clone, PartialEq)]
pub enum Retry {
    /// The message says nothing true of its job, or its job is still open: it goes back to where it came from.
    SendBack,
    /// Its job has ended, and the first outcome counts: the same is asked for under another id.
    Submit(Box<Submission>),
    /// The job has ended another way.
    NotNeeded { job_id: JobId, state: JobState },
    /// A job that tries it again is there and has not failed.
    UnderWay { job_id: JobId, state: JobState },
}

/// Between the id of a job and the number of a later try of it.
const SUFFIX: &str = ".retry";

impl Retry {
    /// # Errors
    /// The job failed, and its request is not in the topic of jobs any more, or its id has no room for a number.
    pub fn of(letter: &DeadLetter, board: &Board) -> Result<Self, QueueError> {
        if [ErrorCode::Schema, ErrorCode::JobConflict].iter().any(|code| code.as_str() == letter.code) {
            return Ok(Self::SendBack);
        }
        let Some(job_id) = letter.key.as_deref().and_then(|key| JobId::new(key).ok()) else {
            return Ok(Self::SendBack);
        };
        match board.job(&job_id).map(|job| job.state) {
            Some(JobState::Failed) => {}
            Some(state) if state.is_final() => return Ok(Self::NotNeeded { job_id, state }),
            _ => return Ok(Self::SendBack),
        }
        let key = letter.key.as_deref().map(str::as_bytes);
        let request = match JobMessage::parse(key, &letter.value) {
            Ok(JobMessage::Request(request)) => *request,
            Ok(JobMessage::Cancellation(_)) => return Ok(Self::SendBack),
            // A segment, or word of one.
            _ => board.request(&job_id).cloned().ok_or_else(|| request_is_gone(&job_id))?,
        };
        let (again, last) = next_free(&job_id, board)?;
        Ok(match last {
            Some((job_id, state)) if state != JobState::Failed => Self::UnderWay { job_id, state },
            _ => Self::Submit(Box::new(Submission { job_id: again, ..request })),
        })
    }
}

/// The first id that no try has, and the try before it.
fn next_free(job_id: &JobId, board: &Board) -> Result<(JobId, Option<(JobId, JobState)>), QueueError> {
    let number = |number: &str| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let first = job_id.as_str().rsplit_once(SUFFIX).filter(|(_, n)| number(n)).map_or(job_id.as_str(), |(id, _)| id);
    let mut last = None;
    for n in 1_u32.. {
        let id = JobId::new(format!("{first}{SUFFIX}{n}")).map_err(|e| QueueError::BadRequest(e.to_string()))?;
        match board.job(&id) {
            Some(job) => last = Some((id, job.state)),
            None => return Ok((id, last)),
        }
    }
    unreachable!("a job is not tried four billion times")
}

fn request_is_gone(job_id: &JobId) -> QueueError {
    QueueError::BadRequest(format!("what job {job_id} asked for is in its topic no longer; submit it anew"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::Record;
    use crate::topics::Topics;
    use framefleet_contract::message::to_json;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn id(id: &str) -> JobId {
        JobId::new(id).unwrap()
    }

    fn board(requests: &[&Submission], outcomes: &[(&str, &str)]) -> Board {
        let (mut board, topics) = (Board::default(), Topics::new("t").unwrap());
        let mut take = |topic: String, key: &str, value: Vec<u8>| {
            let (key, value) = (Some(key.as_bytes().to_vec()), Some(value));
            let headers = BTreeMap::new();
            board.take(&topics, &Record { topic, partition: 0, offset: 0, timestamp_ms: 1, key, value, headers });
        };
        for request in requests {
            let message = JobMessage::Request(Box::new((*request).clone()));
            take(topics.jobs(), request.job_id.as_str(), to_json(&message));
        }
        for (job, state) in outcomes {
            let outcome = json!({"version": 1, "job_id": job, "state": state, "files": []});
            take(topics.outcomes(), job, outcome.to_string().into_bytes());
        }
        board
    }

    fn letter(key: &str, code: &str, value: &[u8]) -> DeadLetter {
        DeadLetter { key: Some(key.to_owned()), code: code.to_owned(), value: value.to_vec(), ..DeadLetter::default() }
    }

    fn asked(job: &str) -> Submission {
        Submission { queue: "high".to_owned(), ..Submission::new(id(job), "/v.mp4") }
    }

    #[test]
    fn what_was_asked_for_is_asked_for_again_under_the_next_free_id() {
        let request = asked("a");
        let segment = letter("a", "WORKER_LOST", br#"{"version":1,"job_id":"a","segment":3}"#);
        let again = |board: &Board, letter: &DeadLetter| match Retry::of(letter, board).unwrap() {
            Retry::Submit(submission) => submission.job_id.to_string() + " " + &submission.queue,
            other => panic!("{other:?}"),
        };
        assert_eq!(again(&board(&[&request], &[("a", "failed")]), &segment), "a.retry1 high");
        let twice = [("a", "failed"), ("a.retry1", "failed")];
        assert_eq!(again(&board(&[&request], &twice), &segment), "a.retry2 high");
        let second = asked("a.retry1");
        assert_eq!(again(&board(&[&request, &second], &twice), &letter("a.retry1", "NO_VIDEO", b"")), "a.retry2 high");
        let message = to_json(&JobMessage::Request(Box::new(request)));
        assert_eq!(again(&board(&[], &[("a", "failed")]), &letter("a", "NO_VIDEO", &message)), "a.retry1 high");
    }

    #[test]
    fn what_is_tried_again_already_or_has_succeeded_is_left_alone() {
        let (first, again) = (asked("a"), asked("a.retry1"));
        let retry = |outcomes: &[(&str, &str)]| {
            Retry::of(&letter("a", "NO_VIDEO", b""), &board(&[&first, &again], outcomes)).unwrap()
        };
        let under_way = Retry::UnderWay { job_id: id("a.retry1"), state: JobState::Queued };
        assert_eq!(retry(&[("a", "failed")]), under_way);
        let succeeded = |job| (id(job), JobState::Succeeded);
        let (job_id, state) = succeeded("a.retry1");
        assert_eq!(retry(&[("a", "failed"), ("a.retry1", "succeeded")]), Retry::UnderWay { job_id, state });
        let (job_id, state) = succeeded("a");
        assert_eq!(retry(&[("a", "succeeded")]), Retry::NotNeeded { job_id, state });
    }

    #[test]
    fn what_says_nothing_true_of_its_job_goes_back_as_it_is() {
        let failed = board(&[&asked("a")], &[("a", "failed")]);
        for (key, code) in [("a", "SCHEMA"), ("a", "JOB_CONFLICT"), ("../a", "INTERNAL"), ("unknown", "INTERNAL")] {
            assert_eq!(Retry::of(&letter(key, code, b"x"), &failed).unwrap(), Retry::SendBack, "{key} {code}");
        }
    }

    #[test]
    fn a_request_that_is_gone_is_told_of() {
        let error = Retry::of(&letter("a", "WORKER_LOST", b"{}"), &board(&[], &[("a", "failed")])).unwrap_err();
        assert!(error.to_string().contains("submit it anew"), "{error}");
    }
}
