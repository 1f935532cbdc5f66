//! The role `detect`: a segment that waits becomes a segment that is published.

use super::measured::Measured;
use super::models::LoadedModels;
use super::occupied::Occupied;
use super::worker::Worker;
use crate::error::{JobError, Result};
use crate::infer::InferencePool;
use crate::interrupt::Stop;
use crate::job::{self, Detecting, Job};
use crate::progress::Display;
use crate::source::Places;
use framefleet_contract::attempt::Step;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::parse;
use framefleet_contract::message::segment_task::SegmentTask;
use framefleet_contract::plan::{Plan, Segment};
use framefleet_contract::request::Request;
use framefleet_queue::Delivery;

/// What this role needs beside what all share.
#[derive(Debug)]
pub struct DetectRole {
    pub pool: InferencePool,
    pub models: LoadedModels,
    pub measured: Measured,
    pub places: Places,
    /// The segments that threads of this worker are at.
    pub open: Occupied<(JobId, u32)>,
}

/// A segment of a job that still has to be detected.
struct Work {
    request: Request,
    plan: Plan,
    segment: Segment,
}

impl DetectRole {
    pub fn handle(&self, worker: &Worker, delivery: &Delivery) -> Result<()> {
        let task: SegmentTask = parse(delivery.key.as_deref(), &delivery.value)?;
        let folder = JobFolder::new(&worker.volume, &task.job_id);
        // A segment may wait twice, as where a job was submitted again.
        let _ours = self.open.wait_for(&(task.job_id.clone(), task.segment), &worker.hand_back)?;
        if let Some(work) = self.wanted(worker, &folder, &task)? {
            let in_hand = worker.in_flight.begin(&task.job_id, &task.segment, task.frames, &worker.hand_back);
            let step = Step::Segment(task.segment);
            let detected = worker.attempt(&folder, &task.job_id, step, &in_hand.stop, |stop| {
                self.detect(worker, &folder, &work, &Display::Counted(in_hand.done.clone()), stop)
            });
            match detected {
                Err(JobError::PlanRefuted { reason }) => return self.replan(worker, &folder, &work, reason),
                other => other?,
            }
        }
        if folder.has_segment(task.segment)? {
            // Also where it was there before: whoever published it may not have come to say so.
            worker.announcer.finish(&Finish::of_segment(task.job_id, task.segment), &worker.hand_back)?;
        }
        Ok(())
    }

    fn detect(&self, worker: &Worker, folder: &JobFolder, work: &Work, progress: &Display, stop: &Stop) -> Result<()> {
        let Work { request, plan, segment } = work;
        let serving = self.models.serving(&plan.model)?;
        let how =
            Detecting { pool: &self.pool, serving: &serving, recorded: None, limits: worker.limits, progress, stop };
        let video = self.places.open(request, folder)?;
        let detected = job::detect(Job { request, folder, video: &video }, plan, std::slice::from_ref(segment), &how)?;
        self.measured.add(&plan.model.sha256, detected.inferred.frames, detected.inferred.busy_s);
        Ok(())
    }

    /// The video does not give what the plan says: its segments are those of the plan that takes this one's place.
    fn replan(&self, worker: &Worker, folder: &JobFolder, work: &Work, reason: String) -> Result<()> {
        let video = self.places.open(&work.request, folder)?;
        let job = Job { request: &work.request, folder, video: &video };
        let next = job::next_plan(job, &work.plan, reason)?;
        announce_once(worker, job, &next)
    }

    /// Whether somebody still waits for the segment, and what it is.
    fn wanted(&self, worker: &Worker, folder: &JobFolder, task: &SegmentTask) -> Result<Option<Work>> {
        let is_over =
            worker.cancelled.contains(&task.job_id) || folder.has_segment(task.segment)? || folder.outcome()?.is_some();
        if is_over {
            return Ok(None);
        }
        // Without a request, the job was deleted.
        let Some((request, plan)) = accepted(folder)? else { return Ok(None) };
        if let Some(segment) = plan.segments.iter().find(|segment| segment.index == task.segment).copied() {
            return Ok(Some(Work { request, plan, segment }));
        }
        if !is_of_former_plan(task.segment, &plan) {
            // A later plan's, which is not to be seen here yet.
            return Err(JobError::NotSeenYet { path: folder.path() });
        }
        // Whoever put the plan that took its place may have been killed before he said so.
        let video = self.places.open(&request, folder)?;
        announce_once(worker, Job { request: &request, folder, video: &video }, &plan)?;
        Ok(None)
    }
}

/// The request and the plan of a job of which somebody has spoken. `None` if it was deleted.
///
/// # Errors
/// They are not there, and the folder is: on a network volume they may be seen later.
pub fn accepted(folder: &JobFolder) -> Result<Option<(Request, Plan)>> {
    match (folder.request()?, folder.plan()?) {
        (Some(request), Some(plan)) => Ok(Some((request, plan))),
        _ if folder.path().is_dir() => Err(JobError::NotSeenYet { path: folder.path() }),
        _ => Ok(None),
    }
}

/// Whether a segment is of a plan that another one took the place of.
fn is_of_former_plan(segment: u32, plan: &Plan) -> bool {
    plan.segments.first().is_some_and(|first| segment < first.index)
}

/// Sends the segments of a plan that took another one's place, unless that was done: every message of the former plan asks
/// for it.
pub fn announce_once(worker: &Worker, job: Job<'_>, plan: &Plan) -> Result<()> {
    let first = plan.segments.first().map_or(0, |first| first.index);
    if job.folder.is_announced(first)? {
        return Ok(());
    }
    let missing: Vec<u32> = job.folder.missing_segments(plan)?.iter().map(|segment| segment.index).collect();
    worker.announcer.segments(job.request, plan, &missing, &worker.hand_back)?;
    if missing.is_empty() {
        worker.announcer.finish(&Finish::look(job.request.job_id.clone()), &worker.hand_back)?;
    }
    Ok(job.folder.put_announced(first)?)
}
