//! The Kubernetes objects of a pool. Pure.
//!
//! What a pool's template says is kept; what it leaves out and a worker needs is added.

mod pod;

#[cfg(test)]
mod tests;

use crate::pool::WorkerPool;
use framefleet_contract::identity::Sha256;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};
use std::collections::BTreeMap;

/// A label of everything that belongs to a pool, with the pool's name.
pub const POOL: &str = "framefleet.dev/pool";
/// A label of workers without an idle exit: those of `minWorkers`.
pub const STAYS: &str = "framefleet.dev/stays";
/// An annotation of Jobs: which template their workers were made of.
pub const TEMPLATE: &str = "framefleet.dev/template";
/// Pods with the lowest go first when a Deployment shrinks.
pub const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Who says so to the API server.
pub const MANAGER: &str = "framefleet-scheduler";

/// The exit status with which a worker says that it can never work: a mistake in its call.
const CAN_NEVER_WORK: i32 = 2;
/// How often one worker of a Job is started again after it failed.
const RETRIES: i32 = 3;
/// Of a digest: enough to tell the templates of one pool apart.
const MARK_DIGITS: usize = 16;
/// Finished Jobs are kept for so long, seconds: to be looked at, and so that failures are counted.
pub const KEEP_FINISHED: i32 = 1800;

/// A template of which no pod can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spec.template: {0}")]
pub struct TemplateError(String);

/// Workers to start together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    pub number: u32,
    pub workers: u32,
    /// They do not leave when no work is left.
    pub stays: bool,
}

/// A Kubernetes Job for so many workers.
///
/// It is Indexed, so that each worker counts for itself: one that fails is started again whether others have succeeded or
/// not, and ends no other.
pub fn job(pool: &WorkerPool, batch: Batch) -> Result<Job, TemplateError> {
    let mut template = pod::template(pool, batch.stays)?;
    let annotations = BTreeMap::from([(TEMPLATE.to_owned(), mark(&template))]);
    let mut labels = labels(pool);
    labels.insert(STAYS.to_owned(), batch.stays.to_string());
    template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(labels.clone());
    let workers = batch.workers as i32;
    Ok(Job {
        metadata: ObjectMeta {
            annotations: Some(annotations),
            ..metadata(pool, job_name(&pool.name_any(), batch.number), labels)
        },
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(workers),
            parallelism: Some(workers),
            backoff_limit_per_index: Some(RETRIES),
            pod_failure_policy: Some(failure_policy(&pool.spec.container)),
            pod_replacement_policy: Some("Failed".to_owned()),
            ttl_seconds_after_finished: Some(KEEP_FINISHED),
            template,
            ..JobSpec::default()
        }),
        status: None,
    })
}

/// The same number is the same Job: asking for it twice makes one.
pub fn job_name(pool: &str, number: u32) -> String {
    format!("{pool}-{number}")
}

/// The number of a pool's Job.
pub fn job_number(pool: &str, job: &str) -> Option<u32> {
    /// None was made so often: whatever has a greater number is somebody else's.
    const MOST: u32 = 1_000_000_000;
    job.strip_prefix(pool)?.strip_prefix('-')?.parse().ok().filter(|number| *number <= MOST)
}

/// What [`TEMPLATE`] says of a Job that is made now. None where none can be made.
pub fn template_mark(pool: &WorkerPool, stays: bool) -> Option<String> {
    pod::template(pool, stays).ok().map(|template| mark(&template))
}

fn mark(template: &PodTemplateSpec) -> String {
    let json = serde_json::to_vec(template).expect("a template is plain data");
    Sha256::of(&json).as_str()[..MARK_DIGITS].to_owned()
}

/// An evicted worker failed nothing, and is replaced; one whose call is mistaken would fail again.
fn failure_policy(container: &str) -> PodFailurePolicy {
    let disrupted = PodFailurePolicyRule {
        action: "Ignore".to_owned(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
        on_exit_codes: None,
    };
    let mistaken = PodFailurePolicyRule {
        action: "FailIndex".to_owned(),
        on_pod_conditions: None,
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(container.to_owned()),
            operator: "In".to_owned(),
            values: vec![CAN_NEVER_WORK],
        }),
    };
    PodFailurePolicy { rules: vec![disrupted, mistaken] }
}

/// The Deployment of a pool. A new template replaces workers one by one, each at the end of its segments.
pub fn deployment(pool: &WorkerPool, replicas: u32) -> Result<Deployment, TemplateError> {
    let mut template = pod::template(pool, true)?;
    template.metadata.get_or_insert_default().labels.get_or_insert_default().extend(labels(pool));
    Ok(Deployment {
        metadata: metadata(pool, pool.name_any(), labels(pool)),
        spec: Some(DeploymentSpec {
            replicas: Some(replicas as i32),
            selector: LabelSelector {
                match_labels: Some(BTreeMap::from([(POOL.to_owned(), pool.name_any())])),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    })
}

fn metadata(pool: &WorkerPool, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: pool.namespace(),
        labels: Some(labels),
        owner_references: owner(pool).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

/// What belongs to a pool goes with it. A pool that was not read from an API server has no uid, and owns nothing.
fn owner(pool: &WorkerPool) -> Option<OwnerReference> {
    pool.controller_owner_ref(&())
}

fn labels(pool: &WorkerPool) -> BTreeMap<String, String> {
    [
        (POOL, pool.name_any().as_str()),
        ("app.kubernetes.io/name", "framefleet-worker"),
        ("app.kubernetes.io/managed-by", MANAGER),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}
