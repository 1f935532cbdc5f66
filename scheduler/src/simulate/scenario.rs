//! What is simulated: a TOML file, every field of which is checked.

mod check;
mod duration;

#[cfg(test)]
mod tests;

pub use duration::Duration;

use super::policy::Leaves;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Times are in seconds from the beginning once they are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One sentence for those who read the table.
    pub description: String,
    /// For how long jobs come.
    pub duration: Duration,
    /// The length of video that is one message.
    pub segment: Duration,
    pub frame_rate: f64,
    pub planner: Planner,
    pub queues: Vec<Queue>,
    pub models: Vec<Model>,
    pub pools: Vec<Pool>,
    pub jobs: Vec<Kind>,
    #[serde(default)]
    pub bursts: Vec<Burst>,
    #[serde(default)]
    pub outages: Vec<Outage>,
}

/// What the scheduler is told, and how its workers behave.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planner {
    /// Between two plans.
    pub period: Duration,
    pub drain_within: Duration,
    pub stabilization: Duration,
    /// A worker of a Job leaves when there was no work for so long.
    pub idle_exit: Duration,
    pub leaves: Leaves,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    pub name: String,
    pub partitions: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub name: String,
    /// On a pool of speed 1.
    pub seconds_per_frame: f64,
    /// Workers of the days before have told what its frames cost. If not, the scheduler finds out.
    #[serde(default)]
    pub measured: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    pub name: String,
    pub run_as: RunAs,
    /// With their weights.
    pub queues: BTreeMap<String, u32>,
    #[serde(default)]
    pub min_workers: u32,
    pub max_workers: u32,
    pub slots: u32,
    pub price_per_hour: f64,
    pub budget_per_hour: Option<f64>,
    pub speed: f64,
    /// What the scheduler believes until it has seen some.
    pub cold_start: Duration,
    pub nodes: Nodes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunAs {
    Jobs,
    Deployment,
}

/// Where a pool's workers run. Times of boots, images and models are medians of lognormal distributions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// One worker has one of them.
    pub gpus: u32,
    pub boot: Duration,
    /// Of the logarithm of the time.
    pub boot_sigma: f64,
    /// The first pod of a node pulls the image.
    pub image: Duration,
    pub model: Duration,
    /// A node without pods stays for so long, and costs money.
    pub keep: Duration,
    /// Spot nodes are taken away after a time of this mean.
    pub lost_after: Option<Duration>,
}

/// Jobs that are alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    pub name: String,
    pub queue: String,
    pub model: String,
    /// In the mean, where the rhythm is 1.
    pub per_hour: f64,
    /// Factors by the hour of the day, the first at midnight, between which it changes evenly.
    #[serde(default)]
    pub rhythm: Vec<f64>,
    pub length: Length,
    pub deadline: Option<Deadline>,
}

/// Of a video: a bounded Pareto distribution.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    pub least: Duration,
    pub most: Duration,
    /// The smaller, the more long ones.
    pub tail: f64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deadline {
    /// Of the jobs.
    pub part: f64,
    /// A job came.
    pub after: Duration,
}

/// Jobs that come at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    pub at: Duration,
    pub kind: String,
    pub count: u32,
    /// Evenly within this time.
    pub over: Duration,
}

/// A time in which something does not answer: Kafka, or the pool's cloud where one is named, which gives no nodes then.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    pub at: Duration,
    pub lasts: Duration,
    pub pool: Option<String>,
}

#[derive(Debug, Error)]
pub enum ScenarioError {
    #[error("{}: cannot be read: {why}: name a file such as scheduler/scenarios/burst.toml", path.display())]
    Unreadable { path: PathBuf, why: std::io::Error },
    #[error("{}: {problem}", path.display())]
    Invalid { path: PathBuf, problem: Problem },
}

impl ScenarioError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "SCENARIO_NOT_FOUND",
            Self::Invalid { .. } => "SCENARIO_INVALID",
        }
    }
}

/// What is wrong in a scenario, where, and what would be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// A line, or a field such as `pools[0].slots`.
    pub place: String,
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl Scenario {
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|why| ScenarioError::Unreadable { path: path.to_owned(), why })?;
        Self::parse(&text).map_err(|problem| ScenarioError::Invalid { path: path.to_owned(), problem })
    }

    pub fn parse(text: &str) -> Result<Self, Problem> {
        let scenario: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            Problem { place: format!("line {line}"), what: error.message().to_owned() }
        })?;
        check::check(&scenario)?;
        Ok(scenario)
    }

    pub fn queue(&self, name: &str) -> usize {
        self.queues.iter().position(|queue| queue.name == name).expect("names are checked when a scenario is read")
    }

    pub fn model(&self, name: &str) -> usize {
        self.models.iter().position(|model| model.name == name).expect("names are checked when a scenario is read")
    }

    pub fn kind(&self, name: &str) -> usize {
        self.jobs.iter().position(|kind| kind.name == name).expect("names are checked when a scenario is read")
    }

    /// Seconds of a worker of a pool for a frame of a model.
    pub fn cost(&self, pool: usize, model: usize) -> f64 {
        self.models[model].seconds_per_frame / self.pools[pool].speed
    }

    pub fn cheapest_pool(&self) -> usize {
        let price = |pool: usize| self.pools[pool].price_per_hour / self.pools[pool].speed;
        (0..self.pools.len()).min_by(|a, b| price(*a).total_cmp(&price(*b))).unwrap_or(0)
    }

    pub fn broker_outages(&self) -> impl Iterator<Item = &Outage> {
        self.outages.iter().filter(|outage| outage.pool.is_none())
    }
}

impl Pool {
    pub fn is_spot(&self) -> bool {
        self.nodes.lost_after.is_some()
    }
}
