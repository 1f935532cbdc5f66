//! One pod of a pool.

use crate::seconds;
use crate::workloads::DELETION_COST;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use kube::ResourceExt;
use std::collections::BTreeMap;

/// A pod that runs or is to run.
#[derive(Debug)]
pub struct WorkerPod<'a> {
    pub name: String,
    pub uid: String,
    pub job: Option<&'a str>,
    pub stage: Stage,
    /// Pieces of work, where the worker was heard of.
    pub in_hand: Option<u32>,
    pub deletion_cost: Option<i32>,
    /// Since its creation, seconds.
    pub age: f64,
    pub start: Start,
    /// Its container has not run once.
    pub never_ran: bool,
    pub trouble: Option<Trouble>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Ready,
    Coming,
    Stuck,
}

/// How long it took from its creation until it was ready.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Start {
    NotYet,
    /// Seconds; where it was ready only once.
    Took(f64),
    /// It has started and is not ready for now, and since when it was first is not known any more.
    Unknown,
}

/// What keeps a worker from becoming ready, in Kubernetes' words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// No node has room for it, so far.
    Unschedulable(String),
    /// A quota, or another rule of the cluster, refuses its pods.
    Refused(String),
    /// Its container does not start: the image, or a Secret that it needs.
    CannotStart { reason: String, message: String },
}

impl Trouble {
    pub(super) fn weight(&self) -> u8 {
        match self {
            Self::Unschedulable(_) => 0,
            Self::Refused(_) => 1,
            Self::CannotStart { .. } => 2,
        }
    }
}

/// What the kubelet says of a container that waits for something other than its turn.
const CANNOT_START: [&str; 7] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "CrashLoopBackOff",
    "RunContainerError",
];

impl<'a> WorkerPod<'a> {
    /// Absent where it has ended or is about to.
    pub fn read(pod: &'a Pod, container: &str, in_hand: &BTreeMap<&str, u32>, patience: f64, now: f64) -> Option<Self> {
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
        if pod.metadata.deletion_timestamp.is_some() || matches!(phase, "Succeeded" | "Failed") {
            return None;
        }
        let worker = status
            .and_then(|status| status.container_statuses.as_deref())
            .and_then(|containers| containers.iter().find(|status| status.name == container));
        let created = pod.metadata.creation_timestamp.as_ref().map_or(now, seconds::since_1970);
        let ready = condition(pod, "Ready").filter(|condition| condition.status == "True");
        let trouble = worker.and_then(cannot_start).or_else(|| unschedulable(pod));
        let has_started = ready.is_some() || worker.is_some_and(|worker| worker.started == Some(true));
        let stage = match &trouble {
            Some(Trouble::CannotStart { .. }) => Stage::Stuck,
            // Also one that takes no work for now: another would not either.
            _ if has_started => Stage::Ready,
            _ if now - created > patience => Stage::Stuck,
            _ => Stage::Coming,
        };
        Some(Self {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            job: pod.labels().get("batch.kubernetes.io/job-name").map(String::as_str),
            stage,
            deletion_cost: pod.annotations().get(DELETION_COST).and_then(|cost| cost.parse().ok()),
            in_hand: in_hand.get(pod.name_any().as_str()).copied(),
            age: (now - created).max(0.0),
            start: match ready.and_then(|ready| ready.last_transition_time.as_ref()) {
                Some(at) => Start::Took((seconds::since_1970(at) - created).max(0.0)),
                None if has_started && !worker.is_some_and(|worker| was_never_ready(pod, worker)) => Start::Unknown,
                None => Start::NotYet,
            },
            never_ran: worker.is_none_or(|worker| {
                let ran =
                    worker.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some());
                !ran && worker.restart_count == 0
            }),
            trouble,
        })
    }
}

/// Between its first probes, a pod has started and is not ready yet: it has been unready since before its container ran.
fn was_never_ready(pod: &Pod, worker: &ContainerStatus) -> bool {
    let running = worker.state.as_ref().and_then(|state| state.running.as_ref());
    let runs_since = running.and_then(|running| running.started_at.as_ref());
    let unready = condition(pod, "Ready").and_then(|condition| condition.last_transition_time.as_ref());
    let is_before = |(at, runs_since)| seconds::since_1970(at) <= seconds::since_1970(runs_since);
    worker.restart_count == 0 && unready.zip(runs_since).is_some_and(is_before)
}

fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

fn unschedulable(pod: &Pod) -> Option<Trouble> {
    let condition = condition(pod, "PodScheduled").filter(|condition| condition.status == "False")?;
    Some(Trouble::Unschedulable(condition.message.clone().unwrap_or_default()))
}

fn cannot_start(worker: &ContainerStatus) -> Option<Trouble> {
    let waiting = worker.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().filter(|reason| CANNOT_START.contains(&reason.as_str()))?;
    Some(Trouble::CannotStart { reason, message: waiting.message.clone().unwrap_or_default() })
}
