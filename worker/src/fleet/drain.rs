//! How a worker leaves.

use super::{Crew, LOOK, heartbeat};
use std::time::{Duration, Instant};

/// For the last words to the broker.
const GOODBYE: Duration = Duration::from_secs(3);

impl Crew {
    /// Takes nothing more. What fits into the time that is left is finished, the rest is left to others; then everything
    /// that is done is committed, and the groups are left.
    pub fn drain(self, grace: Duration) {
        let begun = Instant::now();
        self.worker.standing.drain();
        self.intakes.iter().for_each(|intake| intake.pause(true));
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            let left = grace.saturating_sub(begun.elapsed());
            let too_long = self.worker.in_flight.leave_what_does_not_fit(left);
            if too_long > 0 {
                tracing::warn!(
                    "{too_long} piece(s) of work do not fit into the time that is left: others will do them"
                );
            }
            if left.is_zero() {
                self.worker.hand_back.fail();
            }
            if begun.elapsed() > grace + GOODBYE {
                tracing::warn!("work does not stop: the process ends");
                return;
            }
            std::thread::sleep(LOOK);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        std::thread::scope(|scope| {
            for consumer in self.intakes.iter().flat_map(|intake| intake.consumers()) {
                scope.spawn(|| consumer.leave());
            }
        });
        let announcer = &self.worker.announcer;
        let topic = announcer.topics().workers();
        heartbeat::say_goodbye(announcer.publisher(), &topic, &self.worker.id, GOODBYE);
    }
}
