//! How far a topic was read, and whether that is far enough to rely on it. Pure.

use std::time::{Duration, Instant};

/// One topic, all partitions.
#[derive(Debug, Default)]
pub struct Reading {
    partitions: Vec<Partition>,
    /// The topic has no others.
    is_whole: bool,
    /// When the ends were seen up to which it is read now.
    aimed: Option<Instant>,
    has_caught_up: bool,
    /// Messages that there were to read when this began.
    at_first: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Partition {
    /// What is read next.
    next: i64,
    /// Up to here it is read first of all.
    aim: i64,
}

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// What came is read within seconds.
    UpToDate,
    /// Not all of its partitions are read yet.
    NotBegun,
    /// What was there at the beginning is still being read.
    CatchingUp { left: u64, of: u64 },
    /// What came so long ago is not read.
    Behind { left: u64, since: Duration },
}

/// What came longer ago must have been read.
const LATE: Duration = Duration::from_secs(10);

impl Reading {
    /// Partitions that are read.
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// The next partition is read too, from this offset on.
    pub fn begin(&mut self, offset: i64) {
        self.partitions.push(Partition { next: offset, aim: offset });
    }

    pub fn read(&mut self, partition: i32, offset: i64) {
        let partition = usize::try_from(partition).ok().and_then(|place| self.partitions.get_mut(place));
        if let Some(partition) = partition {
            partition.next = partition.next.max(offset + 1);
        }
    }

    /// The broker was asked: the first offsets that are still there, and the ends.
    pub fn saw(&mut self, bounds: &[(i64, i64)], now: Instant) {
        self.is_whole = self.partitions.len() >= bounds.len();
        if !self.is_whole {
            return;
        }
        let reached = self.left() == 0;
        for (partition, &(first, end)) in self.partitions.iter_mut().zip(bounds) {
            // What is gone is not read.
            partition.next = partition.next.max(first);
            if reached {
                partition.aim = end;
            }
        }
        if self.aimed.is_none() {
            self.at_first = self.left();
        } else if reached {
            self.has_caught_up = true;
        }
        if reached {
            self.aimed = Some(now);
        }
    }

    pub fn standing(&self, now: Instant) -> Standing {
        let left = self.left();
        let Some(aimed) = self.aimed.filter(|_| self.is_whole) else { return Standing::NotBegun };
        let since = now.saturating_duration_since(aimed);
        if !self.has_caught_up && left > 0 {
            Standing::CatchingUp { left, of: self.at_first }
        } else if left > 0 && since > LATE {
            Standing::Behind { left, since }
        } else {
            Standing::UpToDate
        }
    }

    fn left(&self) -> u64 {
        self.partitions.iter().map(|partition| (partition.aim - partition.next).max(0) as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Instant {
        static BEGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        *BEGIN.get_or_init(Instant::now) + Duration::from_secs(seconds)
    }

    fn begun(offsets: &[i64]) -> Reading {
        let mut reading = Reading::default();
        for offset in offsets {
            reading.begin(*offset);
        }
        reading
    }

    #[test]
    fn what_was_there_at_the_beginning_is_read_first() {
        let mut reading = begun(&[0, 5]);
        assert_eq!(reading.standing(after(0)), Standing::NotBegun, "nobody was asked yet");
        reading.saw(&[(0, 3), (0, 6)], after(0));
        reading.read(0, 0);
        assert_eq!(reading.standing(after(1)), Standing::CatchingUp { left: 3, of: 4 });
        reading.saw(&[(0, 90), (0, 90)], after(2));
        reading.read(0, 2);
        reading.read(1, 5);
        assert_eq!(reading.standing(after(60)), Standing::UpToDate, "whatever came since is looked at next");
    }

    #[test]
    fn an_empty_topic_is_read_at_once() {
        let mut reading = begun(&[7]);
        reading.saw(&[(7, 7)], after(0));
        assert_eq!(reading.standing(after(0)), Standing::UpToDate);
    }

    #[test]
    fn what_came_long_ago_must_have_been_read() {
        let mut reading = begun(&[0]);
        for now in [0, 2, 4] {
            reading.saw(&[(0, 0)], after(now));
        }
        reading.saw(&[(0, 5)], after(6));
        reading.read(0, 0);
        for now in [8, 10, 12, 14, 16] {
            reading.saw(&[(0, 100)], after(now));
            assert_eq!(reading.standing(after(now)), Standing::UpToDate, "{now}");
        }
        assert_eq!(reading.standing(after(17)), Standing::Behind { left: 4, since: Duration::from_secs(11) });
        reading.read(0, 4);
        reading.saw(&[(0, 101)], after(18));
        assert_eq!(reading.standing(after(28)), Standing::UpToDate);
        assert_eq!(reading.standing(after(29)), Standing::Behind { left: 96, since: Duration::from_secs(11) });
    }

    #[test]
    fn what_is_gone_is_not_waited_for() {
        let mut reading = begun(&[0]);
        reading.saw(&[(0, 9)], after(0));
        reading.saw(&[(9, 9)], after(2));
        assert_eq!(reading.standing(after(3)), Standing::UpToDate);
    }

    #[test]
    fn a_topic_is_not_known_before_all_of_it_is_read() {
        let mut reading = begun(&[0]);
        for now in 0..9 {
            reading.saw(&[(0, 0), (0, 0)], after(now));
            assert_eq!(reading.standing(after(now)), Standing::NotBegun);
        }
        reading.begin(0);
        reading.saw(&[(0, 0), (0, 0)], after(9));
        assert_eq!(reading.standing(after(9)), Standing::UpToDate);
        reading.saw(&[(0, 0), (0, 0), (0, 0)], after(10));
        assert_eq!(reading.standing(after(10)), Standing::NotBegun, "it has one more now");
    }

    #[test]
    fn a_partition_that_is_added_is_read_too() {
        let mut reading = begun(&[0]);
        reading.saw(&[(0, 0)], after(0));
        reading.saw(&[(0, 0)], after(1));
        reading.begin(0);
        reading.saw(&[(0, 0), (0, 4)], after(2));
        assert!(matches!(reading.standing(after(20)), Standing::Behind { left: 4, .. }));
        reading.read(1, 3);
        reading.read(9, 3);
        assert_eq!((reading.standing(after(20)), reading.partitions()), (Standing::UpToDate, 2));
    }
}
