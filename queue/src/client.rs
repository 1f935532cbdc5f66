//! What users of a fleet need: to hand in work, to see how it stands, to take it back, and to look at what was given up.

use crate::board::{Board, Job, JobState};
use crate::connection::Connection;
use crate::error::QueueError;
use crate::publish::{Outgoing, Pending, Place, Publisher};
use crate::read::{From, Reader, Record};
use crate::retry::Retry;
use crate::roster::{self, Roster};
use crate::topics::check_topics;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::control::Control;
use framefleet_contract::message::submission::{Cancellation, JobMessage, Submission};
use framefleet_contract::message::{self, dead_letter};
use std::time::{Duration, Instant};

/// A user of a fleet. It needs nothing but the broker.
///
/// ```no_run
/// use framefleet_contract::identity::JobId;
/// use framefleet_contract::message::submission::Submission;
/// use framefleet_queue::{Connection, client::Client};
/// use std::{collections::BTreeMap, time::Duration};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let client = Client::new(Connection::new("localhost:9092", "framefleet", BTreeMap::new())?)?;
///     let request = Submission {
///         model: Some("street".to_owned()),
///         ..Submission::new(JobId::new("crossing-7")?, "/videos/crossing.mp4")
///     };
///     // Before the request, so that nothing is missed.
///     let mut watch = client.watch()?;
///     client.submit(&request)?.wait()?;
///     while watch.ended(&request)?.is_none() {
///         watch.follow(Duration::from_millis(200))?;
///     }
///     println!("{:?}", watch.ended(&request)?);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    publisher: Publisher,
}

/// How long a broker that stops answering is waited for while a topic is read.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what a caller may want meanwhile.
const LOOK: Duration = Duration::from_millis(100);

impl Client {
    pub fn new(connection: Connection) -> Result<Self, QueueError> {
        let publisher = Publisher::new(&connection)?;
        Ok(Self { connection, publisher })
    }

    /// Asks whether there is a fleet: a message to nobody would be tried for a minute.
    ///
    /// # Errors
    /// The broker does not answer soon, or the fleet's topics are not there.
    pub fn check(&self) -> Result<(), QueueError> {
        let topics = self.connection.topics();
        check_topics(&self.connection, &[topics.jobs(), topics.control()]).map(|_| ())
    }

    /// Asks whether the fleet has a queue of this name.
    ///
    /// # Errors
    /// It has not, or the broker does not answer.
    pub fn check_queue(&self, queue: &str) -> Result<(), QueueError> {
        match check_topics(&self.connection, &[self.connection.topics().segments(queue)]) {
            Err(QueueError::Topics { .. }) => Err(QueueError::BadRequest(format!(
                "the fleet has no queue {queue}; give one that was made with `framefleet topics apply`"
            ))),
            other => other.map(|_| ()),
        }
    }

    /// Sends a request. It is the fleet's once the broker has it: [`Pending::wait`].
    ///
    /// # Errors
    /// It asks for what cannot be meant, or is too large.
    pub fn submit(&self, submission: &Submission) -> Result<Pending, QueueError> {
        submission.check().map_err(|e| QueueError::BadRequest(e.to_string()))?;
        self.tell_jobs(&JobMessage::Request(Box::new(submission.clone())))
    }

    /// Asks that a job ends. Works before it was submitted, and when no worker runs. A job that has its outcome keeps it.
    pub fn cancel(&self, job_id: &JobId) -> Result<(), QueueError> {
        // First the one that is kept until somebody acts on it, then the one that reaches running work at once.
        self.tell_jobs(&JobMessage::Cancellation(Cancellation::new(job_id.clone())))?.wait()?;
        let control = message::to_json(&Control::cancel(job_id.clone()));
        self.publisher.send(Outgoing::new(&self.connection.topics().control(), job_id.as_str(), &control))?;
        Ok(())
    }

    /// Takes back everything that is said of a job that was removed. A call that was cut off can be made again.
    pub fn forget(&self, job_id: &JobId) -> Result<(), QueueError> {
        for topic in self.connection.topics().words_on_a_job() {
            self.publisher.send(Outgoing::taken_back(&topic, job_id.as_str()))?;
        }
        Ok(())
    }

    /// Everything that is known of all jobs.
    pub fn board(&self) -> Result<Board, QueueError> {
        Ok(self.watch()?.board)
    }

    /// Everything that is known of all jobs, and what comes.
    pub fn watch(&self) -> Result<Watch, QueueError> {
        let topics = self.connection.topics().clone();
        let mut reader = Reader::open(&self.connection, &Board::topics(&topics), From::Beginning)?;
        let mut board = Board::default();
        reader.read_all(PATIENCE, |record| {
            board.take(&topics, &record);
            Ok(())
        })?;
        Ok(Watch { reader, board, connection: self.connection.clone() })
    }

    /// The workers that live, and what they say of themselves from now on.
    pub fn workers(&self) -> Result<Workers, QueueError> {
        let topic = self.connection.topics().workers();
        let reader = Reader::open(&self.connection, &[topic], From::Last(roster::LIFETIME))?;
        let mut workers = Workers { reader, roster: Roster::default() };
        let (reader, roster) = (&mut workers.reader, &mut workers.roster);
        reader.read_all(PATIENCE, |record| {
            roster.take(&record, Instant::now());
            Ok(())
        })?;
        Ok(workers)
    }

    /// What was given up, oldest first.
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, QueueError> {
        let mut letters = Vec::new();
        let topic = self.connection.topics().dead_letters();
        Reader::open(&self.connection, &[topic], From::Beginning)?.read_all(PATIENCE, |record| {
            letters.push(DeadLetter::of(record));
            Ok(())
        })?;
        letters.sort_by_key(|letter: &DeadLetter| letter.timestamp_ms);
        Ok(letters)
    }

    /// Sends the bytes of a dead letter back to where they came from.
    ///
    /// # Errors
    /// A letter that does not say where it came from.
    pub fn send_back(&self, letter: &DeadLetter) -> Result<Place, QueueError> {
        if !letter.original_topic.starts_with(&format!("{}.", self.connection.topics().prefix())) {
            let reason = format!("dead letter {} does not say which topic it is from", letter.id);
            return Err(QueueError::BadRequest(reason));
        }
        let key = letter.key.as_deref().unwrap_or_default();
        self.publisher.send(Outgoing::new(&letter.original_topic, key, &letter.value))
    }

    /// Tries the work of a dead letter again, as [`Retry::of`] says.
    ///
    /// # Errors
    /// The request of a job that failed is gone, or what is to be sent cannot be.
    pub fn retry(&self, letter: &DeadLetter, board: &Board) -> Result<Retry, QueueError> {
        let retry = Retry::of(letter, board)?;
        match &retry {
            Retry::SendBack => self.send_back(letter).map(|_| ())?,
            Retry::Submit(submission) => self.submit(submission)?.wait().map(|_| ())?,
            Retry::NotNeeded { .. } | Retry::UnderWay { .. } => {}
        }
        Ok(retry)
    }

    fn tell_jobs(&self, message: &JobMessage) -> Result<Pending, QueueError> {
        let json = message::to_json(message);
        if json.len() > message::MOST_BYTES {
            let reason = format!("the request has {} bytes, and may have {}", json.len(), message::MOST_BYTES);
            return Err(QueueError::BadRequest(reason));
        }
        self.publisher.begin(Outgoing::new(&self.connection.topics().jobs(), message.job_id().as_str(), &json))
    }
}

/// A board that goes on.
#[derive(Debug)]
pub struct Watch {
    reader: Reader,
    pub board: Board,
    connection: Connection,
}

impl Watch {
    /// Takes in what comes during `period`, and gives how many records that were.
    pub fn follow(&mut self, period: Duration) -> Result<usize, QueueError> {
        let (begin, mut taken) = (Instant::now(), 0);
        while let Some(left) = period.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()) {
            if let Some(record) = self.reader.next(left.min(LOOK))? {
                self.board.take(self.connection.topics(), &record);
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// How the job of a request stands.
    ///
    /// # Errors
    /// The fleet has another request under this id.
    pub fn job_of(&self, submission: &Submission) -> Result<Option<Job>, QueueError> {
        let Some(job) = self.board.job(&submission.job_id) else { return Ok(None) };
        match &job.request_sha256 {
            Some(sha256) if *sha256 != submission.sha256() => Err(QueueError::Conflict(submission.job_id.to_string())),
            _ => Ok(Some(job)),
        }
    }

    /// The job of a request, if it has ended.
    pub fn ended(&self, submission: &Submission) -> Result<Option<Job>, QueueError> {
        Ok(self.job_of(submission)?.filter(|job| JobState::is_final(job.state)))
    }
}

/// The workers of a fleet, as they come and go.
#[derive(Debug)]
pub struct Workers {
    reader: Reader,
    pub roster: Roster,
}

impl Workers {
    /// Takes in what has come. Waits for nothing.
    pub fn follow(&mut self) -> Result<(), QueueError> {
        while let Some(record) = self.reader.next(Duration::ZERO)? {
            self.roster.take(&record, Instant::now());
        }
        Ok(())
    }
}

/// A message that was given up, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// Partition and offset on `dead-letters`: `3-17`.
    pub id: String,
    pub timestamp_ms: i64,
    pub key: Option<String>,
    pub value: Vec<u8>,
    /// Empty where the letter does not say.
    pub original_topic: String,
    pub original_partition: Option<i32>,
    pub original_offset: Option<i64>,
    pub original_timestamp_ms: Option<i64>,
    pub code: String,
    pub message: String,
    pub worker: String,
}

impl DeadLetter {
    fn of(record: Record) -> Self {
        let text = |name: &str| {
            record.headers.get(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
        };
        let bytes = |name: &str| record.headers.get(name).map(Vec::as_slice);
        let long = |name: &str| bytes(name).and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
        Self {
            id: format!("{}-{}", record.partition, record.offset),
            timestamp_ms: record.timestamp_ms,
            original_topic: text(dead_letter::ORIGINAL_TOPIC),
            original_partition: bytes(dead_letter::ORIGINAL_PARTITION)
                .and_then(|bytes| Some(i32::from_be_bytes(bytes.try_into().ok()?))),
            original_offset: long(dead_letter::ORIGINAL_OFFSET),
            original_timestamp_ms: long(dead_letter::ORIGINAL_TIMESTAMP),
            code: text(dead_letter::ERROR_CODE),
            message: text(dead_letter::EXCEPTION_MESSAGE),
            worker: text(dead_letter::WORKER),
            key: record.key.map(|key| String::from_utf8_lossy(&key).into_owned()),
            value: record.value.unwrap_or_default(),
        }
    }
}
