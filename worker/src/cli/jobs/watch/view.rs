//! What is seen of a fleet at one moment.

use super::super::table::table;
use super::screen::Size;
use framefleet_contract::message::heartbeat::{Heartbeat, WorkerState};
use framefleet_queue::board::{Job, JobState};
use std::collections::BTreeMap;
use std::time::SystemTime;

pub struct View<'a> {
    /// In the order in which they were submitted.
    pub jobs: &'a [Job],
    pub workers: &'a [&'a Heartbeat],
    pub now: SystemTime,
}

impl View<'_> {
    /// As much of it as there is room for: the counts first, then who works, then the jobs.
    pub fn lines(&self, size: Size) -> Vec<String> {
        // One is the cursor's.
        let room = size.lines.saturating_sub(1);
        let mut lines = vec![self.counts(), self.crew()];
        // A quarter at most, so that there is something to see of the jobs.
        lines.extend(self.workers.iter().take(room / 4).map(|worker| said_of(worker)));
        lines.push(String::new());
        // Below the names of the columns.
        let rows = room.saturating_sub(lines.len() + 1);
        let hidden = self.jobs.len().saturating_sub(rows);
        let shown = if hidden > 0 { rows.saturating_sub(1) } else { rows };
        let jobs: Vec<Job> = self.by_interest().into_iter().take(shown).cloned().collect();
        // A line as wide as the terminal is cut by it.
        lines.extend(table(&jobs, self.now, size.columns.saturating_sub(1)).lines().map(str::to_owned));
        if hidden > 0 {
            lines.push(format!("  … and {} more", self.jobs.len() - jobs.len()));
        }
        lines.truncate(room);
        lines
    }

    fn counts(&self) -> String {
        let count = |state| self.jobs.iter().filter(|job| job.state == state).count();
        let counts = JobState::ALL.into_iter().map(|state| (state, count(state))).filter(|(_, n)| *n > 0);
        let counts: Vec<String> = counts.map(|(state, n)| format!("{n} {}", state.as_str())).collect();
        format!("  jobs     {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") })
    }

    fn crew(&self) -> String {
        let mut roles: BTreeMap<&str, usize> = BTreeMap::new();
        self.workers.iter().flat_map(|worker| &worker.roles).for_each(|role| *roles.entry(role).or_default() += 1);
        let roles: Vec<String> = roles.into_iter().map(|(role, n)| format!("{n} {role}")).collect();
        let in_flight: usize = self.workers.iter().map(|worker| worker.in_flight.len()).sum();
        match self.workers.len() {
            0 => "  workers  none alive".to_owned(),
            n => format!("  workers  {n} alive: {}; {in_flight} in flight", roles.join(", ")),
        }
    }

    /// Those that are worked on, those that wait, and those that have ended, the last first.
    fn by_interest(&self) -> Vec<&Job> {
        let mut jobs: Vec<&Job> = self.jobs.iter().rev().collect();
        jobs.sort_by_key(|job| match job.state {
            JobState::Detecting | JobState::Tracking | JobState::Cancelling => 0,
            JobState::Queued => 1,
            JobState::Succeeded | JobState::Failed | JobState::Cancelled => 2,
        });
        jobs
    }
}

fn said_of(worker: &Heartbeat) -> String {
    let state = match worker.state {
        WorkerState::Ready => "",
        WorkerState::Paused => " (paused)",
        WorkerState::Draining => " (leaves)",
        WorkerState::Unknown => " (?)",
    };
    let pieces = worker.in_flight.iter().map(|piece| match piece.frames {
        0 => format!("{} {}", piece.job_id, piece.step),
        frames => format!("{} {} ({}/{frames})", piece.job_id, piece.step, piece.frames_done),
    });
    let pieces = pieces.collect::<Vec<_>>().join(", ");
    let pieces = if pieces.is_empty() { "idle".to_owned() } else { pieces };
    format!("    {}{state}: {pieces}", worker.worker_id).replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::identity::JobId;
    use serde_json::json;

    fn job(id: &str, state: JobState, submitted_ms: i64) -> Job {
        Job {
            job_id: JobId::new(id).unwrap(),
            state,
            source: None,
            model: None,
            queue: None,
            labels: BTreeMap::new(),
            deadline: None,
            progress: None,
            submitted_ms: Some(submitted_ms),
            ended_ms: None,
            outcome: None,
            request_sha256: None,
        }
    }

    fn worker(id: &str) -> Heartbeat {
        let beat = json!({
            "version": 1, "worker_id": id, "host": "h", "program": "p", "state": "draining", "roles": ["plan", "detect"],
            "device": "cpu", "slots": 2, "threads": 2, "started": "", "sent": "", "interval_s": 3.0,
            "in_flight": [{"job_id": "j", "step": "4", "frames": 9, "frames_done": 3}]
        });
        serde_json::from_value(beat).unwrap()
    }

    #[test]
    fn what_is_worked_on_comes_first_and_what_has_no_room_is_counted() {
        let jobs = [
            job("old", JobState::Succeeded, 1),
            job("runs", JobState::Detecting, 2),
            job("waits", JobState::Queued, 3),
            job("new", JobState::Failed, 4),
        ];
        let (one, other) = (worker("one"), worker("other"));
        let view = View { jobs: &jobs, workers: &[&one, &other], now: SystemTime::now() };
        let all = view.lines(Size { lines: 40, columns: 80 });
        assert_eq!(all[0], "  jobs     1 queued, 1 detecting, 1 succeeded, 1 failed");
        assert_eq!(all[1], "  workers  2 alive: 2 detect, 2 plan; 2 in flight");
        assert_eq!(all[2], "    one (leaves): j 4 (3/9)");
        let ids: Vec<&str> = all[6..].iter().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(ids, ["runs", "waits", "new", "old"]);
        let little = view.lines(Size { lines: 10, columns: 80 });
        assert_eq!(little.len(), 9);
        assert_eq!(little.last().unwrap(), "  … and 2 more");
        assert!(view.lines(Size { lines: 3, columns: 80 }).len() <= 2);
        assert_eq!(view.lines(Size { lines: 0, columns: 0 }), [""; 0]);
    }

    #[test]
    fn a_fleet_without_jobs_and_workers_says_so() {
        let view = View { jobs: &[], workers: &[], now: SystemTime::now() };
        let lines = view.lines(Size { lines: 20, columns: 80 });
        assert_eq!(lines[..2], ["  jobs     none", "  workers  none alive"]);
    }
}
