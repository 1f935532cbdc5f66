//! Which partitions pieces of work go to, so that a fleet's workers get equal parts of any few of them.
//!
//! Kafka gives each worker a fixed part of a queue's partitions, by blocks or in turns, and nobody takes another one's work.
//! Random partitions leave the busiest of two workers with an eighth more than its half of 24 pieces, on average, and
//! neighbouring ones leave a film to one worker where parts are blocks. So this goes through the partitions by multiples of
//! the golden section, which fall evenly into blocks however few they are (a Weyl sequence), in pairs, the second of which lies
//! about half of them further on, and is odd where the first is even.

use std::sync::atomic::{AtomicU64, Ordering};

/// Goes on for as long as its owner lives: what counts is how all of its work is spread, not that of each job.
#[derive(Debug)]
pub struct Spread {
    next: AtomicU64,
}

impl Spread {
    /// Those with other seeds begin elsewhere.
    pub fn new(seed: &str) -> Self {
        // FNV-1a, of which the lower 32 bits are enough, and leave room to count.
        let start = seed.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        Self { next: AtomicU64::new(u64::from(start)) }
    }

    /// The partition, from 0, of the next piece of work.
    pub fn next(&self, partitions: u32) -> i32 {
        partition(self.next.fetch_add(1, Ordering::Relaxed), partitions)
    }
}

fn partition(number: u64, partitions: u32) -> i32 {
    /// The golden section less one, in units of 2^-32.
    const GOLDEN: u32 = 0x9e37_79b9;
    let partitions = u64::from(partitions.max(1));
    let fraction = ((number / 2) as u32).wrapping_mul(GOLDEN);
    let first = (u64::from(fraction) * partitions) >> 32;
    let across = if number.is_multiple_of(2) { 0 } else { (partitions / 2) | 1 };
    ((first + across) % partitions) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part of the busiest worker, where 1 is an equal part.
    fn busiest(work: &[i32], workers: usize, owner: impl Fn(usize) -> usize) -> f64 {
        let mut parts = vec![0; workers];
        for partition in work {
            parts[owner(*partition as usize)] += 1;
        }
        f64::from(*parts.iter().max().unwrap()) * workers as f64 / work.len() as f64
    }

    #[test]
    fn workers_get_equal_parts_of_any_few_pieces() {
        const PARTITIONS: usize = 96;
        for start in (0..5000).step_by(37) {
            let spread = Spread { next: AtomicU64::new(start) };
            let work: Vec<i32> = (0..24).map(|_| spread.next(PARTITIONS as u32)).collect();
            for workers in 2..=4 {
                let by_blocks = busiest(&work, workers, |partition| partition * workers / PARTITIONS);
                let in_turns = busiest(&work, workers, |partition| partition % workers);
                let worst = by_blocks.max(in_turns);
                let most = if workers == 2 { 1.2 } else { 1.4 };
                assert!(worst <= most, "{worst} with {workers} workers from {start} on: {work:?}");
            }
        }
    }

    #[test]
    fn every_partition_is_one_that_there_is() {
        for partitions in [0, 1, 2, 3, 7, u32::MAX] {
            for number in [0, 1, 2, 3, 4_294_967_295, u64::MAX - 1, u64::MAX] {
                let found = partition(number, partitions) as u32;
                assert!(found < partitions.max(1), "{found} of {partitions}");
            }
        }
    }

    #[test]
    fn not_all_begin_with_the_same() {
        let first = |worker: u32| Spread::new(&format!("worker-{worker}")).next(96);
        let distinct: std::collections::BTreeSet<i32> = (0..200).map(first).collect();
        assert!(distinct.len() > 60, "{}", distinct.len());
    }
}
