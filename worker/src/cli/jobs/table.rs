//! Jobs as lines of a table.

use crate::report::{plain_row, plain_table, trimmed};
use console::measure_text_width;
use framefleet_queue::board::Job;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source says most at its end, and no less than this of it is shown.
const SHORTEST_SOURCE: usize = 12;

/// One line for each job, below a line with the names of the columns. In fewer `columns` than that takes, sources lose
/// their beginnings.
pub fn table(jobs: &[Job], now: SystemTime, columns: usize) -> String {
    let longest = |widths: &mut dyn Iterator<Item = usize>| widths.max().unwrap_or(0);
    let whole = with_sources(jobs, now, usize::MAX);
    let excess = longest(&mut whole.lines().map(measure_text_width)).saturating_sub(columns);
    if excess == 0 {
        return whole;
    }
    let longest_source = longest(&mut jobs.iter().filter_map(|job| job.source.as_deref().map(measure_text_width)));
    with_sources(jobs, now, longest_source.saturating_sub(excess).max(SHORTEST_SOURCE))
}

fn with_sources(jobs: &[Job], now: SystemTime, most: usize) -> String {
    let mut table = plain_table();
    table.set_header(vec!["job", "state", "segments", "source", "model", "queue", "age", "error"]);
    for job in jobs {
        let error = job.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
        table.add_row(plain_row([
            job.job_id.as_str(),
            job.state.as_str(),
            &progress(job),
            &end_of(job.source.as_deref().unwrap_or_default(), most),
            job.model.as_deref().unwrap_or_default(),
            job.queue.as_deref().unwrap_or_default(),
            &job.submitted_ms.map(|at| age(at, now)).unwrap_or_default(),
            error.map_or("", |error| error.code.as_str()),
        ]));
    }
    trimmed(&table)
}

/// The text, or as much of its end as fits into so many columns.
fn end_of(text: &str, most: usize) -> String {
    if measure_text_width(text) <= most {
        return text.to_owned();
    }
    let mut cut = text;
    while measure_text_width(cut) >= most {
        let mut characters = cut.chars();
        if characters.next().is_none() {
            break;
        }
        cut = characters.as_str();
    }
    format!("…{cut}")
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
    use framefleet_contract::identity::JobId;
    use framefleet_queue::board::JobState;
    use std::collections::BTreeMap;

    #[test]
    fn a_long_source_loses_its_beginning_and_no_other_column_anything() {
        let job = |id: &str, source: &str| Job {
            job_id: JobId::new(id).unwrap(),
            state: JobState::Failed,
            source: Some(source.to_owned()),
            model: Some("street\nmain".to_owned()),
            queue: Some("normal".to_owned()),
            labels: BTreeMap::new(),
            deadline: None,
            progress: None,
            submitted_ms: Some(0),
            ended_ms: None,
            outcome: None,
            request_sha256: None,
        };
        let jobs = [job("a", "/a/very/long/way/down/to/the/漢字漢字/crossing-7.mp4"), job("b", "/b.mp4")];
        let lines = |columns| table(&jobs, UNIX_EPOCH, columns).lines().map(str::to_owned).collect::<Vec<_>>();
        let whole = lines(usize::MAX);
        assert!(whole.len() == 3 && whole[1].contains(" /a/very/long/way"), "{whole:?}");
        let width = measure_text_width(&whole[0]);
        assert_eq!(lines(width), whole);
        let narrow = lines(width - 20);
        assert!(narrow.iter().all(|line| measure_text_width(line) <= width - 20), "{narrow:?}");
        assert!(narrow[1].contains(" …") && narrow[1].contains("crossing-7.mp4 ") && narrow[2].contains(" /b.mp4 "));
        assert!(narrow[0].ends_with("error"), "{narrow:?}");
        assert!(lines(1)[1].contains("…ssing-7.mp4"), "{:?}", lines(1));
    }

    #[test]
    fn an_age_is_told_in_the_unit_that_says_most() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ages = [-5, 0, 119, 120, 7199, 7200, 172_799, 172_800].map(|ago| age((1_000_000 - ago) * 1000, now));
        assert_eq!(ages, ["0s", "0s", "119s", "2min", "119min", "2h", "47h", "2d"]);
    }
}
