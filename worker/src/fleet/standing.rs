//! Whether this worker can take work: its volume, and whether it leaves.

use framefleet_contract::message::heartbeat::WorkerState;
use framefleet_contract::volume::Volume;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by the roles, the heartbeat and the health endpoints.
#[derive(Debug, Default)]
pub struct Standing {
    is_draining: AtomicBool,
    /// Why no work is taken.
    paused_because: Mutex<Option<String>>,
    has_started: AtomicBool,
    beaten: Mutex<Option<Instant>>,
    is_kafka_silent: AtomicBool,
    kafka_answered: Mutex<Option<Instant>>,
}

/// Free again only with so much more, so that a volume at the limit does not make a worker go to and fro.
const MARGIN: f64 = 0.01;

impl Standing {
    pub fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Marks were touched, and a heartbeat was sent where one was due.
    pub fn beat(&self) {
        *self.beaten.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Since that was done last; nothing before it was done once.
    pub fn since_beat(&self) -> Duration {
        let beaten = self.beaten.lock().unwrap_or_else(PoisonError::into_inner);
        beaten.map_or(Duration::ZERO, |beaten| beaten.elapsed())
    }

    /// Whether the broker has not acknowledged the last heartbeats.
    pub fn is_kafka_silent(&self) -> bool {
        self.is_kafka_silent.load(Ordering::Relaxed)
    }

    pub fn kafka_is_silent(&self, silent: bool) {
        if !silent {
            self.kafka_answered.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        }
        if self.is_kafka_silent.swap(silent, Ordering::Relaxed) != silent {
            if silent {
                *self.kafka_answered.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            tracing::warn!("{}", if silent { "Kafka does not answer" } else { "Kafka answers again" });
        }
    }

    /// How long the broker has acknowledged every heartbeat.
    pub fn kafka_answers_for(&self) -> Duration {
        let answered = self.kafka_answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub fn started(&self) {
        self.has_started.store(true, Ordering::Relaxed);
    }

    pub fn has_started(&self) -> bool {
        self.has_started.load(Ordering::Relaxed)
    }

    /// The volume or the broker failed: takes no work until the volume was looked at again.
    pub fn surroundings_failed(&self, reason: &str) {
        self.pause(Some(reason.to_owned()));
    }

    pub fn paused_because(&self) -> Option<String> {
        self.paused_because.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn takes_work(&self) -> bool {
        !self.is_draining() && self.paused_because().is_none()
    }

    pub fn state(&self) -> WorkerState {
        match self.paused_because() {
            _ if self.is_draining() => WorkerState::Draining,
            Some(_) => WorkerState::Paused,
            None => WorkerState::Ready,
        }
    }

    /// Looks at the volume: work is taken while at least `least_free` of it is, and publishing works.
    pub fn look_at(&self, volume: &Volume, least_free: f64) {
        let was_paused = self.paused_because().is_some();
        let least = if was_paused { least_free + MARGIN } else { least_free };
        let reason = match volume.free_share() {
            Ok(free) => {
                metrics::gauge!("framefleet_volume_free_share").set(free);
                let percent = |share: f64| 100.0 * share;
                (free < least).then(|| {
                    format!(
                        "{:.1} % of {} is free, less than {:.1} %",
                        percent(free),
                        volume.root().display(),
                        percent(least)
                    )
                })
            }
            Err(error) => Some(error.to_string()),
        };
        // Trying it out costs an fsync, and is needed only after something failed.
        let reason = reason.or_else(|| was_paused.then(|| volume.check().err().map(|e| e.to_string())).flatten());
        self.pause(reason);
    }

    fn pause(&self, reason: Option<String>) {
        let mut paused = self.paused_because.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*paused, &reason) {
            (None, Some(reason)) => tracing::warn!("no work is taken: {reason}"),
            (Some(_), None) => tracing::warn!("work is taken again"),
            _ => {}
        }
        *paused = reason;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_taken_again_when_the_volume_is_well() {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        let standing = Standing::default();
        standing.look_at(&volume, 1.5);
        assert!(standing.paused_because().unwrap().contains("is free, less than 150.0 %"));
        assert_eq!(standing.state(), WorkerState::Paused);
        standing.look_at(&volume, 0.0);
        assert!(standing.takes_work());
        standing.surroundings_failed("EIO");
        assert!(!standing.takes_work());
        standing.look_at(&volume, 0.0);
        assert!(standing.takes_work());
        std::fs::remove_dir_all(folder.path()).unwrap();
        standing.look_at(&volume, 0.0);
        assert!(!standing.takes_work());
        standing.drain();
        assert_eq!(standing.state(), WorkerState::Draining);
    }

    #[test]
    fn a_silence_of_the_broker_does_not_count_as_answers() {
        let standing = Standing::default();
        assert_eq!(standing.kafka_answers_for(), Duration::ZERO);
        standing.kafka_is_silent(false);
        let second = Duration::from_secs(1);
        *standing.kafka_answered.lock().unwrap().as_mut().unwrap() -= second;
        standing.kafka_is_silent(false);
        assert!(standing.kafka_answers_for() >= second);
        standing.kafka_is_silent(true);
        assert_eq!(standing.kafka_answers_for(), Duration::ZERO);
    }
}
