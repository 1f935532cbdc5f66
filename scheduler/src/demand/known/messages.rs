//! What the messages of each topic say.

use super::{Known, Moment, Role};
use crate::demand::backlog::{Message, without_inference};
use crate::demand::jobs::Second;
use crate::demand::kinds::Kind;
use crate::demand::{Lane, Model};
use framefleet_contract::message::HANDED_BACK_HEADER;
use framefleet_contract::message::control::{Action, Control};
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::parse;
use framefleet_contract::message::segment_task::SegmentTask;
use framefleet_contract::message::submission::JobMessage;
use framefleet_queue::Record;
use jiff::Timestamp;

/// In the place of a segment's number, where a message is about something else.
const NO_SEGMENT: u32 = u32::MAX;
const CANCELLATION: u32 = NO_SEGMENT - 1;

impl Known {
    /// Takes a record of one of the topics.
    pub fn take(&mut self, record: &Record, now: Moment) {
        let Some(role) = self.roles.get(&record.topic).cloned() else { return };
        if let Some(source) = self.sources.get_mut(&role) {
            source.reading.read(record.partition, record.offset);
        }
        match role {
            Role::Lane(lane) => self.take_of_lane(&lane, record, now),
            Role::Outcomes => self.take_outcome(record, now),
            Role::Control => self.take_control(record, now),
            Role::Workers => self.roster.take(record, now.instant),
        }
    }

    fn take_of_lane(&mut self, lane: &Lane, record: &Record, now: Moment) {
        let message = match lane {
            Lane::Plan => Some(self.of_jobs(record, now)),
            Lane::Detect(_) => self.of_segments(record, now),
            Lane::Finish => self.of_finish(record, now),
        };
        // What cannot be read is given up by whoever comes for other work: nobody starts for it.
        let Some(message) = message else { return };
        let Some(known) = self.lanes.get_mut(lane) else { return };
        if !record.headers.contains_key(HANDED_BACK_HEADER) {
            known.came(&message);
        }
        known.take(&mut self.jobs, &message);
    }

    /// Whatever comes to the topic of jobs wants an answer, also if that is only a dead letter.
    fn of_jobs(&mut self, record: &Record, now: Moment) -> Message {
        let at = when(record, now);
        let parsed = JobMessage::parse(record.key.as_deref(), record.value.as_deref().unwrap_or_default());
        let piece = parsed.ok().map(|message| {
            let job = self.jobs.number(message.job_id().as_str(), now.second());
            if let JobMessage::Cancellation(_) = message {
                self.jobs.cancelled(job, at);
                return (job, CANCELLATION);
            }
            (job, NO_SEGMENT)
        });
        let (partition, offset) = (record.partition, record.offset);
        Message { partition, offset, at, piece, units: 1, kind: without_inference(Model::plan()) }
    }

    fn of_segments(&mut self, record: &Record, now: Moment) -> Option<Message> {
        /// A video of a day in one piece. Whatever a message says, it buys no more than that.
        const MOST_FRAMES: u32 = 5_000_000;
        let task: SegmentTask = parse(record.key.as_deref(), record.value.as_deref()?).ok()?;
        let job = self.jobs.number(task.job_id.as_str(), now.second());
        Some(Message {
            partition: record.partition,
            offset: record.offset,
            at: when(record, now),
            piece: Some((job, task.segment)),
            units: u32::try_from(task.frames).unwrap_or(u32::MAX).min(MOST_FRAMES),
            kind: Kind {
                model: self.model(task.model.sha256.as_str()),
                deadline_ms: task.deadline.as_deref().and_then(milliseconds),
                memory: task.memory_bytes,
            },
        })
    }

    fn of_finish(&mut self, record: &Record, now: Moment) -> Option<Message> {
        let finish: Finish = parse(record.key.as_deref(), record.value.as_deref()?).ok()?;
        let (at, job) = (when(record, now), self.jobs.number(finish.job_id.as_str(), now.second()));
        if let Some(segment) = finish.segment {
            self.jobs.published(job, segment, at);
        }
        Some(Message {
            partition: record.partition,
            offset: record.offset,
            at,
            piece: Some((job, finish.segment.unwrap_or(NO_SEGMENT))),
            units: 1,
            kind: without_inference(Model::finish()),
        })
    }

    fn take_outcome(&mut self, record: &Record, now: Moment) {
        let Some(job) = key(record) else { return };
        let job = self.jobs.number(job, now.second());
        match record.value {
            Some(_) => self.jobs.ended(job),
            None => self.jobs.forgotten(job, when(record, now)),
        }
    }

    /// That a cancellation is taken back says nothing: the job has its outcome by then, or was removed.
    fn take_control(&mut self, record: &Record, now: Moment) {
        let control = record.value.as_deref().map(|value| parse::<Control>(record.key.as_deref(), value));
        if let Some(Ok(Control { job_id, action: Action::Cancel, .. })) = control {
            let job = self.jobs.number(job_id.as_str(), now.second());
            self.jobs.cancelled(job, when(record, now));
        }
    }

    /// Most messages have the model of the one before.
    fn model(&mut self, sha256: &str) -> Model {
        if self.last_model.as_str() != sha256 {
            self.last_model = Model::new(sha256);
        }
        self.last_model.clone()
    }
}

fn key(record: &Record) -> Option<&str> {
    record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok())
}

/// When it came: not later than it was read, whatever the clock of its sender says, and now where it does not say.
fn when(record: &Record, now: Moment) -> Second {
    let said = Second::try_from(record.timestamp_ms / 1000).ok().filter(|said| *said > 0);
    said.unwrap_or(Second::MAX).min(now.second())
}

/// Of a time such as `2026-03-01T12:00:00Z`, since 1970.
fn milliseconds(time: &str) -> Option<i64> {
    time.parse().ok().map(Timestamp::as_millisecond)
}
