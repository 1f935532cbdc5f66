//! The role `finish`: when all segments of a job are published, they become its tracks and its outcome.
//!
//! Messages tell when to look, and the folder tells what is there. All messages of a job are in one partition, each sent
//! after its segment was published: so whoever has the last one finds all segments.

use super::detect::{accepted, announce_plan};
use super::models::LoadedModels;
use super::worker::Worker;
use crate::error::Result;
use crate::interrupt::Stop;
use crate::job::{self, Concluded, Concluding, DoneHere, Job};
use crate::progress::Display;
use crate::source::Places;
use framefleet_contract::attempt;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::parse;
use framefleet_contract::message::status::Step;
use framefleet_contract::plan::Plan;
use framefleet_contract::request::Request;
use framefleet_queue::Delivery;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What this role needs beside what all share.
#[derive(Debug)]
pub struct Finisher {
    /// Jobs that a thread of this worker looks at, and whether it is asked to look again.
    open: Mutex<HashMap<JobId, bool>>,
    /// What this process heard of jobs that it has not seen end.
    heard: Mutex<HashMap<JobId, Heard>>,
    models: LoadedModels,
    places: Places,
}

#[derive(Debug, Default)]
struct Heard {
    /// Segments that were said to be published: a network volume may list them only some time later.
    segments: BTreeSet<u32>,
    /// When the job's status was said last.
    said: Option<Instant>,
}

/// Jobs that were heard of and not seen to end are forgotten from so many on: others ended them.
const MOST_HEARD: usize = 10_000;
/// Of one job, between two statuses that only count segments.
const STATUS_PERIOD: Duration = Duration::from_millis(500);

impl Finisher {
    pub fn new(models: LoadedModels, places: Places) -> Self {
        Self { open: Mutex::default(), heard: Mutex::default(), models, places }
    }

    pub fn handle(&self, worker: &Worker, delivery: &Delivery) -> Result<()> {
        let finish: Finish = parse(delivery.key.as_deref(), &delivery.value)?;
        let job_id = &finish.job_id;
        self.hear(&finish);
        // Whoever is at it has an earlier message of the same partition, and looks again because of this one.
        let Some(mut turn) = Turn::begin(&self.open, job_id) else { return Ok(()) };
        loop {
            self.look(worker, job_id)?;
            if !turn.is_asked_again() {
                return Ok(());
            }
        }
    }

    fn look(&self, worker: &Worker, job_id: &JobId) -> Result<()> {
        let folder = JobFolder::new(&worker.volume, job_id);
        if folder.outcome()?.is_some() {
            self.heard().remove(job_id);
            return worker.announce_outcome(&folder, job_id);
        }
        // The cancellation is in the topic of jobs, and becomes the outcome there.
        if worker.cancelled.contains(job_id) {
            return Ok(());
        }
        let Some((request, plan)) = accepted(&folder)? else { return Ok(()) };
        let mut published = folder.published_segments()?;
        published.extend(self.heard().get(job_id).iter().flat_map(|heard| &heard.segments));
        let done = plan.segments.iter().filter(|segment| published.contains(&segment.index)).count();
        if done < plan.segments.len() {
            return self.say_progress(worker, &request, &plan, done);
        }
        worker.announcer.status(&request, &plan, done, Step::Tracking, &worker.hand_back)?;
        let in_hand = worker.in_flight.begin(job_id, &"finish", 0);
        let video = self.places.open(&request, &folder)?;
        let job = Job { request: &request, folder: &folder, video: &video };
        let concluded =
            worker.attempt(&folder, job_id, attempt::Step::Finish, |stop| self.conclude(worker, job, &plan, stop))?;
        drop(in_hand);
        match concluded {
            Concluded::Ended(_) => worker.announce_outcome(&folder, job_id),
            Concluded::Refuted(next) => announce_plan(worker, job, &next),
        }
    }

    fn conclude(&self, worker: &Worker, job: Job<'_>, plan: &Plan, stop: &Stop) -> Result<Concluded> {
        let class_names = self.models.class_names(&plan.model)?;
        let how = Concluding { class_names: &class_names, limits: worker.limits, progress: &Display::Hidden, stop };
        job::conclude(job, plan, DoneHere::beginning_now(0), &how)
    }

    fn say_progress(&self, worker: &Worker, request: &Request, plan: &Plan, done: usize) -> Result<()> {
        let now = Instant::now();
        {
            let mut heard = self.heard();
            let said = &mut heard.entry(request.job_id.clone()).or_default().said;
            if said.is_some_and(|before| now.duration_since(before) < STATUS_PERIOD) {
                return Ok(());
            }
            *said = Some(now);
        }
        worker.announcer.status(request, plan, done, Step::Detecting, &worker.hand_back)
    }

    fn hear(&self, finish: &Finish) {
        let mut heard = self.heard();
        if heard.len() > MOST_HEARD {
            heard.clear();
        }
        heard.entry(finish.job_id.clone()).or_default().segments.extend(finish.segment);
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<JobId, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that nobody else in this process looks at meanwhile.
struct Turn<'a> {
    open: &'a Mutex<HashMap<JobId, bool>>,
    job_id: JobId,
    is_over: bool,
}

impl<'a> Turn<'a> {
    /// `None` if somebody is at it, who is asked to look again.
    fn begin(open: &'a Mutex<HashMap<JobId, bool>>, job_id: &JobId) -> Option<Self> {
        let mut known = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(again) = known.get_mut(job_id) {
            *again = true;
            return None;
        }
        known.insert(job_id.clone(), false);
        Some(Self { open, job_id: job_id.clone(), is_over: false })
    }

    /// If not, the turn is over: whoever comes from now on begins one of his own.
    fn is_asked_again(&mut self) -> bool {
        let mut known = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let again = known.get_mut(&self.job_id).is_some_and(std::mem::take);
        if !again {
            known.remove(&self.job_id);
            self.is_over = true;
        }
        again
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.job_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_while_somebody_looks_has_him_look_again() {
        let (open, job) = (Mutex::default(), JobId::new("a").unwrap());
        let mut turn = Turn::begin(&open, &job).unwrap();
        assert!(Turn::begin(&open, &job).is_none());
        assert!(Turn::begin(&open, &JobId::new("b").unwrap()).is_some());
        assert!(turn.is_asked_again());
        assert!(!turn.is_asked_again());
        let next = Turn::begin(&open, &job).unwrap();
        drop(turn);
        assert!(Turn::begin(&open, &job).is_none(), "the turn that is over took another one's place away");
        drop(next);
        assert!(Turn::begin(&open, &job).is_some(), "after an error");
    }
}
