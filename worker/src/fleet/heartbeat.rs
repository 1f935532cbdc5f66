//! Says every few seconds how this worker stands, and touches the marks of what it works on.

use super::in_flight::InFlightWork;
use super::measured::Measured;
use super::worker::Worker;
use crate::summarise;
use framefleet_contract::attempt;
use framefleet_contract::message::heartbeat::Heartbeat;
use framefleet_contract::message::to_json;
use framefleet_contract::request::VERSION;
use framefleet_queue::publish::Pending;
use framefleet_queue::{Outgoing, Publisher};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// What does not change while a worker runs.
#[derive(Debug, Clone)]
pub struct Identity {
    pub roles: Vec<String>,
    pub queues: BTreeMap<String, u32>,
    pub device: String,
    pub slots: u32,
    pub threads: u32,
    pub started: SystemTime,
}

/// Names the pool that this worker belongs to, as `namespace/name`. Whoever starts workers of a pool sets it.
const POOL_VARIABLE: &str = "FRAMEFLEET_POOL";

/// Between two heartbeats. A reader takes a worker for gone after `roster::LIFETIME` without one.
pub const PERIOD: Duration = Duration::from_secs(3);

/// What is done again and again beside the work. To be called about every [`attempt::TOUCH_PERIOD`].
#[derive(Debug)]
pub struct Heart {
    identity: Identity,
    measured: Measured,
    last_beat: Option<Instant>,
    /// The oldest heartbeat that the broker has not acknowledged.
    unanswered: Option<(Instant, Pending)>,
}

/// A broker that has not acknowledged a heartbeat for so long is away.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

impl Heart {
    pub fn new(identity: Identity, measured: Measured) -> Self {
        Self { identity, measured, last_beat: None, unanswered: None }
    }

    pub fn beat(&mut self, worker: &Worker) {
        attempt::touch_all();
        self.heed_answer(worker);
        if self.last_beat.is_some_and(|last| last.elapsed() < PERIOD) {
            return;
        }
        self.last_beat = Some(Instant::now());
        let json = to_json(&self.heartbeat(worker));
        let topic = worker.announcer.topics().workers();
        // It is not waited for: the next one says the same.
        match worker.announcer.publisher().begin(Outgoing::new(&topic, &worker.id, &json)) {
            Ok(pending) => self.unanswered = self.unanswered.take().or_else(|| Some((Instant::now(), pending))),
            Err(error) => tracing::debug!("no heartbeat: {error}"),
        }
    }

    fn heed_answer(&mut self, worker: &Worker) {
        let Some((since, pending)) = &self.unanswered else { return };
        match pending.answer() {
            Some(answer) => {
                worker.standing.kafka_is_silent(answer.is_err());
                self.unanswered = None;
            }
            None if since.elapsed() > ANSWER_PATIENCE => worker.standing.kafka_is_silent(true),
            None => {}
        }
    }

    fn heartbeat(&self, worker: &Worker) -> Heartbeat {
        let Identity { roles, queues, device, slots, threads, started } = self.identity.clone();
        let time = |time| humantime::format_rfc3339_millis(time).to_string();
        Heartbeat {
            version: VERSION,
            worker_id: worker.id.clone(),
            host: summarise::host(),
            pool: std::env::var(POOL_VARIABLE).ok().filter(|pool| !pool.is_empty()),
            program: concat!("framefleet ", env!("CARGO_PKG_VERSION")).to_owned(),
            state: worker.standing.state(),
            roles,
            queues,
            device,
            slots,
            in_flight: InFlightWork::list(&worker.in_flight),
            busy_seconds_per_frame: self.measured.seconds_per_frame(),
            threads,
            started: time(started),
            sent: time(SystemTime::now()),
            interval_s: PERIOD.as_secs_f64(),
        }
    }
}

/// Takes back what was said of a worker that leaves.
pub fn say_goodbye(publisher: &Publisher, topic: &str, worker_id: &str, patience: Duration) {
    if publisher.begin(Outgoing::taken_back(topic, worker_id)).is_ok() {
        publisher.flush(patience);
    }
}
