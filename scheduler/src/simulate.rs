//! `framefleet-scheduler simulate`: what the planner would do with a day's work, and what others would, before anybody pays for
//! it.
//!
//! ```text
//! scenario.toml ─► scenario ─► trace (jobs, from a seed) ─┐
//!                                                         ├─► world (events) ─► ledger ─► report, chart
//! policy: our plan, KEDA's two ways, a fixed fleet ───────┘       ▲
//!                                   tune ─────────────────────────┘ on seeds of its own
//! ```

mod random;
pub mod scenario;
mod trace;
mod events;
mod topic;
mod backlog;
mod world;
mod policy;
mod ledger;
mod runs;
mod tune;
mod report;
mod chart;
mod seeds;

use crate::cli::{DONE, MISTAKE, print_error};
use clap::{Args, ValueEnum};
use policy::{Choice, Planned, ScaledJob, ScaledObject};
use report::Report;
use runs::Runs;
use scenario::Scenario;
use seeds::Seeds;
use std::io::{Write, stdout};
use std::path::{Path, PathBuf};

/// Simulates a cluster for a while: the planner, KEDA with the best parameters that are found, and a fixed fleet.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 done, 2 a mistake in the call or the scenario.\n\
                        Scenarios to begin with are in scheduler/scenarios; SIMULATOR.md says what is simulated.")]
pub struct Simulate {
    /// A scenario, such as scheduler/scenarios/burst.toml.
    scenario: PathBuf,
    /// The runs that are told of: 1..5 or 1,2,7.
    #[arg(long, default_value = "1..5")]
    seeds: Seeds,
    /// The runs on which the parameters of the others are chosen.
    #[arg(long, default_value = "101..103")]
    tuning_seeds: Seeds,
    #[arg(long, value_enum, default_value_t = Which::All)]
    policy: Which,
    /// Writes an SVG with the first seed's run.
    #[arg(long, value_name = "FILE")]
    chart: Option<PathBuf>,
    /// Prints JSON and no table.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Plan,
    Keda,
    Fixed,
    All,
}

impl Simulate {
    /// Gives the exit status.
    pub fn execute(&self) -> u8 {
        let scenario = match Scenario::read(&self.scenario) {
            Ok(scenario) => scenario,
            Err(error) => return mistake(error.code(), &error.to_string()),
        };
        // Before minutes of work, not after them.
        if let Some(Err(why)) = self.chart.as_deref().map(|path| std::fs::write(path, "")) {
            return self.chart_fails(&why);
        }
        let runs = Runs::new(&scenario, self.seeds.list());
        let competitors = self.competitors(&scenario);
        let choices: Vec<Choice> = competitors.iter().map(|competitor| competitor.choice.clone()).collect();
        let results = runs.outcomes(&choices, "the seeds that are told of");
        let report = Report::new(&scenario, &self.seeds, &self.tuning_seeds, competitors.iter().zip(&results));
        let text = if self.json { report.json() } else { report.table() };
        // Whoever reads may have gone away, which is no error.
        let _ = writeln!(stdout(), "{text}");
        match self.chart.as_deref().map(|path| draw(path, &runs, &competitors)) {
            Some(Err(why)) => self.chart_fails(&why),
            _ => DONE,
        }
    }

    fn competitors(&self, scenario: &Scenario) -> Vec<Competitor> {
        let mut competitors = Vec::new();
        if matches!(self.policy, Which::Plan | Which::All) {
            competitors.push(Competitor::new("FrameFleet", Choice::Plan(Planned::default())));
        }
        if self.policy == Which::Plan {
            return competitors;
        }
        let tuning = Runs::new(scenario, self.tuning_seeds.list());
        let most_misses = tune::misses(&tuning, &Choice::Plan(Planned::default()));
        if matches!(self.policy, Which::Keda | Which::All) {
            let pool = scenario.cheapest_pool();
            let most = scenario.pools[pool].max_workers;
            let jobs = Choice::ScaledJob(ScaledJob::documented(vec![pool], most));
            let object = Choice::ScaledObject(ScaledObject::documented(vec![pool], most));
            competitors.extend([
                Competitor::new("KEDA ScaledJob", tune::scaled_job(scenario, &tuning, most_misses)),
                Competitor::new("KEDA ScaledObject", tune::scaled_object(scenario, &tuning, most_misses)),
                Competitor { is_drawn: false, ..Competitor::new("ScaledJob, defaults", jobs) },
                Competitor { is_drawn: false, ..Competitor::new("ScaledObject, defaults", object) },
            ]);
        }
        if matches!(self.policy, Which::Fixed | Which::All) {
            competitors.push(Competitor::new("fixed", tune::fixed(scenario, &tuning, most_misses)));
        }
        competitors
    }

    fn chart_fails(&self, why: &dyn std::error::Error) -> u8 {
        let path = self.chart.as_deref().unwrap_or(Path::new("chart")).display();
        mistake(
            "CHART_NOT_WRITTEN",
            &format!("{path}: cannot be written: {why}: name a file in a folder that you may write to"),
        )
    }
}

/// A policy with its parameters, as it is called in tables.
#[derive(Debug)]
struct Competitor {
    name: &'static str,
    choice: Choice,
    is_drawn: bool,
}

impl Competitor {
    fn new(name: &'static str, choice: Choice) -> Self {
        Self { name, choice, is_drawn: true }
    }
}

fn draw(path: &Path, runs: &Runs<'_>, competitors: &[Competitor]) -> std::io::Result<()> {
    let drawn = competitors.iter().filter(|competitor| competitor.is_drawn);
    let samples = drawn.map(|competitor| (competitor.name, runs.first(&competitor.choice).samples));
    std::fs::write(path, chart::svg(runs.description(), &samples.collect::<Vec<_>>()))
}

fn mistake(code: &str, message: &str) -> u8 {
    print_error(code, message);
    MISTAKE
}
