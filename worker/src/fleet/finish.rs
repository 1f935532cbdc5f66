//! The role `finish`: when all segments of a job are published, they become its tracks and its outcome.
//!
//! Messages tell when to look, and the folder tells what is there. All messages of a job are in one partition, each sent
//! after its segment was published: so whoever has the last one finds all segments.

use super::detect::{accepted, announce_once};
use super::models::LoadedModels;
use super::occupied::Occupied;
use super::worker::Worker;
use crate::error::{JobError, Result};
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
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What this role needs beside what all share.
#[derive(Debug)]
pub struct Finisher {
    /// Jobs that a thread of this worker looks at.
    open: Occupied<JobId>,
    /// Jobs of which all segments were found, with the assignment by which the message came that is worked on.
    concluding: Mutex<HashMap<JobId, u64>>,
    /// When a job's status was said last.
    said: Mutex<HashMap<JobId, Instant>>,
    models: LoadedModels,
    places: Places,
}

/// Statuses of so many jobs are remembered; then the next ones are said a little too often.
const MOST_SAID: usize = 10_000;
/// Of one job, between two statuses that only count segments.
const STATUS_PERIOD: Duration = Duration::from_millis(500);
/// Segments that a listing lacks are looked for by name if they are so few: a network volume may list late.
const MOST_LOOKED_FOR: usize = 32;

impl Finisher {
    pub fn new(models: LoadedModels, places: Places) -> Self {
        Self { open: Occupied::default(), concluding: Mutex::default(), said: Mutex::default(), models, places }
    }

    pub fn handle(&self, worker: &Worker, delivery: &Delivery) -> Result<()> {
        let finish: Finish = parse(delivery.key.as_deref(), &delivery.value)?;
        let job_id = &finish.job_id;
        // While another message of the same assignment is held until the job has its outcome, this one brings nothing on. It
        // would keep a thread from other jobs, for an hour where a long video is drawn.
        let is_concluded = || self.concluding().get(job_id) == Some(&delivery.assignment());
        let Some(_ours) = self.open.wait_unless(job_id, &worker.hand_back, is_concluded)? else { return Ok(()) };
        let folder = JobFolder::new(&worker.volume, job_id);
        if folder.outcome()?.is_some() {
            return worker.announce_outcome_once(&folder, job_id);
        }
        // The cancellation is in the topic of jobs, and becomes the outcome there.
        if worker.cancelled.contains(job_id) {
            return Ok(());
        }
        let Some((request, plan)) = accepted(&folder)? else { return Ok(()) };
        if let Some(segment) = finish.segment
            && !folder.has_segment(segment)?
        {
            // It was published before this was said. So whoever has a job's last message sees all segments.
            return Err(JobError::NotSeenYet { path: folder.path() });
        }
        let video = self.places.open(&request, &folder)?;
        let job = Job { request: &request, folder: &folder, video: &video };
        if plan.segments.first().is_some_and(|first| first.index > 0) {
            // It took another one's place, and whoever put it may have been killed before he said so.
            announce_once(worker, job, &plan)?;
        }
        let missing = missing(&folder, &plan)?;
        if missing > 0 {
            return self.say_progress(worker, &request, &plan, plan.segments.len() - missing);
        }
        worker.announcer.status(&request, &plan, plan.segments.len(), Step::Tracking, &worker.hand_back)?;
        let in_hand = worker.in_flight.begin(job_id, &"finish", 0, &worker.hand_back);
        let step = attempt::Step::Finish;
        let begun = self.begin_concluding(job_id, delivery.assignment());
        let concluded =
            worker.attempt(&folder, job_id, step, &in_hand.stop, |stop| self.conclude(worker, job, &plan, stop))?;
        drop((begun, in_hand));
        match concluded {
            Concluded::Ended(_) => worker.announce_outcome(&folder, job_id),
            Concluded::Refuted(next) => announce_once(worker, job, &next),
        }
    }

    fn begin_concluding<'a>(&'a self, job_id: &'a JobId, assignment: u64) -> Begun<'a> {
        self.concluding().insert(job_id.clone(), assignment);
        Begun { finisher: self, job_id }
    }

    fn concluding(&self) -> MutexGuard<'_, HashMap<JobId, u64>> {
        self.concluding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn conclude(&self, worker: &Worker, job: Job<'_>, plan: &Plan, stop: &Stop) -> Result<Concluded> {
        let class_names = self.models.class_names(&plan.model)?;
        let how = Concluding { class_names: &class_names, limits: worker.limits, progress: &Display::Hidden, stop };
        job::conclude(job, plan, DoneHere::beginning_now(0), &how)
    }

    fn say_progress(&self, worker: &Worker, request: &Request, plan: &Plan, done: usize) -> Result<()> {
        if self.is_time_to_say(&request.job_id) {
            worker.announcer.status(request, plan, done, Step::Detecting, &worker.hand_back)?;
        }
        Ok(())
    }

    fn is_time_to_say(&self, job_id: &JobId) -> bool {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() > MOST_SAID {
            said.clear();
        }
        let is_time = said.get(job_id).is_none_or(|before| now.duration_since(*before) >= STATUS_PERIOD);
        if is_time {
            said.insert(job_id.clone(), now);
        }
        is_time
    }
}

/// A job that is being concluded, until this is dropped.
struct Begun<'a> {
    finisher: &'a Finisher,
    job_id: &'a JobId,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.finisher.concluding().remove(self.job_id);
    }
}

/// How many segments of the plan are not published.
fn missing(folder: &JobFolder, plan: &Plan) -> Result<usize> {
    let missing = folder.missing_segments(plan)?;
    if missing.len() > MOST_LOOKED_FOR {
        return Ok(missing.len());
    }
    let mut left = 0;
    for segment in &missing {
        left += usize::from(!folder.has_segment(segment.index)?);
    }
    Ok(left)
}
