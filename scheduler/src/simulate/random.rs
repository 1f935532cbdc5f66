//! Numbers that only a seed decides, the same on every machine.

/// `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014). What is drawn for one
/// thing does not depend on how much was drawn for others: each has a stream of its own, so that all policies meet the same
/// videos, and the n-th node of a pool takes the same time to boot.
#[derive(Debug, Clone)]
pub struct Random(u64);

/// The golden section in units of 2^-64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    pub fn new(seed: u64, stream: &str, index: u64) -> Self {
        // FNV-1a.
        let hash = stream
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(mix(mix(mix(seed) ^ hash).wrapping_add(index.wrapping_mul(STEP))))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// From 0 up to, and without, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// `sigma` is of the logarithm.
    pub fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        // Box and Muller, 1958.
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        median * (sigma * radius * (std::f64::consts::TAU * self.unit()).cos()).exp()
    }

    /// Between two bounds, the long ones rare: the smaller `tail`, the less so.
    pub fn bounded_pareto(&mut self, least: f64, most: f64, tail: f64) -> f64 {
        let beyond = (least / most).powf(tail);
        least / (1.0 - self.unit() * (1.0 - beyond)).powf(1.0 / tail)
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(n: u32, mut draw: impl FnMut() -> f64) -> f64 {
        (0..n).map(|_| draw()).sum::<f64>() / f64::from(n)
    }

    #[test]
    fn draws_have_the_means_that_they_are_said_to_have() {
        let mut random = Random::new(1, "means", 0);
        assert!((mean(50_000, || random.unit()) - 0.5).abs() < 0.01);
        assert!((mean(50_000, || random.exponential(30.0)) - 30.0).abs() < 1.0);
        // exp(sigma^2 / 2) times the median.
        assert!((mean(50_000, || random.lognormal(360.0, 0.3)) - 376.6).abs() < 4.0);
        // With tail 2: 2 / (1/least + 1/most).
        assert!((mean(50_000, || random.bounded_pareto(5.0, 500.0, 2.0)) - 9.9).abs() < 0.3);
    }

    #[test]
    fn streams_are_their_own() {
        let first = |seed, stream, index| Random::new(seed, stream, index).unit().to_bits();
        assert_eq!(first(1, "nodes", 3), first(1, "nodes", 3));
        let others = [first(2, "nodes", 3), first(1, "pods", 3), first(1, "nodes", 4)];
        assert!(others.iter().all(|other| *other != first(1, "nodes", 3)));
    }
}
