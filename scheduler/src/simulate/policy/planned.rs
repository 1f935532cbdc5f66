//! FrameFleet's own planner, given what the real scheduler would know: what waits and comes by Kafka, pods by the API server,
//! what a frame costs by what workers measured, and how long a start takes by those that it saw.

use super::super::scenario::{Pool, RunAs, Scenario};
use super::super::world::{PoolState, State};
use super::{Leaves, Order, Policy, World};
use crate::demand::{Arriving, Demand, Lane, LaneDemand, Model, Work};
use crate::observe;
use crate::plan::{self, Observed};
use serde::Serialize;
use std::collections::BTreeMap;

/// All that it needs is in the scenario.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Planned {}

impl Planned {
    pub fn leaves(scenario: &Scenario) -> Vec<Leaves> {
        let leaves = |pool: &Pool| match pool.run_as {
            RunAs::Jobs => scenario.planner.leaves,
            RunAs::Deployment => Leaves::Never,
        };
        scenario.pools.iter().map(leaves).collect()
    }
}

#[derive(Debug)]
pub struct Scheduler {
    period: f64,
    /// By pool, how many workers were wanted, and when.
    wanted_before: Vec<Vec<(f64, u32)>>,
}

impl Scheduler {
    pub fn new(scenario: &Scenario) -> Self {
        Self { period: scenario.planner.period.0, wanted_before: vec![Vec::new(); scenario.pools.len()] }
    }
}

impl Policy for Scheduler {
    fn period(&self) -> f64 {
        self.period
    }

    fn decide(&mut self, world: &World<'_>) -> Vec<Order> {
        let pools: Vec<plan::Pool> = (0..world.scenario.pools.len()).map(|pool| pool_of(world, pool)).collect();
        let seen: Vec<Observed> = pools.iter().enumerate().map(|(n, pool)| self.observed(world, n, pool)).collect();
        let plans = plan::plan(&pools, &demand(world), &seen, world.now);
        let mut orders = Vec::new();
        for (pool, plan) in plans.iter().enumerate() {
            let before = &mut self.wanted_before[pool];
            before.retain(|(time, _)| *time >= world.now - world.scenario.planner.stabilization.0);
            if !plan.is_held() {
                before.push((world.now, plan.wanted));
            }
            if plan.create > 0 {
                orders.push(Order::Start { pool, workers: plan.create });
            }
            if plan.surplus > 0 {
                let workers = plan.surplus;
                orders.push(match world.scenario.pools[pool].run_as {
                    RunAs::Jobs => Order::TakeBack { pool, workers },
                    RunAs::Deployment => Order::DismissIdle { pool, workers },
                });
            }
        }
        orders
    }

    fn wanted(&self) -> u32 {
        self.wanted_before.iter().filter_map(|before| before.last()).map(|(_, wanted)| *wanted).sum()
    }
}

impl Scheduler {
    fn observed(&self, world: &World<'_>, pool: usize, of: &plan::Pool) -> Observed {
        let mut seen = Observed { wanted_before: self.wanted_before[pool].clone(), ..Observed::default() };
        for pod in world.pods(pool) {
            let age = world.now - pod.asked;
            match pod.state {
                State::Ready => seen.ready += 1,
                _ if age > observe::patience(of.cold_start) => seen.stuck += 1,
                _ => {
                    seen.coming += 1;
                    seen.coming_for += age.min(of.cold_start);
                }
            }
        }
        seen
    }
}

fn pool_of(world: &World<'_>, index: usize) -> plan::Pool {
    let (scenario, pool, state) = (world.scenario, &world.scenario.pools[index], world.pool(index));
    let known = state.measured.iter().enumerate().filter(|(_, (frames, _))| *frames > 0.0);
    plan::Pool {
        name: pool.name.clone(),
        serves: pool.queues.iter().map(|(name, weight)| (Lane::Detect(name.clone()), *weight)).collect(),
        min_workers: pool.min_workers,
        max_workers: pool.max_workers,
        slots: pool.slots,
        price_per_hour: pool.price_per_hour,
        budget_per_hour: pool.budget_per_hour,
        is_spot: pool.is_spot(),
        leaves_by_itself: pool.run_as == RunAs::Jobs,
        drain_within: scenario.planner.drain_within.0,
        stabilization: scenario.planner.stabilization.0,
        cold_start: cold_start(pool, state),
        paused: false,
        memory: None,
        cost: known.map(|(model, (frames, busy))| (model_of(scenario, model), busy / frames)).collect(),
    }
}

/// The 90th percentile of those seen.
fn cold_start(pool: &Pool, state: &PoolState) -> f64 {
    let seen: Vec<f64> = state.cold_starts.iter().copied().collect();
    if seen.is_empty() { pool.cold_start.0 } else { observe::nine_in_ten(&seen) }
}

fn model_of(scenario: &Scenario, model: usize) -> Model {
    Model::new(&scenario.models[model].name)
}

fn demand(world: &World<'_>) -> Demand {
    let lane = |(queue, of_queue): (usize, &super::super::scenario::Queue)| {
        (Lane::Detect(of_queue.name.clone()), lane_demand(world, queue, of_queue.partitions))
    };
    Demand { lanes: world.scenario.queues.iter().enumerate().map(lane).collect() }
}

fn lane_demand(world: &World<'_>, queue: usize, partitions: u32) -> LaneDemand {
    let Some(backlog) = world.backlog(queue) else {
        return LaneDemand {
            unknown: Some("the broker does not answer".to_owned()),
            partitions,
            ..LaneDemand::default()
        };
    };
    let mut done: BTreeMap<_, f64> = BTreeMap::new();
    for (group, frames) in world.in_hand(queue) {
        *done.entry(group).or_default() += frames;
    }
    let models: Vec<Model> = (0..world.scenario.models.len()).map(|model| model_of(world.scenario, model)).collect();
    let mut waiting: Vec<Work> = Vec::with_capacity(backlog.groups().len());
    for (group, sum) in backlog.groups() {
        waiting.push(Work {
            model: models[group.model].clone(),
            units: (sum.frames - done.get(group).copied().unwrap_or(0.0)).max(0.0),
            items: sum.items,
            since: sum.since,
            deadline: group.deadline(),
            memory: None,
        });
    }
    waiting.sort_by(|a, b| a.since.total_cmp(&b.since));
    let arriving = models.iter().enumerate().filter_map(|(n, model)| {
        let units_per_second = backlog.arriving(n, world.now);
        (units_per_second > 0.0).then(|| Arriving { model: model.clone(), units_per_second })
    });
    LaneDemand { unknown: None, waiting, arriving: arriving.collect(), partitions }
}
