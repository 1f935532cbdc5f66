//! What waits and what comes, as the planner sees it: pure data, all times in seconds since 1970.
//!
//! ```text
//! topics ─► follow (a thread for each fleet) ─► known ─┬► backlog + jobs ─► waiting    ┐
//!                                                      ├► arrivals ───────► arriving   ├► Snapshot
//!                                                      ├► costs, pace ────► costs      │
//!                                                      └► reading ────────► unknown    ┘
//! ```
//!
//! What Kafka holds is asked for and read, and nothing is kept elsewhere: a scheduler that starts anew knows the same after it
//! has caught up. Until then, and wherever an answer is missing, it says so.

mod jobs;
mod kinds;
mod backlog;
mod arrivals;
mod costs;
mod pace;
mod reading;
mod trouble;
mod known;
mod follow;

pub use costs::{Cost, Costs};
pub use follow::Follower;
pub use known::Snapshot;
pub use trouble::Trouble;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Of one fleet: the work that came to its topics.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Demand {
    pub lanes: BTreeMap<Lane, LaneDemand>,
}

/// Where work waits: one topic each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Requests that wait to be planned.
    Plan,
    /// The segments of a queue.
    Detect(String),
    /// Jobs whose segments are published.
    Finish,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct LaneDemand {
    /// Why what is below cannot be relied on, where it cannot: then fleets stay as they are.
    pub unknown: Option<String>,
    /// In the order in which it came.
    pub waiting: Vec<Work>,
    pub arriving: Vec<Arriving>,
    /// No more workers than these get work at once.
    pub partitions: u32,
}

/// Pieces of work that are alike.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    pub model: Model,
    /// Frames to infer, or messages where nothing is inferred.
    pub units: f64,
    /// Messages.
    pub items: u32,
    /// When the first of them came.
    pub since: f64,
    /// When it must be done.
    pub deadline: Option<f64>,
    /// Memory that the model needs, bytes, where it is known.
    pub memory: Option<u64>,
}

/// Work of one model that comes all the time.
#[derive(Debug, Clone, PartialEq)]
pub struct Arriving {
    pub model: Model,
    pub units_per_second: f64,
}

/// What work costs by: a model's sha256, or the role where nothing is inferred.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Model(Arc<str>);

impl Model {
    pub fn new(sha256: &str) -> Self {
        Self(sha256.into())
    }

    /// Of requests that wait to be planned.
    pub fn plan() -> Self {
        Self::new("plan")
    }

    /// Of messages that tell of segments that are published.
    pub fn finish() -> Self {
        Self::new("finish")
    }

    /// Whether it is looked at frames with.
    pub fn is_inferred(&self) -> bool {
        !matches!(self.as_str(), "plan" | "finish")
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => f.write_str("jobs to plan"),
            Self::Detect(queue) => write!(f, "queue {queue}"),
            Self::Finish => f.write_str("jobs to finish"),
        }
    }
}
