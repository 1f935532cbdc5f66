//! Jobs whose workers all failed, and how long to wait before the next.

use crate::seconds;
use k8s_openapi::api::batch::v1::Job;

/// Of the last Jobs, those that failed without one worker that succeeded.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failures {
    pub in_a_row: u32,
    last: f64,
    pub message: String,
}

/// After the first failure; twice as long after each other one.
const FIRST_PAUSE_S: f64 = 60.0;
const LONGEST_PAUSE_S: f64 = 900.0;

impl Failures {
    /// `jobs` of one template, in the order in which they were made. One that has not ended says nothing.
    pub fn of<'a>(jobs: impl Iterator<Item = &'a Job>) -> Self {
        let mut failures = Self::default();
        for status in jobs.filter_map(|job| job.status.as_ref()) {
            if status.succeeded.unwrap_or(0) > 0 || status.ready.unwrap_or(0) > 0 {
                failures = Self::default();
                continue;
            }
            let failed = status
                .conditions
                .iter()
                .flatten()
                .find(|condition| condition.type_ == "Failed" && condition.status == "True");
            if let Some(failed) = failed {
                failures.in_a_row += 1;
                failures.last = failed.last_transition_time.as_ref().map_or(0.0, seconds::since_1970);
                failures.message = failed.message.clone().unwrap_or_default();
            }
        }
        failures
    }

    /// When the next Job may be made.
    pub fn not_before(&self) -> Option<f64> {
        let pauses = self.in_a_row.checked_sub(1)?;
        Some(self.last + (FIRST_PAUSE_S * f64::from(2_u32.saturating_pow(pauses.min(16)))).min(LONGEST_PAUSE_S))
    }
}
