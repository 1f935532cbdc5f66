//! What a worker answers at its health endpoints.

use super::Crew;
use super::health::Answers;
use super::intake::Intake;
use super::worker::Worker;
use crate::watchdog::LastLook;
use framefleet_queue::Consumer;
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use std::time::Duration;

/// A thread that was not seen for so long hangs: poll threads and the watchdog look many times a second, and marks are
/// touched each second, unless the volume hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whoever is let into no group for so long, by a broker that answers, does better as a new process.
const JOIN_PATIENCE: Duration = Duration::from_mins(5);

impl Crew {
    pub fn answers(&self, metrics: PrometheusHandle, watchdog: LastLook) -> Answers {
        let (live, ready, started) = (self.intakes.clone(), self.intakes.clone(), self.worker.clone());
        let (worker, alive) = (self.worker.clone(), self.worker.clone());
        Answers {
            live: Arc::new(move || {
                if alive.standing.since_beat() > PATIENCE {
                    return Err("marks and heartbeats stand still".to_owned());
                }
                if watchdog.elapsed() > PATIENCE {
                    return Err("the watchdog does not look".to_owned());
                }
                all(&live, |consumer| consumer.since_poll() < PATIENCE, "does not poll")?;
                let answers = alive.standing.kafka_answers_for();
                all(&live, |consumer| consumer.outside_for().min(answers) < JOIN_PATIENCE, "is kept out of its group")
            }),
            ready: Arc::new(move || {
                if worker.standing.is_draining() {
                    return Err("draining".to_owned());
                }
                worker.standing.paused_because().map_or(Ok(()), Err)?;
                if worker.standing.is_kafka_silent() {
                    return Err("Kafka does not answer".to_owned());
                }
                all(&ready, Consumer::has_joined, "has not joined its group")
            }),
            started: Arc::new(move || if started.standing.has_started() { Ok(()) } else { Err("starting".to_owned()) }),
            metrics,
            refresh: Arc::new({
                let (worker, intakes) = (self.worker.clone(), self.intakes.clone());
                move || refresh_metrics(&worker, &intakes)
            }),
        }
    }
}

fn all(intakes: &[Arc<Intake>], is_so: impl Fn(&Consumer) -> bool, not: &str) -> Result<(), String> {
    let mut consumers = intakes.iter().flat_map(|intake| intake.consumers());
    consumers.find(|consumer| !is_so(consumer)).map_or(Ok(()), |consumer| Err(format!("{} {not}", consumer.topic())))
}

fn refresh_metrics(worker: &Worker, intakes: &[Arc<Intake>]) {
    let open: usize = intakes.iter().flat_map(|intake| intake.consumers()).map(Consumer::open).sum();
    metrics::gauge!("framefleet_messages_in_hand").set(open as f64);
    metrics::gauge!("framefleet_work_in_flight").set(worker.in_flight.list().len() as f64);
    metrics::gauge!("framefleet_worker_takes_work").set(if worker.standing.takes_work() { 1.0 } else { 0.0 });
}
