//! Whether a worker may go, since the whole group has no work left, or it has none itself.

use framefleet_queue::lag::LagProbe;
use framefleet_queue::{Connection, QueueError};
use std::time::{Duration, Instant};

/// Looks at topics that a worker serves. It leaves when it had nothing to do and they were empty for so long, for everybody
/// and not for this worker alone: what another one has in hand may come back. Without topics it goes by itself alone.
#[derive(Debug)]
pub struct LeaveWhenEmpty {
    after: Duration,
    probes: Vec<LagProbe>,
    empty_since: Option<Instant>,
    asked: Option<Instant>,
}

/// Between two questions to the broker.
const PERIOD: Duration = Duration::from_secs(1);

impl LeaveWhenEmpty {
    pub fn new(connection: &Connection, topics: &[String], after: Duration) -> Result<Self, QueueError> {
        let probes = topics.iter().map(|topic| LagProbe::new(connection, topic)).collect::<Result<_, _>>()?;
        Ok(Self { after, probes, empty_since: None, asked: None })
    }

    /// To be called often. `is_idle`: whether this worker has nothing in hand.
    pub fn is_time(&mut self, is_idle: bool) -> bool {
        if !is_idle {
            self.empty_since = None;
            return false;
        }
        if self.asked.is_some_and(|asked| asked.elapsed() < PERIOD) {
            return false;
        }
        self.asked = Some(Instant::now());
        if !self.is_empty() {
            self.empty_since = None;
            return false;
        }
        self.empty_since.get_or_insert_with(Instant::now).elapsed() >= self.after
    }

    /// An answer that did not come is no zero.
    fn is_empty(&self) -> bool {
        self.probes.iter().all(|probe| match probe.messages() {
            Ok(messages) => messages == 0,
            Err(error) => {
                tracing::debug!("not known whether there is work: {error}");
                false
            }
        })
    }
}
