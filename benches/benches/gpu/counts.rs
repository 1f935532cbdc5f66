//! The program's own metrics, kept where this one reads them: frames that came through, and the sizes of batches.

use crate::Failure;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// Since [`reset`].
#[derive(Debug, Default)]
pub struct Counts {
    inferred: Arc<AtomicU64>,
    on_nvdec: Arc<AtomicU64>,
    in_software: Arc<AtomicU64>,
    batches: Arc<Batches>,
}

/// How often there was a batch of so many frames.
#[derive(Debug, Default)]
struct Batches(Mutex<BTreeMap<u32, u64>>);

/// Every handle that the program has leads here.
static COUNTS: LazyLock<Counts> = LazyLock::new(Counts::default);

/// Before anything is measured, and once.
pub fn install() -> Result<(), Failure> {
    metrics::set_global_recorder(Recording).map_err(|error| error.to_string().into())
}

pub fn reset() {
    for count in [&COUNTS.inferred, &COUNTS.on_nvdec, &COUNTS.in_software] {
        count.store(0, Ordering::Relaxed);
    }
    COUNTS.batches.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

pub fn inferred() -> u64 {
    COUNTS.inferred.load(Ordering::Relaxed)
}

/// Of the frames that were decoded in segments that have ended, the share that was not decoded on NVDEC.
pub fn software_share() -> f64 {
    let [nvdec, software] = [&COUNTS.on_nvdec, &COUNTS.in_software].map(|count| count.load(Ordering::Relaxed) as f64);
    if nvdec + software > 0.0 { software / (nvdec + software) } else { 0.0 }
}

pub fn batches() -> BTreeMap<u32, u64> {
    COUNTS.batches.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl HistogramFn for Batches {
    fn record(&self, value: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(value as u32).or_default() += 1;
    }
}

struct Recording;

impl Recorder for Recording {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let on_nvdec = key.labels().any(|label| label.key() == "device" && label.value() == "nvdec");
        let count = match key.name() {
            "framefleet_frames_inferred_total" => &COUNTS.inferred,
            "framefleet_frames_decoded_total" if on_nvdec => &COUNTS.on_nvdec,
            "framefleet_frames_decoded_total" => &COUNTS.in_software,
            _ => return Counter::noop(),
        };
        Counter::from_arc(Arc::clone(count))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match key.name() {
            "framefleet_batch_frames" => Histogram::from_arc(Arc::clone(&COUNTS.batches)),
            _ => Histogram::noop(),
        }
    }
}
