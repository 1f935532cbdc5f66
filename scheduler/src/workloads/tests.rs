#![expect(clippy::needless_pass_by_value, reason = "calls with `json!` read better without references")]

use super::*;
use crate::pool::WorkerPoolSpec;
use serde_json::{Value, json};

fn pool(spec: Value) -> WorkerPool {
    let mut whole = json!({
        "runAs": "Jobs", "maxWorkers": 3, "kafka": {"secretName": "kafka"}, "gpu": {},
        "template": {"spec": {"containers": [{"name": "worker", "image": "framefleet"}]}}
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let spec: WorkerPoolSpec = serde_json::from_value(whole).unwrap();
    let mut pool = WorkerPool::new("l4", spec);
    pool.metadata.namespace = Some("video".to_owned());
    pool.metadata.uid = Some("u".to_owned());
    pool
}

fn made(pool: &WorkerPool, stays: bool) -> Value {
    serde_json::to_value(job(pool, Batch { number: 7, workers: 3, stays }).unwrap()).unwrap()
}

#[test]
fn a_job_replaces_each_worker_for_itself_and_ends_by_itself() {
    let job = made(&pool(json!({})), false);
    assert_eq!(job["metadata"]["name"], "l4-7");
    assert_eq!(job["metadata"]["ownerReferences"][0]["kind"], "WorkerPool");
    let spec = &job["spec"];
    assert_eq!((&spec["completions"], &spec["parallelism"]), (&json!(3), &json!(3)));
    assert_eq!((&spec["completionMode"], &spec["podReplacementPolicy"]), (&json!("Indexed"), &json!("Failed")));
    assert_eq!(spec["podFailurePolicy"]["rules"][0]["action"], "Ignore");
    assert_eq!(spec["podFailurePolicy"]["rules"][1]["onExitCodes"]["values"], json!([2]));
    assert!(spec["ttlSecondsAfterFinished"].is_number() && spec["backoffLimitPerIndex"].is_number());
}

#[test]
fn a_worker_gets_what_the_template_leaves_out() {
    let job = made(&pool(json!({})), false);
    let template = &job["spec"]["template"];
    let annotations = &template["metadata"]["annotations"];
    assert_eq!(annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false");
    assert_eq!(annotations["karpenter.sh/do-not-disrupt"], "true");
    assert_eq!(template["metadata"]["labels"][POOL], "l4");
    let pod = &template["spec"];
    assert_eq!((&pod["restartPolicy"], &pod["terminationGracePeriodSeconds"]), (&json!("Never"), &json!(120)));
    assert_eq!(pod["tolerations"][0]["key"], "nvidia.com/gpu");
    let container = &pod["containers"][0];
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], "1");
    let arguments = "worker --roles=detect --queues=high=16,normal=4,low=1 --slots=2 --grace-seconds=105 \
                     --leave-when-idle=60";
    assert_eq!(container["args"], json!(arguments.split(' ').collect::<Vec<_>>()));
    assert_eq!(container["envFrom"][0]["secretRef"]["name"], "kafka");
    let variable =
        |name: &str| container["env"].as_array().unwrap().iter().find(|v| v["name"] == name).unwrap().clone();
    assert_eq!(variable("FRAMEFLEET_POOL")["value"], "video/l4");
    assert_eq!(variable("FRAMEFLEET_HOST")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    assert_eq!(container["startupProbe"]["httpGet"]["path"], "/startupz");
}

#[test]
fn workers_of_the_minimum_have_no_idle_exit() {
    let job = made(&pool(json!({})), true);
    let args = job["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(!args.contains("--leave-when-idle"), "{args}");
    assert_eq!(job["metadata"]["labels"][STAYS], "true");
}

#[test]
fn what_the_template_says_is_kept() {
    let container = json!({
        "name": "worker", "image": "framefleet", "args": ["worker", "--slots", "5", "--root=/videos"],
        "env": [{"name": "FRAMEFLEET_LISTEN", "value": "[::]:9090"}],
        "resources": {"limits": {"nvidia.com/gpu": 2}},
        "readinessProbe": {"exec": {"command": ["true"]}}
    });
    let template = json!({
        "metadata": {"annotations": {"karpenter.sh/do-not-disrupt": "false"}, "labels": {"team": "a"}},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 600, "tolerations": [{"operator": "Exists"}]}
    });
    let job = made(&pool(json!({"template": template})), false);
    let (template, pod) = (&job["spec"]["template"], &job["spec"]["template"]["spec"]);
    assert_eq!(template["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"], "false");
    assert_eq!(template["metadata"]["labels"]["team"], "a");
    let container = &pod["containers"][0];
    let args = container["args"].to_string();
    assert!(args.contains(r#""--slots","5""#) && !args.contains("--slots=") && args.contains("--grace-seconds=585"));
    assert_eq!(container["env"][0]["value"], "[::]:9090");
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], "2");
    assert!(container["readinessProbe"]["httpGet"].is_null());
    assert_eq!(pod["tolerations"].as_array().unwrap().len(), 1);
}

#[test]
fn a_template_that_is_no_pod_is_told_from_one_that_is() {
    let bad = json!({"spec": {"containers": [{"name": "worker", "image": "i", "ports": "no"}]}});
    let error =
        job(&pool(json!({"template": bad})), Batch { number: 1, workers: 1, stays: false }).unwrap_err().to_string();
    assert!(error.contains("spec.template") && error.contains("kubectl explain"), "{error}");
}

#[test]
fn a_deployment_keeps_workers_until_others_are_ready() {
    let pool = pool(json!({"runAs": "Deployment", "roles": ["plan", "finish"]}));
    let deployment = serde_json::to_value(deployment(&pool, 4).unwrap()).unwrap();
    assert_eq!((&deployment["metadata"]["name"], &deployment["spec"]["replicas"]), (&json!("l4"), &json!(4)));
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
    let template = &deployment["spec"]["template"];
    assert_eq!(template["spec"]["restartPolicy"], "Always");
    assert!(template["metadata"]["annotations"].is_null());
    let args = template["spec"]["containers"][0]["args"].to_string();
    assert!(args.contains("--roles=plan,finish") && !args.contains("leave"), "{args}");
}

#[test]
fn the_number_of_a_job_is_read_from_its_name() {
    assert_eq!(job_number("l4", &job_name("l4", 12)), Some(12));
    assert_eq!(job_number("l4", "l4-spot-12"), None);
    assert_eq!(job_number("l4", "l4-x"), None);
}
