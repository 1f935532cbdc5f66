//! What the roles of one process share, and what becomes of a message that was worked on.
//!
//! ```text
//! Delivery ─► handle ─► done ─────────────────────────────► finish: it never comes again
//!               │ may pass: again in place, then ─► back to the end of its queue ─► finish
//!               │ cannot pass: outcome `failed`, dead letter ────────────────────► finish
//!               └ told to stop: left as it is, and whoever gets the partition does it
//! ```

use super::announce::Announcer;
use super::cancelled::Cancelled;
use super::gate::Gate;
use super::in_flight::InFlightWork;
use super::standing::Standing;
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::job;
use framefleet_contract::attempt::Step;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::message::HANDED_BACK_HEADER;
use framefleet_contract::message::submission::JobMessage;
use framefleet_contract::volume::Volume;
use framefleet_contract::{Disposition, ErrorCode};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_queue::Delivery;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What every role of this process needs.
#[derive(Debug)]
pub struct Worker {
    pub id: String,
    pub volume: Volume,
    pub limits: Limits,
    pub announcer: Announcer,
    pub gate: Gate,
    pub cancelled: Cancelled,
    pub in_flight: InFlightWork,
    pub standing: Standing,
    /// Asked for when work that is under way is to be left to others.
    pub hand_back: Stop,
    /// Jobs whose outcome this process has announced, the last ones.
    pub announced: Mutex<VecDeque<JobId>>,
}

/// Between two tries in place.
const PAUSES: [Duration; 3] = [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(6)];
/// A message that failed in so many workers for reasons that might have passed is given up.
const MOST_HANDED_BACK: u32 = 5;
/// A step that took its worker with it so often, while nothing else ran there, is given up.
const MOST_LOSSES_ALONE: u32 = 3;
/// Late messages of a job come soon after its end.
const ANNOUNCED: usize = 1000;
const LOOK: Duration = Duration::from_millis(100);

impl Worker {
    /// Has a message worked on, and sees to what becomes of it.
    pub fn settle(&self, delivery: Delivery, handle: impl FnOnce(&Delivery) -> Result<()>) {
        let handled = catch_unwind(AssertUnwindSafe(|| handle(&delivery))).unwrap_or(Err(JobError::ThreadLost));
        let settled = handled.or_else(|error| self.after(&error, &delivery));
        match settled {
            Ok(()) => delivery.finish(),
            // The next owner of the partition begins with it.
            Err(error) => tracing::info!(topic = %delivery.topic, "left to another worker: {error}"),
        }
    }

    /// One try of a step after the other, until it is done or will not be. Runs alone where a worker was lost with it.
    pub fn attempt<T>(
        &self,
        folder: &JobFolder,
        job_id: &JobId,
        step: Step,
        mut work: impl FnMut(&Stop) -> Result<T>,
    ) -> Result<T> {
        let mut attempt = folder.begin_attempt(step, &self.id)?;
        let losses = attempt.losses;
        if losses.alone >= MOST_LOSSES_ALONE {
            return Err(JobError::WorkerLost { step: step.to_string(), losses: losses.alone });
        }
        let _permit = if losses.lost > 0 {
            tracing::warn!(job = %job_id, %step, "a worker was lost with it before: it runs alone");
            let permit = self.gate.alone();
            attempt.now_alone()?;
            permit
        } else {
            self.gate.beside_others()
        };
        let running = self.cancelled.running(job_id, &self.hand_back);
        let mut pauses = PAUSES.iter();
        loop {
            running.stop.check()?;
            let error = match work(&running.stop) {
                Err(error) if error.disposition() == Disposition::Retry => error,
                other => return other,
            };
            let pause = pauses.next().filter(|_| error.code() != ErrorCode::Interrupted);
            let Some(pause) = pause else { return Err(error) };
            tracing::warn!(job = %job_id, %step, "{}: {error}; trying again", error.code());
            metrics::counter!("framefleet_retries_total").increment(1);
            wait(*pause, &running.stop);
        }
    }

    /// # Errors
    /// The work was interrupted, or what is to be done about the error cannot be: the message comes again.
    fn after(&self, error: &JobError, delivery: &Delivery) -> Result<()> {
        let job_id = job_id_of(delivery);
        if error.code() == ErrorCode::Interrupted {
            let was_cancelled = job_id.is_some_and(|job_id| self.cancelled.contains(&job_id));
            return if was_cancelled && !self.hand_back.is_asked() { Ok(()) } else { Err(JobError::Interrupted) };
        }
        let shown = job_id.as_ref().map_or("?", JobId::as_str);
        let times = handed_back(delivery) + 1;
        let is_of_surroundings = is_of_surroundings(error.code());
        if is_of_surroundings {
            self.standing.volume_failed(&error.to_string());
        }
        if error.disposition() == Disposition::Retry && (is_of_surroundings || times < MOST_HANDED_BACK) {
            tracing::warn!(job = shown, topic = %delivery.topic, "{}: {error}; handed back", error.code());
            metrics::counter!("framefleet_handed_back_total").increment(1);
            let times = if is_of_surroundings { times - 1 } else { times };
            return self.announcer.hand_back(delivery, times, &self.hand_back);
        }
        tracing::warn!(job = shown, topic = %delivery.topic, "{}: {error}; given up", error.code());
        self.give_up(error, delivery, job_id.as_ref())
    }

    /// Ends the job as failed, unless the message says nothing true of it, and keeps the message for people to see.
    fn give_up(&self, error: &JobError, delivery: &Delivery, job_id: Option<&JobId>) -> Result<()> {
        let is_of_a_job = !matches!(error.code(), ErrorCode::Schema | ErrorCode::JobConflict);
        if let Some(job_id) = job_id.filter(|_| is_of_a_job) {
            let folder = JobFolder::new(&self.volume, job_id);
            job::fail(&folder, job_id, request_sha256(&folder, delivery)?, error)?;
            self.announce_outcome(&folder, job_id)?;
        }
        metrics::counter!("framefleet_dead_letters_total", "code" => error.code().as_str()).increment(1);
        self.announcer.dead_letter(delivery, error.code(), &error.to_string(), &self.hand_back)
    }

    /// Tells the fleet how a job ended, once for all messages of it that come to this worker.
    pub fn announce_outcome(&self, folder: &JobFolder, job_id: &JobId) -> Result<()> {
        let announced = || self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        if announced().contains(job_id) {
            return Ok(());
        }
        self.announcer.outcome(folder, job_id, &self.hand_back)?;
        let mut announced = announced();
        announced.push_back(job_id.clone());
        if announced.len() > ANNOUNCED {
            announced.pop_front();
        }
        Ok(())
    }
}

/// Of the request that was accepted or, where none was, of the one that came.
fn request_sha256(folder: &JobFolder, delivery: &Delivery) -> Result<Option<Sha256>> {
    if let Some(request) = folder.request()? {
        return Ok(request.submitted.map(|submitted| submitted.sha256));
    }
    Ok(match JobMessage::parse(delivery.key.as_deref(), &delivery.value) {
        Ok(JobMessage::Request(submission)) => Some(submission.sha256()),
        _ => None,
    })
}

/// What says nothing of the work, but of where it is done.
fn is_of_surroundings(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::VolumeFull | ErrorCode::VolumeIo | ErrorCode::VolumeReadOnly | ErrorCode::KafkaUnavailable
    )
}

/// How often a message was sent again after errors.
fn handed_back(delivery: &Delivery) -> u32 {
    let header = delivery.headers.iter().find(|(name, _)| name == HANDED_BACK_HEADER);
    header.and_then(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

/// The job that a message is of, as its key says.
pub fn job_id_of(delivery: &Delivery) -> Option<JobId> {
    JobId::new(String::from_utf8(delivery.key.clone()?).ok()?).ok()
}

fn wait(pause: Duration, stop: &Stop) {
    let begin = Instant::now();
    while begin.elapsed() < pause && !stop.is_asked() {
        std::thread::sleep(LOOK.min(pause));
    }
}
