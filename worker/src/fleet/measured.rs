//! What a frame of each model costs here: the unit in which a fleet measures work.

use framefleet_contract::identity::Sha256;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Busy seconds of an inference thread for each frame, by model, over what this process did.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    sums: Arc<Mutex<BTreeMap<String, Sum>>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    frames: f64,
    busy_s: f64,
}

/// What was measured longer ago than so many frames counts less and less: a machine may be busier than it was.
const MEMORY_FRAMES: f64 = 20_000.0;

impl Measured {
    pub fn add(&self, model: &Sha256, frames: u64, busy_s: f64) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = sums.entry(model.to_string()).or_default();
        if sum.frames > MEMORY_FRAMES {
            *sum = Sum { frames: sum.frames / 2.0, busy_s: sum.busy_s / 2.0 };
        }
        sum.frames += frames as f64;
        sum.busy_s += busy_s;
    }

    /// By the model's sha256. A model of which no frame was inferred is not in it.
    pub fn seconds_per_frame(&self) -> BTreeMap<String, f64> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let known = sums.iter().filter(|(_, sum)| sum.frames > 0.0);
        known.map(|(model, sum)| (model.clone(), sum.busy_s / sum.frames)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_follows_what_is_measured_now() {
        let (measured, model) = (Measured::default(), Sha256::of(b"m"));
        measured.add(&Sha256::of(b"other"), 0, 0.0);
        measured.add(&model, 100, 1.0);
        assert_eq!(measured.seconds_per_frame(), BTreeMap::from([(model.to_string(), 0.01)]));
        for _ in 0..20 {
            measured.add(&model, 10_000, 200.0);
        }
        let now = measured.seconds_per_frame()[model.as_str()];
        assert!((now - 0.02).abs() < 0.0002, "{now}");
    }
}
