//! Which jobs are to be worked on no more: follows the topic `control`, and stops what runs.

use crate::interrupt::Stop;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::control::{Action, Control};
use framefleet_queue::read::From;
use framefleet_queue::{Connection, QueueError, Reader, Record};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The jobs that were cancelled and have no outcome yet, and the work on jobs that is under way here.
#[derive(Debug, Clone, Default)]
pub struct Cancelled {
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    jobs: HashSet<JobId>,
    running: HashMap<u64, (JobId, Stop)>,
    next: u64,
}

/// Work on a job that stops when the job is cancelled. Dropped, it is over.
#[derive(Debug)]
pub struct Running {
    cancelled: Cancelled,
    number: u64,
    pub stop: Stop,
}

impl Cancelled {
    pub fn contains(&self, job_id: &JobId) -> bool {
        self.known().jobs.contains(job_id)
    }

    /// All of them.
    pub fn jobs(&self) -> Vec<JobId> {
        self.known().jobs.iter().cloned().collect()
    }

    /// Begins work that a cancellation stops.
    pub fn running(&self, job_id: &JobId, stop: &Stop) -> Running {
        let stop = stop.for_stages();
        let mut known = self.known();
        if known.jobs.contains(job_id) {
            stop.fail();
        }
        known.next += 1;
        let number = known.next;
        known.running.insert(number, (job_id.clone(), stop.clone()));
        drop(known);
        Running { cancelled: self.clone(), number, stop }
    }

    /// Takes a record of the topic `control`.
    pub fn take(&self, record: &Record) {
        let key = record.key.clone().and_then(|key| String::from_utf8(key).ok());
        let Some(job_id) = key.and_then(|key| JobId::new(key).ok()) else { return };
        let mut known = self.known();
        match &record.value {
            None => {
                known.jobs.remove(&job_id);
            }
            Some(value) => {
                let control = serde_json::from_slice::<Control>(value);
                if control.is_ok_and(|control| control.action == Action::Cancel) {
                    known.running.values().filter(|(job, _)| *job == job_id).for_each(|(_, stop)| stop.fail());
                    known.jobs.insert(job_id);
                }
            }
        }
    }

    /// Follows the topic until it is told to stop. Comes back when everything is known that was said before.
    pub fn follow(&self, connection: &Connection, stop: &Stop) -> Result<(), QueueError> {
        const PATIENCE: Duration = Duration::from_secs(20);
        const PERIOD: Duration = Duration::from_millis(100);
        let mut reader = Reader::open(connection, &[connection.topics().control()], From::Beginning)?;
        reader.read_all(PATIENCE, |record| {
            self.take(&record);
            Ok(())
        })?;
        let (this, stop) = (self.clone(), stop.clone());
        let follow = move || {
            while !stop.is_asked() {
                match reader.next(PERIOD) {
                    Ok(Some(record)) => this.take(&record),
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!("cancellations are not heard: {error}");
                        std::thread::sleep(PERIOD);
                    }
                }
            }
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(follow);
        thread.map(|_| ()).map_err(|e| QueueError::BadRequest(format!("no thread to hear cancellations: {e}")))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancelled.known().running.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::message::to_json;

    fn record(job: &str, value: Option<Vec<u8>>) -> Record {
        Record {
            topic: "t".to_owned(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(job.as_bytes().to_vec()),
            value,
            headers: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_cancellation_stops_the_work_on_its_job_and_no_other() {
        let (cancelled, process) = (Cancelled::default(), Stop::default());
        let [a, b] = ["a", "b"].map(|id| JobId::new(id).unwrap());
        let (one, other) = (cancelled.running(&a, &process), cancelled.running(&b, &process));
        cancelled.take(&record("a", Some(to_json(&Control::cancel(a.clone())))));
        assert!(one.stop.is_asked() && !other.stop.is_asked() && !process.is_asked());
        assert!(cancelled.running(&a, &process).stop.is_asked(), "what begins later");
        cancelled.take(&record("a", None));
        assert!(!cancelled.contains(&a) && !cancelled.running(&a, &process).stop.is_asked());
        cancelled.take(&record("b", Some(b"{\"version\":2,\"job_id\":\"b\",\"action\":\"dance\"}".to_vec())));
        cancelled.take(&record("../b", Some(b"x".to_vec())));
        assert!(!other.stop.is_asked());
    }
}
