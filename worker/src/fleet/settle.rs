//! What becomes of a message that was worked on.
//!
//! ```text
//! Delivery ─► handle ─► done ─────────────────────────────► finish: it never comes again
//!               │ may pass: again in place, then ─► back to the end of its queue ─► finish
//!               │ cannot pass: outcome `failed`, dead letter ────────────────────► finish
//!               └ told to stop: left as it is, and whoever gets the partition does it
//! ```

use super::worker::Worker;
use crate::error::{JobError, Result};
use crate::job;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::message::HANDED_BACK_HEADER;
use framefleet_contract::message::submission::JobMessage;
use framefleet_contract::{Disposition, ErrorCode};
use framefleet_queue::Delivery;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// A message that failed so often for reasons that might have passed is given up.
const MOST_HANDED_BACK: u32 = 5;
/// The same where something is not to be seen yet, which takes minutes on some network volumes: these are four.
const MOST_NOT_SEEN: u32 = 17;
/// Before a message is handed back for the first time; each time twice as long. Alone in its queue it comes again at once.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Between two tries to hand back or to give up a message.
const PAUSE: Duration = Duration::from_secs(2);

impl Worker {
    /// Has a message worked on, and sees to what becomes of it.
    pub fn settle(&self, delivery: Delivery, handle: impl FnOnce(&Delivery) -> Result<()>) {
        let handled = catch_unwind(AssertUnwindSafe(|| handle(&delivery))).unwrap_or(Err(JobError::ThreadLost));
        let Err(error) = handled else { return delivery.finish() };
        while let Err(trouble) = self.after(&error, &delivery) {
            if self.is_leaving() {
                // The next owner of the partition begins with it.
                tracing::info!(topic = %delivery.topic, "left to another worker: {error}");
                return;
            }
            // Nobody else has it as long as this worker has the partition.
            tracing::warn!(topic = %delivery.topic, "{trouble}, after {error}; trying again");
            if trouble.disposition() == Disposition::Retry {
                self.standing.surroundings_failed(&trouble.to_string());
            }
            self.wait(PAUSE, &self.hand_back);
        }
        delivery.finish();
    }

    fn is_leaving(&self) -> bool {
        self.standing.is_draining() || self.hand_back.is_asked()
    }

    /// # Errors
    /// The message is left, or what is to be done about the error cannot be done.
    fn after(&self, error: &JobError, delivery: &Delivery) -> Result<()> {
        let job_id = job_id_of(delivery);
        let shown = job_id.as_ref().map_or("?", JobId::as_str);
        let times = handed_back(delivery);
        let is_of_surroundings = self.is_of_surroundings(error.code());
        if is_of_surroundings {
            self.standing.surroundings_failed(&error.to_string());
        }
        let most = if matches!(error, JobError::NotSeenYet { .. }) { MOST_NOT_SEEN } else { MOST_HANDED_BACK };
        match fate(error.code(), times, most, is_of_surroundings, self.is_leaving()) {
            Fate::Done => Ok(()),
            Fate::Left => Err(JobError::Interrupted),
            Fate::HandedBack { times: next } => {
                tracing::warn!(job = shown, topic = %delivery.topic, "{}: {error}; handed back", error.code());
                metrics::counter!("framefleet_handed_back_total").increment(1);
                self.wait(FIRST_PAUSE * 2_u32.pow(times.min(4)), &self.hand_back);
                match self.announcer.hand_back(delivery, next, &self.hand_back) {
                    // As with headers of somebody else's that leave no room for ours.
                    Err(trouble) if trouble.code() == ErrorCode::BadRequest => {
                        self.give_up(error, delivery, job_id.as_ref())
                    }
                    other => other,
                }
            }
            Fate::GivenUp => {
                tracing::warn!(job = shown, topic = %delivery.topic, "{}: {error}; given up", error.code());
                self.give_up(error, delivery, job_id.as_ref())
            }
        }
    }

    /// Ends the job as failed, unless the message says nothing true of it, and keeps the message for people to see.
    fn give_up(&self, error: &JobError, delivery: &Delivery, job_id: Option<&JobId>) -> Result<()> {
        if let Some(job_id) = job_id.filter(|_| is_of_its_job(error)) {
            match self.fail(error, delivery, job_id) {
                // What nobody can read will not be read the next time.
                Err(trouble) if trouble.disposition() != Disposition::Retry && !is_of_topics(&trouble) => {
                    tracing::error!(job = %job_id, "it cannot be ended: {trouble}");
                }
                other => other?,
            }
        }
        metrics::counter!("framefleet_dead_letters_total", "code" => error.code().as_str()).increment(1);
        self.announcer.dead_letter(delivery, error.code(), &error.to_string(), &self.hand_back)
    }

    fn fail(&self, error: &JobError, delivery: &Delivery, job_id: &JobId) -> Result<()> {
        let folder = JobFolder::new(&self.volume, job_id);
        let request_sha256 = request_sha256(&folder, delivery);
        if request_sha256.is_none() && folder.request().is_ok_and(|request| request.is_none()) {
            // Removed while it was worked on: it must not come back.
            return Ok(());
        }
        job::fail(&folder, job_id, request_sha256, error)?;
        self.announce_outcome(&folder, job_id)
    }

    /// What says nothing of the work, but of where it is done: trying it elsewhere or later is no try of it.
    fn is_of_surroundings(&self, code: ErrorCode) -> bool {
        match code {
            // Topics that are made again, or brokers that do not know them yet, are for people to see to.
            ErrorCode::VolumeFull | ErrorCode::KafkaUnavailable | ErrorCode::TopicsMissing => true,
            // One file may be bad where the volume is well.
            ErrorCode::VolumeIo | ErrorCode::VolumeReadOnly => self.volume.check().is_err(),
            _ => false,
        }
    }
}

/// What becomes of a message whose work ended with an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Nobody wants the work any more.
    Done,
    /// Whoever gets the partition begins with it, without its having gone to the end of the queue.
    Left,
    /// To the end of its queue, with how often that was so.
    HandedBack {
        times: u32,
    },
    GivenUp,
}

/// `times`: how often it was handed back before, of `most`. What the surroundings are to blame for is no try of it.
fn fate(code: ErrorCode, times: u32, most: u32, is_of_surroundings: bool, is_leaving: bool) -> Fate {
    if code == ErrorCode::Interrupted {
        // Nothing but a cancellation stops work beside leaving. It may be taken back by now, since the job has its outcome.
        return if is_leaving { Fate::Left } else { Fate::Done };
    }
    match (is_of_surroundings, code.disposition()) {
        (false, disposition) if disposition != Disposition::Retry => Fate::GivenUp,
        _ if is_leaving => Fate::Left,
        (true, _) => Fate::HandedBack { times },
        _ if times < most.saturating_sub(1) => Fate::HandedBack { times: times + 1 },
        _ => Fate::GivenUp,
    }
}

fn is_of_topics(trouble: &JobError) -> bool {
    trouble.code() == ErrorCode::TopicsMissing
}

/// A message that nobody can read says nothing of a job, one that conflicts is of another request, and one of which nothing
/// is to be seen may be of a job that was deleted.
fn is_of_its_job(error: &JobError) -> bool {
    let is_other = matches!(error.code(), ErrorCode::Schema | ErrorCode::JobConflict);
    !is_other && !matches!(error, JobError::NotSeenYet { .. })
}

/// Of the request that was accepted or, where none was, of the one that came.
fn request_sha256(folder: &JobFolder, delivery: &Delivery) -> Option<Sha256> {
    if let Ok(Some(request)) = folder.request() {
        return request.submitted.map(|submitted| submitted.sha256);
    }
    match JobMessage::parse(delivery.key.as_deref(), &delivery.value) {
        Ok(JobMessage::Request(submission)) => Some(submission.sha256()),
        _ => None,
    }
}

/// How often a message was sent again after errors.
fn handed_back(delivery: &Delivery) -> u32 {
    let header = delivery.headers.iter().find(|(name, _)| name == HANDED_BACK_HEADER);
    header.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

/// The job that a message is of, as its key says.
fn job_id_of(delivery: &Delivery) -> Option<JobId> {
    JobId::new(String::from_utf8(delivery.key.clone()?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_then_given_up() {
        let passing = |times| fate(ErrorCode::SourceUnreadable, times, 5, false, false);
        assert_eq!([0, 3].map(passing), [1, 4].map(|times| Fate::HandedBack { times }));
        assert_eq!([4, 5, u32::MAX].map(passing), [Fate::GivenUp; 3]);
        assert_eq!(fate(ErrorCode::NoVideo, 0, 5, false, false), Fate::GivenUp);
        assert_eq!(fate(ErrorCode::NoVideo, 0, 5, false, true), Fate::GivenUp);
    }

    #[test]
    fn what_the_surroundings_do_is_no_try() {
        for times in [0, 4, 100] {
            assert_eq!(fate(ErrorCode::VolumeFull, times, 5, true, false), Fate::HandedBack { times });
        }
        assert_eq!(fate(ErrorCode::TopicsMissing, 4, 5, true, false), Fate::HandedBack { times: 4 });
        assert_eq!(fate(ErrorCode::VolumeIo, 4, 5, false, false), Fate::GivenUp);
    }

    #[test]
    fn who_leaves_leaves_what_may_pass_where_it_is() {
        assert_eq!(fate(ErrorCode::SourceUnreadable, 9, 5, false, true), Fate::Left);
        assert_eq!(fate(ErrorCode::VolumeFull, 0, 5, true, true), Fate::Left);
        assert_eq!(
            [true, false].map(|leaves| fate(ErrorCode::Interrupted, 0, 5, false, leaves)),
            [Fate::Left, Fate::Done]
        );
    }

    #[test]
    fn what_says_nothing_of_its_job_does_not_end_it() {
        assert!(is_of_its_job(&JobError::ThreadLost) && is_of_its_job(&JobError::BadRequest(String::new())));
        assert!(!is_of_its_job(&JobError::NotSeenYet { path: "/jobs/a".into() }));
    }
}
