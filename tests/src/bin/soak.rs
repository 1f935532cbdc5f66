//! `./dev soak [ROUNDS]`: four workers, one of which is killed in every round.
//!
//! `FRAMEFLEET_SEED` makes the same choices again; `FRAMEFLEET_SOAK_SECONDS=1..3` are the seconds between two kills.

use framefleet_tests::Broker;
use framefleet_tests::soak::Soak;
use std::process::ExitCode;

fn main() -> ExitCode {
    let rounds = std::env::args().nth(1).map_or(Ok(500), |rounds| rounds.parse());
    let seconds = std::env::var("FRAMEFLEET_SOAK_SECONDS").unwrap_or("1..10".to_owned());
    let pause = seconds.split_once("..").and_then(|(from, to)| Some((milliseconds(from)?, milliseconds(to)?)));
    let (Ok(rounds), Some((from, to))) = (rounds, pause.filter(|(from, to)| from <= to)) else {
        eprintln!("usage: soak [ROUNDS], with FRAMEFLEET_SOAK_SECONDS=FROM..TO");
        return ExitCode::from(2);
    };
    let report = Soak { rounds, workers: 4, pause_ms: from..=to, is_loud: true }.run(&Broker::start());
    println!("{} rounds, {} kills, {} jobs: {}", report.rounds, report.kills, report.jobs, report.findings);
    if report.findings.are_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn milliseconds(seconds: &str) -> Option<u64> {
    let seconds: f64 = seconds.parse().ok()?;
    (seconds >= 0.0).then_some((1000.0 * seconds) as u64)
}
