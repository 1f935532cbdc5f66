//! What a worker says to the fleet and its users. Everything is said until the broker has it; whoever is told to stop
//! meanwhile leaves it to the next one, since the message that it came from is not finished.

use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use framefleet_contract::ErrorCode;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::segment_task::{FRAMES_HEADER, MODEL_HEADER, SegmentTask};
use framefleet_contract::message::status::{Progress, Status, Step};
use framefleet_contract::message::{HANDED_BACK_HEADER, MOST_BYTES, dead_letter, to_json};
use framefleet_contract::plan::Plan;
use framefleet_contract::request::{ModelRef, Request};
use framefleet_contract::volume::Volume;
use framefleet_models::store;
use framefleet_queue::spread::Spread;
use framefleet_queue::topics::check_topics;
use framefleet_queue::{Connection, Delivery, Outgoing, Publisher, QueueError, Topics};
use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Speaks for one worker.
#[derive(Debug)]
pub struct Announcer {
    publisher: Publisher,
    connection: Connection,
    results: Volume,
    worker: String,
    /// Of the topics of segments, by queue.
    partitions: Mutex<HashMap<String, u32>>,
    spread: Spread,
}

/// Between two tries while the broker is away.
const PAUSE: Duration = Duration::from_secs(1);
/// Of a dead letter, bytes.
const LONGEST_KEY: usize = 1024;
const LONGEST_REASON: usize = 4096;
/// Segments that are on their way to the broker at once: of a long film, not all.
const SEGMENTS_AT_ONCE: usize = 512;

impl Announcer {
    pub fn new(connection: &Connection, results: &Volume, worker: &str) -> std::result::Result<Self, QueueError> {
        Ok(Self {
            publisher: Publisher::new(connection)?,
            connection: connection.clone(),
            results: results.clone(),
            worker: worker.to_owned(),
            partitions: Mutex::default(),
            spread: Spread::new(worker),
        })
    }

    /// Sends the segments of a plan, spread over all partitions of the job's queue.
    pub fn segments(&self, request: &Request, plan: &Plan, missing: &[u32], stop: &Stop) -> Result<()> {
        let queue = queue_of(request);
        let topic = self.topics().segments(queue);
        let partitions = self.partitions_of(queue)?;
        let memory_bytes = self.memory_of(&plan.model);
        let tasks: Vec<(i32, SegmentTask)> = missing
            .iter()
            .map(|index| {
                let frames = frames_to_infer(plan, *index, request.settings.every);
                let mut task =
                    SegmentTask::new(request.job_id.clone(), *index, queue.to_owned(), plan.model.clone(), frames);
                task.deadline = request.submitted.as_ref().and_then(|submitted| submitted.deadline.clone());
                task.memory_bytes = memory_bytes;
                (self.spread.next(partitions), task)
            })
            .collect();
        for tasks in tasks.chunks(SEGMENTS_AT_ONCE) {
            until_told_otherwise(stop, || {
                let begin = |(partition, task): &(i32, SegmentTask)| {
                    let (json, frames) = (to_json(task), task.frames.to_string());
                    let headers =
                        [(FRAMES_HEADER, frames.as_bytes()), (MODEL_HEADER, task.model.sha256.as_str().as_bytes())];
                    let message = Outgoing::new(&topic, task.job_id.as_str(), &json);
                    self.publisher.begin(Outgoing { partition: Some(*partition), headers: &headers, ..message })
                };
                let pending = tasks.iter().map(begin).collect::<std::result::Result<Vec<_>, _>>()?;
                pending.into_iter().try_for_each(|pending| pending.wait().map(|_| ()))
            })?;
        }
        Ok(())
    }

    pub fn finish(&self, finish: &Finish, stop: &Stop) -> Result<()> {
        self.send(Outgoing::new(&self.topics().finish(), finish.job_id.as_str(), &to_json(finish)), stop)
    }

    pub fn status(&self, request: &Request, plan: &Plan, published: usize, step: Step, stop: &Stop) -> Result<()> {
        let submitted = request.submitted.as_ref();
        let first = plan.segments.first().map_or(0, |segment| segment.index);
        let status = Status {
            version: framefleet_contract::request::VERSION,
            job_id: request.job_id.clone(),
            progress: Progress {
                // A plan that takes another one's place begins with the number behind that one's last.
                plan: first,
                step,
                segments_done: published as u32,
                segments: plan.segments.len() as u32,
            },
            source: request.source.shown().display().to_string(),
            model: plan.model.clone(),
            queue: queue_of(request).to_owned(),
            labels: submitted.map(|submitted| submitted.labels.clone()).unwrap_or_default(),
            deadline: submitted.and_then(|submitted| submitted.deadline.clone()),
            request_sha256: submitted.map(|submitted| submitted.sha256.clone()),
        };
        self.send(Outgoing::new(&self.topics().status(), status.job_id.as_str(), &to_json(&status)), stop)
    }

    /// Says how a job ended, in the bytes of its `outcome.json`.
    pub fn outcome(&self, folder: &JobFolder, job_id: &JobId, stop: &Stop) -> Result<()> {
        let path = folder.path_of(framefleet_contract::job_folder::OUTCOME);
        let json = fs::read(&path).map_err(|e| framefleet_contract::volume::read_error(&path, e))?;
        self.send(Outgoing::new(&self.topics().outcomes(), job_id.as_str(), &json), stop)
    }

    pub fn cancellation_is_done(&self, job_id: &JobId, stop: &Stop) -> Result<()> {
        self.send(Outgoing::taken_back(&self.topics().control(), job_id.as_str()), stop)
    }

    /// Takes back everything that is said of a job that was removed.
    pub fn forget(&self, job_id: &JobId, stop: &Stop) -> Result<()> {
        for topic in self.topics().words_on_a_job() {
            self.send(Outgoing::taken_back(&topic, job_id.as_str()), stop)?;
        }
        Ok(())
    }

    /// Gives a message up: its bytes, and where it came from and why.
    pub fn dead_letter(&self, delivery: &Delivery, code: ErrorCode, reason: &str, stop: &Stop) -> Result<()> {
        let (partition, offset) = (delivery.partition.to_be_bytes(), delivery.offset.to_be_bytes());
        let timestamp = delivery.timestamp_ms.to_be_bytes();
        let group = Topics::group(&delivery.topic);
        let headers: [(&str, &[u8]); 8] = [
            (dead_letter::ORIGINAL_TOPIC, delivery.topic.as_bytes()),
            (dead_letter::ORIGINAL_PARTITION, &partition),
            (dead_letter::ORIGINAL_OFFSET, &offset),
            (dead_letter::ORIGINAL_TIMESTAMP, &timestamp),
            (dead_letter::ORIGINAL_CONSUMER_GROUP, group.as_bytes()),
            (dead_letter::EXCEPTION_MESSAGE, &reason.as_bytes()[..reason.floor_char_boundary(LONGEST_REASON)]),
            (dead_letter::ERROR_CODE, code.as_str().as_bytes()),
            (dead_letter::WORKER, self.worker.as_bytes()),
        ];
        // Of what is too large to be read, the beginning is enough to see whose it is.
        let key = delivery.key.as_deref().unwrap_or_default();
        let key = String::from_utf8_lossy(&key[..key.len().min(LONGEST_KEY)]).into_owned();
        let value = &delivery.value[..delivery.value.len().min(MOST_BYTES)];
        let topic = self.topics().dead_letters();
        self.send(Outgoing { headers: &headers, ..Outgoing::new(&topic, &key, value) }, stop)
    }

    /// Puts a message at the end of its queue again.
    pub fn hand_back(&self, delivery: &Delivery, times: u32, stop: &Stop) -> Result<()> {
        let times = times.to_string();
        let others = delivery.headers.iter().filter(|(name, _)| name != HANDED_BACK_HEADER);
        let mut headers: Vec<(&str, &[u8])> = others.map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        headers.push((HANDED_BACK_HEADER, times.as_bytes()));
        let key = String::from_utf8_lossy(delivery.key.as_deref().unwrap_or_default()).into_owned();
        let message = Outgoing::new(&delivery.topic, &key, &delivery.value);
        self.send(Outgoing { partition: Some(delivery.partition), headers: &headers, ..message }, stop)
    }

    pub fn topics(&self) -> &Topics {
        self.connection.topics()
    }

    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    fn send(&self, message: Outgoing<'_>, stop: &Stop) -> Result<()> {
        until_told_otherwise(stop, || self.publisher.send(message).map(|_| ()))
    }

    /// What the model took when it was tried out. Whoever sizes a fleet can do without.
    fn memory_of(&self, model: &ModelRef) -> Option<u64> {
        match store::report(self.results.root(), &model.sha256) {
            Ok(report) => report.map(|report| report.memory_bytes).filter(|bytes| *bytes > 0),
            Err(error) => {
                tracing::debug!("not known how much memory model {} takes: {error}", model.name);
                None
            }
        }
    }

    /// # Errors
    /// A queue that has no topic.
    pub fn check_queue(&self, queue: &str) -> Result<()> {
        self.partitions_of(queue).map(|_| ())
    }

    fn partitions_of(&self, queue: &str) -> Result<u32> {
        let mut known = self.partitions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(partitions) = known.get(queue) {
            return Ok(*partitions);
        }
        let partitions = check_topics(&self.connection, &[self.topics().segments(queue)]);
        let partitions = partitions.map_err(|error| match error {
            QueueError::Topics { .. } => {
                JobError::BadRequest(format!("this fleet has no queue {queue}; ask for another"))
            }
            other => JobError::Queue(other),
        })?;
        let partitions = partitions.first().copied().unwrap_or(1);
        known.insert(queue.to_owned(), partitions);
        Ok(partitions)
    }
}

/// The queue that a job's segments wait in.
pub fn queue_of(request: &Request) -> &str {
    let default = framefleet_contract::message::submission::DEFAULT_QUEUE;
    request.submitted.as_ref().map_or(default, |submitted| submitted.queue.as_str())
}

/// Of a segment, about: packets that show no frame count too.
fn frames_to_infer(plan: &Plan, index: u32, every: u32) -> u64 {
    let segment = plan.segments.iter().find(|segment| segment.index == index);
    segment.map_or(0, |segment| (segment.end - segment.start).div_ceil(every.into()))
}

/// Says it again while the broker is away.
fn until_told_otherwise(stop: &Stop, mut say: impl FnMut() -> std::result::Result<(), QueueError>) -> Result<()> {
    loop {
        match say() {
            Err(error @ QueueError::Unavailable { .. }) => {
                tracing::warn!("{error}; trying again");
                stop.check()?;
                std::thread::sleep(PAUSE);
                stop.check()?;
            }
            other => return Ok(other?),
        }
    }
}
