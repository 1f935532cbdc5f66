//! What the roles of one process share, and how a step is tried.

use super::announce::Announcer;
use super::cancelled::Cancelled;
use super::gate::Gate;
use super::in_flight::InFlightWork;
use super::standing::Standing;
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use framefleet_contract::attempt::Step;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::outcome::Outcome;
use framefleet_contract::volume::Volume;
use framefleet_contract::{Disposition, ErrorCode};
use framefleet_native::ffmpeg::limits::Limits;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// Jobs whose outcome this process has announced, the last ones. One that was removed can come again with another outcome.
    pub announced: Mutex<VecDeque<(JobId, Outcome)>>,
}

/// Between two tries in place.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
/// A step that took its worker with it so often, while nothing else ran there, is given up.
const MOST_LOSSES_ALONE: u32 = 3;
/// Late messages of a job come soon after its end.
const ANNOUNCED: usize = 1000;
const LOOK: Duration = Duration::from_millis(100);

impl Worker {
    /// One try of a step after the other, until it is done or will not be. Runs alone where a worker was lost with it.
    pub fn attempt<T>(
        &self,
        folder: &JobFolder,
        job_id: &JobId,
        step: Step,
        stop: &Stop,
        mut work: impl FnMut(&Stop) -> Result<T>,
    ) -> Result<T> {
        let mut attempt = folder.begin_attempt(step, &self.id)?;
        let losses = attempt.losses;
        if losses.alone >= MOST_LOSSES_ALONE {
            return Err(JobError::WorkerLost { step: step.to_string(), losses: losses.alone });
        }
        let running = self.cancelled.running(job_id, stop);
        let _permit = if losses.lost > 0 {
            tracing::warn!(job = %job_id, %step, "a worker was lost with it before: it runs alone");
            let permit = self.gate.alone(&running.stop)?;
            attempt.now_alone()?;
            permit
        } else {
            self.gate.beside_others(&running.stop)?
        };
        let mut pauses = PAUSES.iter();
        loop {
            running.stop.check()?;
            let error = match work(&running.stop) {
                // A plan that does not hold will not hold the next time.
                Err(error) if error.disposition() == Disposition::Retry && !error.is_refuted_plan() => error,
                other => return other,
            };
            let pause = pauses.next().filter(|_| error.code() != ErrorCode::Interrupted);
            let Some(pause) = pause else { return Err(error) };
            if self.standing.is_draining() {
                return Err(JobError::Interrupted);
            }
            tracing::warn!(job = %job_id, %step, "{}: {error}; trying again", error.code());
            metrics::counter!("framefleet_retries_total").increment(1);
            self.wait(*pause, &running.stop);
        }
    }

    /// Waits, unless it is told to stop or the worker leaves.
    pub fn wait(&self, pause: Duration, stop: &Stop) {
        let begin = Instant::now();
        while begin.elapsed() < pause && !stop.is_asked() && !self.standing.is_draining() {
            std::thread::sleep(LOOK.min(pause));
        }
    }

    /// Tells the fleet how a job ended.
    pub fn announce_outcome(&self, folder: &JobFolder, job_id: &JobId) -> Result<()> {
        self.announcer.outcome(folder, job_id, &self.hand_back)?;
        let Some(outcome) = folder.outcome()? else { return Ok(()) };
        let mut announced = self.announced();
        announced.retain(|(known, _)| known != job_id);
        announced.push_back((job_id.clone(), outcome));
        if announced.len() > ANNOUNCED {
            announced.pop_front();
        }
        Ok(())
    }

    /// The same for a job that had its outcome before: once is enough for all messages of it that still come here.
    pub fn announce_outcome_once(&self, folder: &JobFolder, job_id: &JobId) -> Result<()> {
        let outcome = folder.outcome()?;
        if self.announced().iter().any(|(known, announced)| known == job_id && Some(announced) == outcome.as_ref()) {
            return Ok(());
        }
        self.announce_outcome(folder, job_id)
    }

    fn announced(&self) -> MutexGuard<'_, VecDeque<(JobId, Outcome)>> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
