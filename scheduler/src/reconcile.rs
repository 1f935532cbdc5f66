//! Brings a cluster to what the plan says, again and again.
//!
//! ```text
//! Secrets ─► fleets ─► Snapshot ─┐
//! watches ─► State of each pool ─┴► plan ─► Jobs, replicas ─► status, Events
//! ```
//!
//! Only the leader does this, and looks before each write whether it still leads. A cycle is computed from what is there, so
//! that one which was cut off is made again by whoever leads next; the name of a Job that is made is the number behind the
//! last one, so that two who decide the same make one Job.

mod memory;
mod status;
mod write;

use crate::cluster::Cluster;
use crate::conditions::Cause;
use crate::demand::{Demand, Lane, Snapshot};
use crate::fleets::{FleetName, Fleets};
use crate::lease::Leadership;
use crate::observe::{self, Objects, State};
use crate::plan::{Pool, PoolPlan, plan};
use crate::pool::{Capacity, Role, RunAs, WorkerPool};
use crate::{metrics, seconds};
use framefleet_contract::message::heartbeat::Heartbeat;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{Client, ResourceExt};
use memory::Memory;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use write::Writer;

/// A Job's pods are made within that time, or something keeps them from being made.
const PODS_WITHIN: Duration = Duration::from_secs(5);

/// Sizes pools, as long as it leads.
pub struct Scheduler {
    client: Client,
    cluster: Cluster,
    leadership: Leadership,
    fleets: Fleets,
    /// By `namespace/name`.
    memories: BTreeMap<String, Memory>,
    writer: Writer,
}

/// A pool in a cycle.
struct Case {
    pool: Arc<WorkerPool>,
    name: String,
    fleet: Result<FleetName, Cause>,
    state: State,
}

impl Scheduler {
    pub fn new(client: Client, cluster: Cluster, leadership: Leadership, identity: &str) -> Self {
        let writer = Writer::new(client.clone(), leadership.clone(), identity);
        Self { client, cluster, leadership, fleets: Fleets::default(), memories: BTreeMap::new(), writer }
    }

    /// One cycle every `period`, as long as the program runs. Tells of each when it has ended.
    pub async fn run(mut self, period: Duration, ended: impl Fn(Instant)) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let begun = Instant::now();
            if self.leadership.is_held() {
                self.cycle().await;
                metrics::cycle(begun.elapsed());
            } else {
                // What was known is of a time when it led.
                self.fleets = Fleets::default();
                self.memories.clear();
                metrics::forget_pools(std::iter::empty());
            }
            metrics::leads(self.leadership.is_held());
            ended(Instant::now());
        }
    }

    async fn cycle(&mut self) {
        let pools = self.cluster.pools();
        // Until pools are listed for the first time there are none, which is not the same as that there are none.
        if pools.is_empty() && self.cluster.unknown().is_some() {
            return;
        }
        let fleets = self.fleets.follow(&self.client, &pools).await;
        let now = seconds::now();
        let snapshots: BTreeMap<FleetName, Result<Snapshot, Cause>> =
            self.fleets.names().map(|name| (name.clone(), self.fleets.snapshot(name, now))).collect();
        let mut objects = observe::by_pool(&self.cluster.objects());
        let mut cases = Vec::new();
        for (pool, fleet) in pools.into_iter().zip(fleets) {
            let name = format!("{}/{}", pool.namespace().unwrap_or_default(), pool.name_any());
            let snapshot = fleet.as_ref().ok().and_then(|fleet| snapshots.get(fleet)?.as_ref().ok());
            let objects = objects.remove(&name).unwrap_or_default();
            let state = self.look_at(&pool, &name, &objects, snapshot, now).await;
            cases.push(Case { pool, name, fleet, state });
        }
        self.memories.retain(|name, _| cases.iter().any(|case| case.name == *name));
        metrics::forget_pools(cases.iter().map(|case| case.name.as_str()));
        let mut groups: BTreeMap<Option<FleetName>, Vec<Case>> = BTreeMap::new();
        for case in cases {
            groups.entry(case.fleet.as_ref().ok().cloned()).or_default().push(case);
        }
        for (fleet, cases) in groups {
            let snapshot = fleet.and_then(|fleet| snapshots.get(&fleet));
            self.settle(&cases, snapshot, now).await;
        }
    }

    /// What there is of a pool, and what was learned from it.
    async fn look_at(
        &mut self,
        pool: &WorkerPool,
        name: &str,
        objects: &Objects,
        snapshot: Option<&Snapshot>,
        now: f64,
    ) -> State {
        self.memories.retain(|known, memory| known != name || memory.is_of(pool));
        let memory = self.memories.entry(name.to_owned()).or_insert_with(|| Memory::new(pool));
        let is_known = self.cluster.unknown_in(&pool.namespace().unwrap_or_default()).is_none();
        let workers: Vec<&Heartbeat> = snapshot.map(|snapshot| of_pool(&snapshot.workers, name)).unwrap_or_default();
        memory.starts.expect(pool);
        let cold_start = memory.starts.cold_start().seconds;
        let mut state = observe::state(pool, objects, &workers, cold_start, now);
        if is_known {
            memory.starts.take(&state.starts);
            memory.begin(&state, now);
        }
        if let Some(snapshot) = snapshot {
            memory.learn_costs(name, &snapshot.costs);
        }
        self.writer.ask_for_doubtful(pool, memory).await;
        memory.add_made(&mut state, objects, cold_start);
        let missing_for = memory.pods_missing_for(state.missing_pods.as_ref().map(|missing| missing.job.as_str()));
        if let Some(missing) = state.missing_pods.clone()
            && missing_for >= PODS_WITHIN
            && let Some(message) = self.writer.why_no_pods(pool, &missing, memory).await
        {
            state.refuse(missing.count, &message);
        }
        state
    }

    /// Plans and does what is planned, for the pools of one fleet.
    async fn settle(&mut self, cases: &[Case], snapshot: Option<&Result<Snapshot, Cause>>, now: f64) {
        let nothing = Demand::default();
        let demand = match snapshot {
            Some(Ok(snapshot)) => &snapshot.demand,
            _ => &nothing,
        };
        let mut pools = Vec::new();
        let mut observed = Vec::new();
        for case in cases {
            let memory = self.memories.get_mut(&case.name).expect("it was made when the pool was looked at");
            pools.push(planned(&case.pool, &case.name, memory));
            let unknown = self.cluster.unknown_in(&case.pool.namespace().unwrap_or_default());
            let unknown = unknown.or_else(|| kafka_trouble(case, snapshot).map(|cause| cause.message));
            let mut seen = case.state.observed(unknown, memory.wanted_before());
            seen.not_before = [seen.not_before, memory.refused_until()].into_iter().flatten().reduce(f64::max);
            observed.push(seen);
        }
        let plans = plan(&pools, demand, &observed, now);
        for ((case, mut plan), pool) in cases.iter().zip(plans).zip(&pools) {
            if pool.leaves_by_itself && work_waits(pool, demand) {
                plan.keep_asking(case.state.stuck, pool.max_workers);
            }
            let kafka = kafka_trouble(case, snapshot);
            let memory = self.memories.get_mut(&case.name).expect("it was made when the pool was looked at");
            memory.remember_wanted(&plan, pool.stabilization, now);
            metrics::pool(&case.name, &case.state, &plan);
            self.writer.say_of_kafka(&case.pool, kafka.as_ref(), memory).await;
            self.writer.carry_out(&case.pool, &case.state, &plan, memory).await;
            self.writer.tell(&case.pool, &case.state, &plan, kafka.as_ref(), memory, now).await;
        }
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("memories", &self.memories).finish_non_exhaustive()
    }
}

fn of_pool<'a>(workers: &'a [Heartbeat], name: &str) -> Vec<&'a Heartbeat> {
    workers.iter().filter(|worker| worker.pool.as_deref() == Some(name)).collect()
}

/// Why Kafka does not say what waits for a pool.
fn kafka_trouble(case: &Case, snapshot: Option<&Result<Snapshot, Cause>>) -> Option<Cause> {
    let snapshot = match (&case.fleet, snapshot) {
        (Err(cause), _) | (_, Some(Err(cause))) => return Some(cause.clone()),
        (Ok(_), None) => return Some(Cause::new("NotFollowed", "the fleet is not followed yet")),
        (Ok(_), Some(Ok(snapshot))) => snapshot,
    };
    // What is not known of a queue is no matter to pools that do not serve it.
    let troubles = lanes(&case.pool).into_keys().filter_map(|lane| snapshot.troubles.get(&lane).cloned());
    troubles.min().map(|gravest| Cause::new(gravest.reason(), gravest.to_string()))
}

fn work_waits(pool: &Pool, demand: &Demand) -> bool {
    let waits = |lane: &Lane| demand.lanes.get(lane).is_some_and(|of_lane| !of_lane.waiting.is_empty());
    pool.serves.keys().any(waits)
}

/// A pool as the planner takes it.
fn planned(pool: &WorkerPool, name: &str, memory: &Memory) -> Pool {
    let spec = &pool.spec;
    let price = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<f64>().ok());
    Pool {
        name: name.to_owned(),
        serves: lanes(pool),
        min_workers: spec.min_workers.min(spec.max_workers),
        max_workers: spec.max_workers,
        slots: spec.slots,
        price_per_hour: price(&spec.price_per_hour).unwrap_or(0.0),
        budget_per_hour: price(&spec.budget_per_hour),
        is_spot: spec.capacity == Capacity::Spot,
        leaves_by_itself: spec.run_as == RunAs::Jobs,
        drain_within: seconds::of(&spec.drain_within),
        stabilization: seconds::of(&spec.stabilization),
        cold_start: memory.starts.cold_start().seconds,
        paused: spec.paused,
        memory: spec.gpu.as_ref().and_then(|gpu| bytes(gpu.memory.as_ref()?)),
        cost: memory.costs.clone(),
    }
}

fn lanes(pool: &WorkerPool) -> BTreeMap<Lane, u32> {
    let mut lanes = BTreeMap::new();
    for role in &pool.spec.roles {
        match role {
            Role::Plan => drop(lanes.insert(Lane::Plan, 1)),
            Role::Finish => drop(lanes.insert(Lane::Finish, 1)),
            Role::Detect => {
                let queues = pool.spec.queues.iter();
                lanes.extend(queues.map(|queue| (Lane::Detect(queue.name.clone()), queue.weight)));
            }
        }
    }
    lanes
}

/// Of a quantity such as `24Gi`, which the custom resource's definition let through.
fn bytes(quantity: &Quantity) -> Option<u64> {
    const UNITS: [(&str, f64); 12] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let text = quantity.0.as_str();
    let unit = UNITS.into_iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (number, unit) = unit.unwrap_or((text, 1.0));
    Some((number.parse::<f64>().ok()? * unit) as u64)
}

impl PoolPlan {
    /// Workers that were asked for and do not come stay asked for while work waits: whoever takes them back and asks again
    /// begins to wait anew, and does so again and again.
    fn keep_asking(&mut self, stuck: u32, most: u32) {
        let kept = stuck.min(self.surplus).min(most.saturating_sub(self.desired));
        self.surplus -= kept;
        self.desired += kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let of = |text: &str| bytes(&Quantity(text.to_owned()));
        assert_eq!(of("24Gi"), Some(24 << 30));
        assert_eq!(of("1500M"), Some(1_500_000_000));
        assert_eq!(of("1024"), Some(1024));
        assert_eq!(of("x"), None);
    }
}
