//! What there is of a pool, from its Jobs, its Deployment, its pods, and what its workers say of themselves. Pure.

mod failures;
mod worker_pod;

#[cfg(test)]
mod tests;

use crate::plan::Observed;
use crate::pool::{ColdStart, RunAs, WorkerPool};
use crate::seconds;
use crate::workloads::{POOL, STAYS, TEMPLATE, job_number, template_mark};
use failures::Failures;
use framefleet_contract::message::heartbeat::Heartbeat;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use worker_pod::{Stage, WorkerPod};
pub use worker_pod::{Start, Trouble};

/// Everything in a cluster that belongs to pools, as the API server told it last.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    pub jobs: Vec<Arc<Job>>,
    pub deployments: Vec<Arc<Deployment>>,
    pub pods: Vec<Arc<Pod>>,
}

/// Of one pool.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub ready: u32,
    pub coming: u32,
    /// For how long those that come were asked for, seconds, together.
    pub coming_for: f64,
    pub stuck: u32,
    /// Those that have work in hand.
    pub busy: u32,
    /// Workers of the minimum, which never leave by themselves.
    pub staying: u32,
    /// What a Deployment was told to have; absent where there is none.
    pub replicas: Option<u32>,
    /// The number of the last Job.
    pub last_job: u32,
    pub failures: Failures,
    /// What keeps workers from becoming ready, the worst first.
    pub trouble: Option<Trouble>,
    /// The oldest Job with pods that there should be and are not, how many, and since when.
    pub missing_pods: Option<MissingPods>,
    /// Jobs of which no worker has ever run.
    pub not_begun: Vec<NotBegun>,
    /// Jobs of single workers that never leave by themselves and have nothing in hand.
    pub idle_and_staying: Vec<String>,
    /// Pods with what they have in hand, pieces of work, and the mark by which a Deployment chooses who goes first.
    pub in_hand: Vec<(String, u32, Option<i32>)>,
    pub deployment_generation: Option<i64>,
    /// How long workers took until they were ready, by the pod's uid.
    pub starts: BTreeMap<String, Start>,
}

/// A Job of which no worker has ever run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotBegun {
    pub job: String,
    pub workers: u32,
    /// Its pool's template is another one now.
    pub is_outdated: bool,
    /// Its worker is of the minimum.
    pub stays: bool,
}

/// Pods of a Job that the API server has not made, or does not take.
#[derive(Debug, Clone, PartialEq)]
pub struct MissingPods {
    pub job: String,
    pub count: u32,
}

/// A worker that is not ready after so many cold starts, or after [`PATIENCE_S`] at least, is not counted on.
const PATIENCE_STARTS: f64 = 1.5;
const PATIENCE_S: f64 = 600.0;

/// Takes all objects apart by pool, `namespace/name`.
pub fn by_pool(objects: &Objects) -> BTreeMap<String, Objects> {
    let mut pools: BTreeMap<String, Objects> = BTreeMap::new();
    for job in &objects.jobs {
        pools.entry(pool_of(job.as_ref())).or_default().jobs.push(job.clone());
    }
    for deployment in &objects.deployments {
        pools.entry(pool_of(deployment.as_ref())).or_default().deployments.push(deployment.clone());
    }
    for pod in &objects.pods {
        pools.entry(pool_of(pod.as_ref())).or_default().pods.push(pod.clone());
    }
    pools
}

fn pool_of(object: &impl ResourceExt) -> String {
    let name = object.labels().get(POOL).map(String::as_str).unwrap_or_default();
    format!("{}/{name}", object.namespace().unwrap_or_default())
}

/// `workers`: those of this pool that are heard of.
pub fn state(pool: &WorkerPool, objects: &Objects, workers: &[&Heartbeat], cold_start: f64, now: f64) -> State {
    let patience = patience(cold_start);
    let in_hand: BTreeMap<&str, u32> =
        workers.iter().map(|worker| (worker.host.as_str(), worker.in_flight.len() as u32)).collect();
    let pods: Vec<WorkerPod<'_>> = objects
        .pods
        .iter()
        .filter_map(|pod| WorkerPod::read(pod, &pool.spec.container, &in_hand, patience, now))
        .collect();
    let mut state = State::default();
    for pod in &pods {
        state.count(pod.stage, 1);
        if pod.stage == Stage::Coming {
            state.coming_for += pod.age.min(cold_start);
        }
        state.busy += u32::from(pod.in_hand > Some(0));
        // One that is ready and was not heard of may have anything in hand.
        let in_hand = pod.in_hand.unwrap_or(u32::from(pod.stage == Stage::Ready));
        state.in_hand.push((pod.name.clone(), in_hand, pod.deletion_cost));
        state.starts.insert(pod.uid.clone(), pod.start);
    }
    state.trouble = pods.iter().filter_map(|pod| pod.trouble.clone()).max_by_key(Trouble::weight);
    match pool.spec.run_as {
        RunAs::Jobs => state.read_jobs(pool, &objects.jobs, &pods, patience, now),
        RunAs::Deployment => {
            let deployment = objects.deployments.iter().find(|deployment| deployment.name_any() == pool.name_any());
            if let Some(deployment) = deployment {
                state.read_deployment(deployment, pods.len() as u32);
            }
        }
    }
    state
}

impl State {
    fn count(&mut self, stage: Stage, workers: u32) {
        match stage {
            Stage::Ready => self.ready += workers,
            Stage::Coming => self.coming += workers,
            Stage::Stuck => self.stuck += workers,
        }
    }

    fn read_jobs(&mut self, pool: &WorkerPool, jobs: &[Arc<Job>], pods: &[WorkerPod<'_>], patience: f64, now: f64) {
        let name = pool.name_any();
        let numbered = jobs.iter().filter_map(|job| Some((job_number(&name, &job.name_any())?, job.as_ref())));
        let numbered: BTreeMap<u32, &Job> = numbered.collect();
        self.last_job = numbered.keys().next_back().copied().unwrap_or(0);
        let marks = [false, true].map(|stays| template_mark(pool, stays));
        let is_outdated = |job: &Job| {
            let now = marks[usize::from(stays(job))].as_ref();
            job.annotations().get(TEMPLATE).zip(now).is_some_and(|(made, now)| made != now)
        };
        // What another template did says nothing about this one.
        self.failures = Failures::of(numbered.values().copied().filter(|job| !is_outdated(job)));
        for job in numbered.values().filter(|job| job.metadata.deletion_timestamp.is_none()) {
            let name = job.name_any();
            let of_job: Vec<&WorkerPod<'_>> = pods.iter().filter(|pod| pod.job == Some(name.as_str())).collect();
            let left = workers_left(job);
            let missing = left.saturating_sub(of_job.len() as u32);
            let asked = job.metadata.creation_timestamp.as_ref().map_or(0.0, seconds::since_1970);
            // Of a Job that has begun, one that is missing has just left, or is made anew.
            let is_stuck = asked < now - patience && has_never_run(job);
            self.count(if is_stuck { Stage::Stuck } else { Stage::Coming }, missing);
            if missing > 0 && self.missing_pods.is_none() {
                self.missing_pods = Some(MissingPods { job: name.clone(), count: missing });
            }
            let stays = stays(job);
            if stays {
                self.staying += left;
            }
            if left > 0 && has_never_run(job) && of_job.iter().all(|pod| pod.never_ran) {
                let is_outdated = is_outdated(job);
                self.not_begun.push(NotBegun { job: name, workers: left, is_outdated, stays });
            } else if stays && !of_job.is_empty() && of_job.iter().all(|pod| pod.in_hand == Some(0)) {
                self.idle_and_staying.push(name);
            }
        }
    }

    /// Says why pods are missing: nobody counts on those.
    pub fn refuse(&mut self, missing: u32, message: &str) {
        let missing = missing.min(self.coming);
        self.coming -= missing;
        self.stuck += missing;
        self.trouble = Some(Trouble::Refused(message.to_owned()));
    }

    fn read_deployment(&mut self, deployment: &Deployment, pods: u32) {
        let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0) as u32;
        self.replicas = Some(replicas);
        self.deployment_generation = deployment.metadata.generation;
        let conditions = deployment.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let refused =
            conditions.iter().find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True");
        let missing = replicas.saturating_sub(pods);
        self.count(if refused.is_some() { Stage::Stuck } else { Stage::Coming }, missing);
        if let Some(refused) = refused {
            self.trouble = Some(Trouble::Refused(refused.message.clone().unwrap_or_default()));
        }
    }

    /// What the planner is told.
    pub fn observed(&self, unknown: Option<String>, wanted_before: Vec<(f64, u32)>) -> Observed {
        Observed {
            unknown,
            ready: self.ready,
            coming: self.coming,
            coming_for: self.coming_for,
            stuck: self.stuck,
            not_before: self.failures.not_before(),
            wanted_before,
        }
    }
}

fn stays(job: &Job) -> bool {
    job.labels().get(STAYS).is_some_and(|stays| stays == "true")
}

/// Workers of a Job that have neither ended nor failed for good.
fn workers_left(job: &Job) -> u32 {
    let status = job.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ends = |type_: &str| matches!(type_, "Complete" | "Failed" | "SuccessCriteriaMet" | "FailureTarget");
    if conditions.iter().any(|condition| condition.status == "True" && ends(&condition.type_)) {
        return 0;
    }
    let asked = job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(0).max(0) as u32;
    let succeeded = status.and_then(|status| status.succeeded).unwrap_or(0).max(0) as u32;
    let failed = status.and_then(|status| status.failed_indexes.as_deref()).map_or(0, indexes);
    asked.saturating_sub(succeeded.saturating_add(failed))
}

fn has_never_run(job: &Job) -> bool {
    job.status.as_ref().is_none_or(|status| {
        let none = |count: Option<i32>| count.unwrap_or(0) == 0;
        none(status.succeeded) && none(status.failed) && none(status.ready)
    })
}

/// How many there are in a list such as `1,3-5`.
fn indexes(list: &str) -> u32 {
    let count = |part: &str| match part.split_once('-') {
        Some((first, last)) => {
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            Some(last.checked_sub(first)?.saturating_add(1))
        }
        None => part.parse::<u32>().ok().map(|_| 1),
    };
    list.split(',').filter_map(|part| count(part.trim())).fold(0, u32::saturating_add)
}

/// The starts of a pool's workers, of which nine in ten are expected to be no longer.
#[derive(Debug, Clone, Default)]
pub struct Starts {
    /// Pods that are there and have started.
    seen: BTreeSet<String>,
    has_looked: bool,
    last: Vec<f64>,
    /// What was known before this program began.
    before: Option<ColdStart>,
    estimate: f64,
}

/// Of the last starts, so many count.
const MOST_STARTS: usize = 50;

impl Starts {
    pub fn new(pool: &WorkerPool) -> Self {
        let before = pool.status.as_ref().and_then(|status| status.cold_start).filter(|known| known.samples > 0);
        let mut this = Self { before, ..Self::default() };
        this.expect(pool);
        this
    }

    /// The estimate is the specification's, which may change.
    pub fn expect(&mut self, pool: &WorkerPool) {
        let usual = if pool.spec.gpu.is_some() { 300.0 } else { 30.0 };
        self.estimate = pool.spec.cold_start.as_deref().map_or(usual, seconds::of);
    }

    /// Takes all pods that there are. Only the first time at which one is ready says how long a start takes; of those that
    /// were there before this program looked, nobody knows whether it is the first.
    pub fn take(&mut self, starts: &BTreeMap<String, Start>) {
        for (uid, start) in starts.iter().filter(|(_, start)| **start != Start::NotYet) {
            let is_new = self.seen.insert(uid.clone());
            if let (true, true, Start::Took(seconds)) = (self.has_looked, is_new, start) {
                self.last.push(*seconds);
            }
        }
        self.has_looked = true;
        self.seen.retain(|uid| starts.contains_key(uid));
        let too_many = self.last.len().saturating_sub(MOST_STARTS);
        self.last.drain(..too_many);
    }

    /// The 90th percentile of the last starts; before there are any, what was known, or the estimate.
    pub fn cold_start(&self) -> ColdStart {
        if self.last.is_empty() {
            return self.before.unwrap_or(ColdStart { seconds: self.estimate, samples: 0 });
        }
        ColdStart { seconds: nine_in_ten(&self.last), samples: self.last.len() as u32 }
    }
}

/// What nine in ten of these do not exceed.
pub fn nine_in_ten(starts: &[f64]) -> f64 {
    let mut sorted = starts.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * 9).div_ceil(10).max(1) - 1;
    sorted.get(rank).copied().unwrap_or(0.0)
}

/// For how long a worker is expected that was asked for, seconds.
pub fn patience(cold_start: f64) -> f64 {
    (PATIENCE_STARTS * cold_start).max(PATIENCE_S)
}
