//! What a message costs for which nothing is inferred: workers, and how fast they finish messages. Pure.

use std::time::{Duration, Instant};

/// Watches one queue. Only time counts in which messages waited all along: otherwise workers were idle.
#[derive(Debug, Default)]
pub struct Pace {
    last: Option<Look>,
    /// Worker-seconds since messages were finished last.
    spent: f64,
    worker_seconds: Option<f64>,
}

/// One look at the queue.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub at: Instant,
    /// The sums over all partitions: of what is committed, and of their ends.
    pub committed: i64,
    pub end: i64,
    /// Those that serve the queue.
    pub workers: u32,
}

/// Of two looks that are further apart, what was between them is not known.
const LONGEST: Duration = Duration::from_secs(30);
/// The part that the newest measurement has.
const NEWEST: f64 = 0.2;

impl Pace {
    pub fn look(&mut self, look: Look) {
        let Some(last) = self.last.replace(look) else { return };
        let seconds = look.at.saturating_duration_since(last.at);
        // While it has not come to what was the end before, something waited all the time.
        let was_busy = look.committed < last.end && look.committed >= last.committed && last.committed < last.end;
        if !was_busy || seconds > LONGEST || last.workers == 0 {
            self.spent = 0.0;
            return;
        }
        // More workers than messages cannot all be at work.
        let waited = u32::try_from(last.end - last.committed).unwrap_or(u32::MAX);
        self.spent += seconds.as_secs_f64() * f64::from(last.workers.min(waited));
        let finished = (look.committed - last.committed) as f64;
        if finished > 0.0 {
            let measured = self.spent / finished;
            self.spent = 0.0;
            self.worker_seconds =
                Some(self.worker_seconds.map_or(measured, |known| known + NEWEST * (measured - known)));
        }
    }

    /// Of one worker, for one message.
    pub fn worker_seconds(&self) -> Option<f64> {
        self.worker_seconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks, each two seconds after the one before: what is committed, the end, and the workers.
    fn after(looks: &[(i64, i64, u32)]) -> Option<f64> {
        let (mut pace, begin) = (Pace::default(), Instant::now());
        for (n, (committed, end, workers)) in looks.iter().copied().enumerate() {
            pace.look(Look { at: begin + Duration::from_secs(2 * n as u64), committed, end, workers });
        }
        pace.worker_seconds()
    }

    #[test]
    fn a_message_costs_what_all_workers_spend_until_it_is_finished() {
        assert_eq!(after(&[(0, 100, 3), (6, 100, 3)]), Some(1.0));
        assert_eq!(after(&[(0, 100, 1), (0, 100, 1), (0, 101, 1), (1, 101, 1)]), Some(6.0), "one that takes longer");
        assert_eq!(after(&[(0, 2, 50), (1, 2, 50)]), Some(4.0), "two messages are work for two workers");
    }

    #[test]
    fn time_in_which_nothing_waited_does_not_count() {
        assert_eq!(after(&[(0, 100, 1), (100, 100, 1)]), None, "it may have been done at once");
        assert_eq!(after(&[(0, 100, 1), (100, 200, 1)]), None);
        assert_eq!(after(&[(5, 5, 1), (5, 7, 1), (6, 7, 1)]), Some(2.0));
        assert_eq!(
            after(&[(0, 9, 0), (0, 9, 0), (0, 9, 1), (1, 9, 1)]),
            Some(2.0),
            "nor that in which nobody was there"
        );
    }

    #[test]
    fn the_newest_measurement_has_a_part_of_it() {
        assert_eq!(after(&[(0, 100, 1), (2, 100, 1), (3, 100, 1)]), Some(1.2));
    }

    #[test]
    fn offsets_that_were_reset_say_nothing() {
        assert_eq!(after(&[(50, 100, 1), (10, 100, 1)]), None);
        assert_eq!(after(&[(50, 100, 1), (10, 100, 1), (11, 100, 1)]), Some(2.0), "what comes after that does");
        let (mut pace, begin) = (Pace::default(), Instant::now());
        for (at, committed) in [(0, 0), (31, 1)] {
            pace.look(Look { at: begin + Duration::from_secs(at), committed, end: 100, workers: 1 });
        }
        assert_eq!(pace.worker_seconds(), None, "nor do looks that are far apart");
    }
}
