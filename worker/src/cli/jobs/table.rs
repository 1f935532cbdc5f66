//! Jobs as lines of a table.

use crate::report::{plain_table, trimmed};
use framefleet_queue::board::Job;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One line for each job, below a line with the names of the columns.
pub fn table(jobs: &[Job], now: SystemTime) -> String {
    let mut table = plain_table();
    table.set_header(vec!["job", "state", "segments", "source", "model", "queue", "age", "error"]);
    for job in jobs {
        let error = job.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
        table.add_row(vec![
            job.job_id.as_str(),
            job.state.as_str(),
            &progress(job),
            job.source.as_deref().unwrap_or_default(),
            job.model.as_deref().unwrap_or_default(),
            job.queue.as_deref().unwrap_or_default(),
            &job.submitted_ms.map(|at| age(at, now)).unwrap_or_default(),
            error.map_or("", |error| error.code.as_str()),
        ]);
    }
    trimmed(&table)
}

/// Segments that are published, of how many.
pub fn progress(job: &Job) -> String {
    job.progress.map(|at| format!("{}/{}", at.segments_done, at.segments)).unwrap_or_default()
}

/// How long ago that was, in one unit. `at_ms` counts from 1970.
pub fn age(at_ms: i64, now: SystemTime) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(at_ms.max(0).cast_unsigned());
    // Clocks differ: what comes from the future has just happened.
    let seconds = now.duration_since(at).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}min", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_unit_that_says_most() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ages = [-5, 0, 119, 120, 7199, 7200, 172_799, 172_800].map(|ago| age((1_000_000 - ago) * 1000, now));
        assert_eq!(ages, ["0s", "0s", "119s", "2min", "119min", "2h", "47h", "2d"]);
    }
}
