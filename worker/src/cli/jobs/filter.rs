//! Which jobs are asked for.

use clap::Args;
use framefleet_queue::board::{Job, JobState};

#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Only jobs in these states: queued, cancelling, detecting, tracking, succeeded, failed, cancelled
    #[arg(long, value_name = "STATE,...", value_delimiter = ',', value_parser = state)]
    state: Vec<JobState>,

    /// Only jobs with this label; can be given several times, and all must be there
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = super::super::submit::label)]
    labels: Vec<(String, String)>,

    /// Only jobs of this queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,

    /// Only the last N that were submitted
    #[arg(long, value_name = "N")]
    last: Option<usize>,
}

impl Filter {
    /// Those of these jobs, which are in the order in which they were submitted.
    pub fn of(&self, mut jobs: Vec<Job>) -> Vec<Job> {
        jobs.retain(|job| self.takes(job));
        let first = self.last.map_or(0, |last| jobs.len().saturating_sub(last));
        jobs.split_off(first)
    }

    fn takes(&self, job: &Job) -> bool {
        (self.state.is_empty() || self.state.contains(&job.state))
            && self.queue.as_ref().is_none_or(|queue| job.queue.as_ref() == Some(queue))
            && self.labels.iter().all(|(key, value)| job.labels.get(key) == Some(value))
    }
}

fn state(text: &str) -> Result<JobState, String> {
    let known = JobState::ALL.into_iter().find(|state| state.as_str() == text);
    known.ok_or_else(|| format!("take some of {}", JobState::ALL.map(JobState::as_str).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::identity::JobId;
    use std::collections::BTreeMap;

    fn job(id: &str, state: JobState, queue: &str, colour: &str) -> Job {
        Job {
            job_id: JobId::new(id).unwrap(),
            state,
            source: None,
            model: None,
            queue: Some(queue.to_owned()),
            labels: BTreeMap::from([("colour".to_owned(), colour.to_owned())]),
            deadline: None,
            progress: None,
            submitted_ms: None,
            ended_ms: None,
            outcome: None,
            request_sha256: None,
        }
    }

    #[test]
    fn only_what_is_asked_for_is_shown() {
        let jobs = || {
            vec![
                job("a", JobState::Failed, "high", "red"),
                job("b", JobState::Queued, "high", "blue"),
                job("c", JobState::Failed, "low", "red"),
            ]
        };
        let ids =
            |filter: Filter| filter.of(jobs()).iter().map(|job| job.job_id.as_str().to_owned()).collect::<String>();
        assert_eq!(ids(Filter::default()), "abc");
        assert_eq!(ids(Filter { state: vec![JobState::Failed], ..Filter::default() }), "ac");
        assert_eq!(ids(Filter { queue: Some("high".into()), ..Filter::default() }), "ab");
        let red = || vec![("colour".to_owned(), "red".to_owned())];
        assert_eq!(ids(Filter { labels: red(), ..Filter::default() }), "ac");
        assert_eq!(ids(Filter { labels: red(), last: Some(1), ..Filter::default() }), "c");
        assert_eq!(ids(Filter { last: Some(9), ..Filter::default() }), "abc");
        assert_eq!(ids(Filter { last: Some(0), ..Filter::default() }), "");
    }

    #[test]
    fn a_state_that_is_none_is_refused_with_those_there_are() {
        assert_eq!(state("failed"), Ok(JobState::Failed));
        assert!(state("done").unwrap_err().contains("queued, cancelling"));
    }
}
