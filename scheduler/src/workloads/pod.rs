//! The pod of a worker: a pool's template and what it leaves out.

use super::TemplateError;
use crate::pool::{Gpu, RunAs, WorkerPool};
use crate::seconds;
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction, ObjectFieldSelector, PodSpec,
    PodTemplateSpec, Probe, SecretEnvSource, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use serde_json::Value;

/// Where a worker answers about its health, and what it measured.
const PORT: i32 = 9090;
/// Time for a segment to end, where the template does not say, seconds.
const GRACE: i64 = 120;
/// Of it, what is left for everything else.
const GRACE_LEFT: i64 = 15;
/// Whoever moves pods about leaves alone those that leave by themselves.
const AGAINST_EVICTION: [(&str, &str); 2] =
    [("cluster-autoscaler.kubernetes.io/safe-to-evict", "false"), ("karpenter.sh/do-not-disrupt", "true")];

/// `stays`: without an idle exit.
pub fn template(pool: &WorkerPool, stays: bool) -> Result<PodTemplateSpec, TemplateError> {
    let asked = &pool.spec.template;
    let mut pod: PodSpec = serde_json::from_value(Value::Object(asked.spec.clone()))
        .map_err(|e| TemplateError(format!("spec cannot be read: {e}; see kubectl explain pod.spec")))?;
    let grace = *pod.termination_grace_period_seconds.get_or_insert(GRACE);
    let name = &pool.spec.container;
    let container = pod.containers.iter_mut().find(|container| container.name == *name);
    let container = container.ok_or_else(|| TemplateError(format!("no container is called {name}")))?;
    complete(container, pool);
    add_arguments(container, arguments(pool, stays, grace));
    let is_job = pool.spec.run_as == RunAs::Jobs;
    pod.restart_policy = Some(if is_job { "Never" } else { "Always" }.to_owned());
    pod.automount_service_account_token.get_or_insert(false);
    if let Some(gpu) = &pool.spec.gpu {
        tolerate(&mut pod, gpu);
    }
    let mut annotations = asked.metadata.annotations.clone();
    if is_job {
        for (annotation, value) in AGAINST_EVICTION {
            annotations.entry(annotation.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    let metadata = ObjectMeta {
        labels: Some(asked.metadata.labels.clone()),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    };
    Ok(PodTemplateSpec { metadata: Some(metadata), spec: Some(pod) })
}

fn complete(container: &mut Container, pool: &WorkerPool) {
    if let Some(gpu) = &pool.spec.gpu {
        let limits = container.resources.get_or_insert_default().limits.get_or_insert_default();
        limits.entry(gpu.resource.clone()).or_insert_with(|| Quantity(gpu.count.to_string()));
    }
    let kafka = &pool.spec.kafka;
    let name = format!("{}/{}", pool.namespace().unwrap_or_default(), pool.name_any());
    let variables = [
        variable("FRAMEFLEET_PREFIX", &kafka.prefix),
        variable("FRAMEFLEET_POOL", &name),
        variable("FRAMEFLEET_LISTEN", &format!("0.0.0.0:{PORT}")),
        // An Indexed Job's pods have other hostnames than names.
        of_pod("FRAMEFLEET_HOST", "metadata.name"),
    ];
    let env = container.env.get_or_insert_default();
    for variable in variables {
        if !env.iter().any(|given| given.name == variable.name) {
            env.push(variable);
        }
    }
    let secret = SecretEnvSource { name: kafka.secret_name.clone(), optional: None };
    let from = EnvFromSource { secret_ref: Some(secret), ..EnvFromSource::default() };
    container.env_from.get_or_insert_default().push(from);
    let ports = container.ports.get_or_insert_default();
    if !ports.iter().any(|port| port.container_port == PORT) {
        ports.push(ContainerPort {
            name: Some("metrics".to_owned()),
            container_port: PORT,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        });
    }
    // Ten minutes for the models, and two of silence before a worker is taken for dead.
    container.startup_probe.get_or_insert_with(|| probe("/startupz", 5, 120));
    container.readiness_probe.get_or_insert_with(|| probe("/readyz", 5, 3));
    container.liveness_probe.get_or_insert_with(|| probe("/livez", 10, 12));
}

/// The flags of a worker that follow from its pool, with their values.
fn arguments(pool: &WorkerPool, stays: bool, grace: i64) -> Vec<(&'static str, String)> {
    let spec = &pool.spec;
    let roles: Vec<&str> = spec.roles.iter().map(|role| role.as_str()).collect();
    let queues: Vec<String> = spec.queues.iter().map(|queue| format!("{}={}", queue.name, queue.weight)).collect();
    let mut arguments = vec![
        ("--roles", roles.join(",")),
        ("--queues", queues.join(",")),
        ("--slots", spec.slots.to_string()),
        ("--grace-seconds", (grace - GRACE_LEFT).max(0).to_string()),
    ];
    if spec.run_as == RunAs::Jobs && !stays {
        arguments.push(("--leave-when-idle", seconds::of(&spec.idle_exit).to_string()));
    }
    arguments
}

/// Behind the template's own arguments, which win.
fn add_arguments(container: &mut Container, arguments: Vec<(&str, String)>) {
    // An image's own program is `framefleet`; a command that the template gives is complete.
    let has_command = container.command.is_some();
    let command = || if has_command { Vec::new() } else { vec!["worker".to_owned()] };
    let given = container.args.get_or_insert_with(command);
    for (flag, value) in arguments {
        let is_it = |argument: &String| argument == flag || argument.starts_with(&format!("{flag}="));
        if !given.iter().any(is_it) {
            given.push(format!("{flag}={value}"));
        }
    }
}

/// Nodes with GPUs keep others away.
fn tolerate(pod: &mut PodSpec, gpu: &Gpu) {
    let taint = if gpu.resource.starts_with("nvidia.com/") { "nvidia.com/gpu" } else { &gpu.resource };
    let tolerations = pod.tolerations.get_or_insert_default();
    if !tolerations.iter().any(|given| given.key.as_deref().is_none_or(|key| key == taint)) {
        tolerations.push(Toleration {
            key: Some(taint.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoSchedule".to_owned()),
            ..Toleration::default()
        });
    }
}

fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

fn of_pod(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    let source = EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(3),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}
