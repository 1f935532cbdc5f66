//! The outcomes side by side.

use super::Competitor;
use super::ledger::Outcome;
use super::policy::Choice;
use super::scenario::Scenario;
use super::seeds::Seeds;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Report<'a> {
    description: &'a str,
    seeds: &'a [u64],
    tuning_seeds: &'a [u64],
    policies: Vec<OfPolicy<'a>>,
}

#[derive(Debug, Serialize)]
struct OfPolicy<'a> {
    name: &'static str,
    parameters: &'a Choice,
    mean: Outcome,
    /// Standard deviation over the seeds.
    spread: Outcome,
    by_seed: &'a [Outcome],
}

impl<'a> Report<'a> {
    pub fn new(
        scenario: &'a Scenario,
        seeds: &'a Seeds,
        tuning_seeds: &'a Seeds,
        outcomes: impl Iterator<Item = (&'a Competitor, &'a Vec<Outcome>)>,
    ) -> Self {
        let of_policy = |(competitor, by_seed): (&'a Competitor, &'a Vec<Outcome>)| OfPolicy {
            name: competitor.name,
            parameters: &competitor.choice,
            mean: Outcome::mean(by_seed),
            spread: Outcome::spread(by_seed),
            by_seed,
        };
        Self {
            description: &scenario.description,
            seeds: seeds.list(),
            tuning_seeds: tuning_seeds.list(),
            policies: outcomes.map(of_policy).collect(),
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and names can be written as JSON")
    }

    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(vec![
            "policy", "GPU-h", "±", "price", "late", "slow", "of jobs", "wait p50", "p95", "killed", "lost", "starts",
            "used",
        ]);
        for policy in &self.policies {
            table.add_row(row(policy));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let lines = table.to_string();
        let lines: Vec<String> = lines.lines().map(|line| format!(" {}", line.trim_end())).collect();
        let tuned = self.policies.iter().map(|policy| format!(" {}: {}", policy.name, parameters(policy.parameters)));
        let tuned: Vec<String> = tuned.collect();
        format!(
            "{}\n\n{}\n\n{}\n\n Means over {} seeds. late: jobs after their deadline; slow: jobs without one after drain_within and \
             the time of\n their longest segment. wait: of segments, seconds. killed, lost: worker-seconds to be done again, after \
             scale-in and\n lost nodes. used: part of the GPUs' time with work in hand.",
            self.description,
            lines.join("\n"),
            tuned.join("\n"),
            self.seeds.len()
        )
    }
}

fn row(policy: &OfPolicy<'_>) -> Vec<String> {
    let mean = &policy.mean;
    vec![
        policy.name.to_owned(),
        format!("{:.1}", mean.gpu_hours),
        format!("{:.1}", policy.spread.gpu_hours),
        format!("{:.0}", mean.price),
        format!("{:.1}", mean.late),
        format!("{:.1}", mean.slow),
        format!("{:.0}", mean.jobs),
        format!("{:.0}", mean.wait_p50),
        format!("{:.0}", mean.wait_p95),
        format!("{:.0}", mean.killed_worker_seconds),
        format!("{:.0}", mean.lost_worker_seconds),
        format!("{:.0}", mean.starts),
        format!("{:.0} %", mean.utilisation * 100.0),
    ]
}

fn parameters(choice: &Choice) -> String {
    match serde_json::to_value(choice) {
        Ok(serde_json::Value::Object(fields)) => {
            let named =
                fields.iter().filter(|(name, _)| *name != "policy").map(|(name, value)| format!("{name} {value}"));
            let named: Vec<String> = named.collect();
            if named.is_empty() { "nothing to tune".to_owned() } else { named.join(", ") }
        }
        _ => String::new(),
    }
}
