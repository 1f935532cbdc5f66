//! The role `plan`: a request becomes a job with a model, a plan and segments that wait; a cancellation becomes an outcome.

use super::models::PlannedModels;
use super::worker::Worker;
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::job::{self, Job, Planning};
use crate::source::Places;
use framefleet_contract::ErrorCode;
use framefleet_contract::attempt;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::{JobFolder, JobFolderError};
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::status::Step;
use framefleet_contract::message::submission::{JobMessage, Submission};
use framefleet_contract::outcome::{Outcome, State};
use framefleet_contract::request::{Request, Submitted, VERSION};
use framefleet_queue::Delivery;
use std::ffi::OsStr;

/// What this role needs beside what all share.
#[derive(Debug)]
pub struct Planner {
    pub models: PlannedModels,
    pub places: Places,
    /// Least length of a segment.
    pub segment_seconds: f64,
}

impl Planner {
    pub fn handle(&self, worker: &Worker, delivery: &Delivery) -> Result<()> {
        match JobMessage::parse(delivery.key.as_deref(), &delivery.value)? {
            JobMessage::Request(submission) => self.take_on(worker, &submission),
            JobMessage::Cancellation(cancellation) => cancel(worker, &cancellation.job_id),
        }
    }

    fn take_on(&self, worker: &Worker, submission: &Submission) -> Result<()> {
        let job_id = &submission.job_id;
        let folder = JobFolder::new(&worker.volume, job_id);
        if let Some(outcome) = folder.outcome()? {
            let same = outcome.request_sha256.as_ref().is_none_or(|sha256| *sha256 == submission.sha256());
            return if same { worker.announce_outcome_once(&folder, job_id) } else { Err(conflict(&folder, job_id)) };
        }
        if worker.cancelled.contains(job_id) {
            return cancel(worker, job_id);
        }
        let in_hand = worker.in_flight.begin(job_id, &"plan", 0, &worker.hand_back);
        let (step, stop) = (attempt::Step::Plan, &in_hand.stop);
        worker.attempt(&folder, job_id, step, stop, |stop| self.plan(worker, &folder, submission, stop))?;
        drop(in_hand);
        Ok(())
    }

    /// Every part of it can be done again: what is there already counts.
    fn plan(&self, worker: &Worker, folder: &JobFolder, submission: &Submission, stop: &Stop) -> Result<()> {
        let request = match folder.request()? {
            Some(accepted) => accepted,
            None => self.resolve(worker, submission, stop)?,
        };
        refuse_another(&request, submission, folder)?;
        // Whoever accepted it may have been killed before the URL was there for others.
        let url = Places::url_of(OsStr::new(&submission.source))?;
        // At the same moment it may have been accepted with a newer version of its model, or another one under the same id:
        // what is there counts.
        let accepted = job::accept(&worker.volume, &request, url.as_ref());
        let request = folder.request()?.unwrap_or(request);
        refuse_another(&request, submission, folder)?;
        match accepted {
            Err(error) if error.code() == ErrorCode::JobConflict => {
                job::accept(&worker.volume, &request, url.as_ref())?
            }
            accepted => accepted?,
        };
        let video = self.places.open(&request, folder)?;
        let job = Job { request: &request, folder, video: &video };
        let plan = job::plan(job, &Planning { segment_seconds: self.segment_seconds, limits: worker.limits, stop })?;
        let missing: Vec<u32> = folder.missing_segments(&plan)?.iter().map(|segment| segment.index).collect();
        stop.check()?;
        worker.announcer.status(&request, &plan, plan.segments.len() - missing.len(), Step::Detecting, stop)?;
        worker.announcer.segments(&request, &plan, &missing, stop)?;
        if missing.is_empty() {
            worker.announcer.finish(&Finish::look(submission.job_id.clone()), stop)?;
        }
        Ok(())
    }

    /// From what was asked for to what will be done: which file exactly, which model, and every setting.
    fn resolve(&self, worker: &Worker, submission: &Submission, stop: &Stop) -> Result<Request> {
        let source = self.places.identify(OsStr::new(&submission.source))?.source;
        let checked = self.models.pinned(submission.model.as_deref(), stop)?;
        let model = &checked.model;
        let settings = job::settings(&submission.settings, &model.manifest.defaults)?;
        let model_ref =
            framefleet_contract::request::ModelRef { name: model.name.clone(), sha256: model.sha256.clone() };
        let mut request =
            Request::new(Some(submission.job_id.clone()), source, model_ref, settings, submission.outputs);
        request.submitted = Some(Submitted {
            sha256: submission.sha256(),
            queue: submission.queue.clone(),
            deadline: submission.deadline.clone(),
            labels: submission.labels.clone(),
        });
        job::check_classes(&request, &model.manifest)?;
        // A queue that nobody has is found here, and not when the plan is made.
        worker.announcer.check_queue(&submission.queue)?;
        Ok(request)
    }
}

/// Ends a job, also one that was never asked for: whoever asks later finds it cancelled.
fn cancel(worker: &Worker, job_id: &JobId) -> Result<()> {
    let folder = JobFolder::new(&worker.volume, job_id);
    let request_sha256 = folder.request()?.and_then(|request| request.submitted).map(|submitted| submitted.sha256);
    let outcome = Outcome {
        version: VERSION,
        job_id: job_id.clone(),
        state: State::Cancelled,
        error: None,
        files: Vec::new(),
        request_sha256,
    };
    folder.put_outcome(&outcome)?;
    worker.announce_outcome(&folder, job_id)?;
    worker.announcer.cancellation_is_done(job_id, &worker.hand_back)
}

fn refuse_another(request: &Request, submission: &Submission, folder: &JobFolder) -> Result<()> {
    let is_this_one = request.submitted.as_ref().is_some_and(|submitted| submitted.sha256 == submission.sha256());
    if is_this_one { Ok(()) } else { Err(conflict(folder, &submission.job_id)) }
}

fn conflict(folder: &JobFolder, job_id: &JobId) -> JobError {
    let path = folder.path();
    JobFolderError::Conflict { job_id: job_id.clone(), path, difference: "what was asked for".to_owned() }.into()
}
