//! Workers that are killed again and again, while there is always work.

use crate::fleet::{Fleet, Worker, WorkerCall};
use crate::footage::Footage;
use crate::kafka::Broker;
use crate::oracle::commits::assert_nothing_is_lost;
use crate::oracle::{Findings, Oracle};
use crate::orders::Orders;
use crate::random::Random;
use framefleet_contract::identity::JobId;
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

/// How a fleet is to be maltreated.
#[derive(Debug, Clone)]
pub struct Soak {
    pub rounds: u32,
    pub workers: usize,
    /// Between two kills, milliseconds.
    pub pause_ms: RangeInclusive<u64>,
    /// Whether each round is told of.
    pub is_loud: bool,
}

#[derive(Debug, Default)]
pub struct Report {
    pub rounds: u32,
    pub kills: u32,
    pub jobs: usize,
    pub findings: Findings,
}

/// Jobs that have not ended, at any time: enough that no worker is ever without work.
const OPEN_JOBS: usize = 4;
/// Of a segment with 25 packets, a quarter of a second: most kills hit work, and the processor has others to serve too.
const PACE: &str = "decode @ sleep-10000";
/// Between two looks at whether the next job is to be submitted.
const LOOK: Duration = Duration::from_millis(50);

impl Soak {
    /// Kills one worker after the other, starts each again, and looks at all jobs in the end.
    pub fn run(&self, broker: &Broker) -> Report {
        let fleet = Fleet::on(broker);
        let pace = Orders::new(fleet.scratch(), "pace");
        pace.give(&[PACE]);
        let start = || -> WorkerCall { fleet.worker().envs(pace.environment()) };
        let mut random = Random::seeded();
        let mut workers: Vec<Worker> = (0..self.workers).map(|_| start().start()).collect();
        let mut jobs: Vec<JobId> = Vec::new();
        let mut report = Report::default();
        while report.rounds < self.rounds {
            let span = self.pause_ms.end() - self.pause_ms.start() + 1;
            let pause = Duration::from_millis(self.pause_ms.start() + random.below(span));
            keep_busy(&fleet, &mut jobs, pause);
            let victim = random.below(self.workers as u64) as usize;
            workers[victim].kill();
            workers[victim] = start().start();
            report.rounds += 1;
            report.kills += 1;
            if report.rounds.is_multiple_of(4) {
                assert_nothing_is_lost(&fleet, &jobs);
            }
            if self.is_loud {
                let ended = jobs.iter().filter(|id| fleet.outcome(id).is_some()).count();
                println!(
                    "round {}: worker {victim} killed after {pause:?}; {ended} of {} jobs have ended",
                    report.rounds,
                    jobs.len()
                );
            }
        }
        pace.withdraw();
        report.jobs = jobs.len();
        report.findings = Oracle::of(&fleet).succeeded(&jobs, Footage::short()).findings();
        report
    }
}

/// Submits jobs for so long.
fn keep_busy(fleet: &Fleet, jobs: &mut Vec<JobId>, pause: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < pause {
        let open = jobs.iter().rev().take(4 * OPEN_JOBS).filter(|id| fleet.outcome(id).is_none()).count();
        for _ in open..OPEN_JOBS {
            jobs.push(fleet.submit(&format!("job-{}", jobs.len()), Footage::short()));
        }
        thread::park_timeout(LOOK.min(pause.saturating_sub(begun.elapsed())));
    }
}
