//! Which workers a fleet has, put together from their heartbeats. Pure.

use crate::read::Record;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::heartbeat::{Heartbeat, InFlight};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A worker that was not heard of for so long is gone: several heartbeats are missing.
pub const LIFETIME: Duration = Duration::from_secs(15);

/// All workers that were heard of.
#[derive(Debug, Default)]
pub struct Roster {
    workers: BTreeMap<String, (Heartbeat, Instant)>,
}

impl Roster {
    /// Takes a record of the topic `workers` that was read at `now`. What cannot be read is passed over.
    pub fn take(&mut self, record: &Record, now: Instant) {
        let Some(id) = record.key.as_deref().map(|key| String::from_utf8_lossy(key).into_owned()) else { return };
        match record.value.as_deref().map(serde_json::from_slice::<Heartbeat>) {
            Some(Ok(heartbeat)) => {
                self.workers.insert(id, (heartbeat, now));
            }
            Some(Err(_)) => {}
            // It says goodbye.
            None => {
                self.workers.remove(&id);
            }
        }
    }

    /// Those that live, by their ids.
    pub fn alive(&self, now: Instant) -> Vec<&Heartbeat> {
        let lives = |heard: &Instant| now.saturating_duration_since(*heard) <= LIFETIME;
        self.workers.values().filter(|(_, heard)| lives(heard)).map(|(heartbeat, _)| heartbeat).collect()
    }

    /// The pieces of a job that are worked on, and by whom.
    pub fn at_work_on(&self, job_id: &JobId, now: Instant) -> Vec<(&Heartbeat, &InFlight)> {
        let mut found = Vec::new();
        for worker in self.alive(now) {
            found.extend(worker.in_flight.iter().filter(|piece| piece.job_id == *job_id).map(|piece| (worker, piece)));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(worker: &str, value: Option<serde_json::Value>) -> Record {
        Record {
            topic: "t.workers".to_owned(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: Some(worker.as_bytes().to_vec()),
            value: value.map(|value| value.to_string().into_bytes()),
            headers: BTreeMap::new(),
        }
    }

    fn heartbeat(worker: &str, job: &str) -> Record {
        let beat = json!({
            "version": 1, "worker_id": worker, "host": "h", "program": "p", "state": "ready", "roles": ["detect"],
            "device": "cpu", "slots": 2, "threads": 2, "started": "", "sent": "", "interval_s": 3.0,
            "in_flight": [{"job_id": job, "step": "0"}]
        });
        record(worker, Some(beat))
    }

    fn names(roster: &Roster, now: Instant) -> Vec<&str> {
        roster.alive(now).into_iter().map(|worker| worker.worker_id.as_str()).collect()
    }

    #[test]
    fn a_worker_lives_as_long_as_it_is_heard_of() {
        let (mut roster, begin) = (Roster::default(), Instant::now());
        roster.take(&heartbeat("a", "j"), begin);
        roster.take(&heartbeat("b", "j"), begin + LIFETIME);
        assert_eq!(names(&roster, begin + LIFETIME), ["a", "b"]);
        assert_eq!(names(&roster, begin + LIFETIME + Duration::from_millis(1)), ["b"]);
        roster.take(&record("b", Some(json!("what is this"))), begin + 2 * LIFETIME);
        assert_eq!(names(&roster, begin + 2 * LIFETIME), ["b"]);
        roster.take(&record("b", None), begin + LIFETIME);
        assert_eq!(names(&roster, begin + LIFETIME), ["a"]);
    }

    #[test]
    fn who_works_on_a_job_is_known() {
        let (mut roster, now) = (Roster::default(), Instant::now());
        roster.take(&heartbeat("a", "one"), now);
        roster.take(&heartbeat("b", "two"), now);
        let of = |job: &str| roster.at_work_on(&JobId::new(job).unwrap(), now).len();
        assert_eq!((of("one"), of("two"), of("three")), (1, 1, 0));
    }
}
