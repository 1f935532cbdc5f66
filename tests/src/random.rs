//! What cannot be repeated by chance can be repeated by its seed.

use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From `FRAMEFLEET_SEED`, or from the clock. The test's output has it.
    pub fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("FRAMEFLEET_SEED").map_or(now, |seed| seed.parse().unwrap());
        println!("FRAMEFLEET_SEED={seed} makes the same choices again");
        Self(seed | 1)
    }

    /// Xorshift64 (Marsaglia 2003), below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}
