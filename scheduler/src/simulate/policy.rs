//! Who decides how many workers there are.

mod fixed;
mod planned;
mod scaled_job;
mod scaled_object;

pub use fixed::Fixed;
pub use planned::Planned;
pub use scaled_job::{ScaledJob, Strategy};
pub use scaled_object::ScaledObject;

use super::scenario::Scenario;
use super::world::World;
use serde::{Deserialize, Serialize};

pub trait Policy {
    /// Seconds between two decisions.
    fn period(&self) -> f64;

    fn decide(&mut self, world: &World<'_>) -> Vec<Order>;

    /// Workers of all pools that it wanted last.
    fn wanted(&self) -> u32;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Start {
        pool: usize,
        workers: u32,
    },
    /// Of the workers that are there or come, those that have nothing in hand.
    DismissIdle {
        pool: usize,
        workers: u32,
    },
    /// Whole Jobs, as they were started, of which no worker has ever run.
    TakeBack {
        pool: usize,
        workers: u32,
    },
    /// As a Deployment's replicas are set: when there are more, some are killed.
    Resize {
        pool: usize,
        replicas: u32,
    },
}

/// How workers behave under a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerRules {
    /// By pool.
    pub leaves: Vec<Leaves>,
    /// What a worker that is told to go has to end its work, seconds.
    pub grace: f64,
}

/// When a worker leaves by itself, after having had nothing to do for the idle exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leaves {
    Never,
    /// Nobody has anything in hand, and nothing waits.
    WhenQueuesAreEmpty,
    /// It has no work of its own, whatever others have.
    WhenIdle,
}

/// A policy with its parameters.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case", tag = "policy")]
pub enum Choice {
    Plan(Planned),
    ScaledJob(ScaledJob),
    ScaledObject(ScaledObject),
    Fixed(Fixed),
}

impl Choice {
    pub fn rules(&self, scenario: &Scenario) -> WorkerRules {
        let (leaves, grace) = match self {
            Self::Plan(_) => (Planned::leaves(scenario), 0.0),
            Self::ScaledJob(settings) => (vec![settings.leaves; scenario.pools.len()], 0.0),
            Self::ScaledObject(settings) => (vec![Leaves::Never; scenario.pools.len()], settings.grace_seconds),
            Self::Fixed(_) => (vec![Leaves::Never; scenario.pools.len()], 0.0),
        };
        WorkerRules { leaves, grace }
    }

    pub fn policy(&self, scenario: &Scenario) -> Box<dyn Policy> {
        match self {
            Self::Plan(_) => Box::new(planned::Scheduler::new(scenario)),
            Self::ScaledJob(settings) => Box::new(scaled_job::Keda::new(settings.clone())),
            Self::ScaledObject(settings) => Box::new(scaled_object::Keda::new(settings.clone(), scenario)),
            Self::Fixed(settings) => Box::new(settings.clone()),
        }
    }
}

/// What KEDA's Kafka scaler sees of a queue, `None` where it gets an error. Without `allowIdleConsumers` no more lag than
/// gives every partition a worker.
fn lag(world: &World<'_>, queue: usize, threshold: u32) -> Option<u32> {
    let lag = world.backlog(queue)?.items();
    let partitions = world.scenario.queues[queue].partitions;
    Some(if lag / threshold > partitions { partitions * threshold } else { lag })
}

/// By the queues that a pool serves.
fn lags(world: &World<'_>, pool: usize, threshold: u32) -> Vec<Option<u32>> {
    let queues = world.scenario.pools[pool].queues.keys();
    queues.map(|name| lag(world, world.scenario.queue(name), threshold)).collect()
}
