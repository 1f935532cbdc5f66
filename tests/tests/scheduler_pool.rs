//! What a real API server makes of a `WorkerPool`: what it refuses, what it adds, and what it shows.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_scheduler::pool::WorkerPool;
use framefleet_tests::cluster::{ControlPlane, block_on};
use framefleet_tests::{Pools, repository, scheduler};
use kube::api::{DynamicObject, PostParams};
use kube::core::ApiResource;
use kube::{Api, Error};
use serde_json::{Value, json};
use std::process::Command;

/// Pools as JSON says them, whatever this program can read.
struct Raw {
    pools: Pools<'static>,
    api: Api<DynamicObject>,
}

impl Raw {
    fn new() -> Self {
        let pools = Pools::shared();
        let resource = ApiResource::erase::<WorkerPool>(&());
        let api = Api::namespaced_with(pools.plane().admin().client(), pools.namespace(), &resource);
        Self { pools, api }
    }

    fn create(&self, pool: &Value) -> Result<Value, Error> {
        let object: DynamicObject = serde_json::from_value(pool.clone()).unwrap();
        block_on(self.api.create(&PostParams::default(), &object)).map(|made| serde_json::to_value(made).unwrap())
    }

    fn refuses(&self, pool: &Value, with: &str) {
        let answer = self.create(pool);
        let said = match &answer {
            Err(Error::Api(status)) if status.code == 422 => status.message.as_str(),
            _ => "",
        };
        assert!(said.contains(with), "{pool}: not {with:?} but {answer:?}");
    }

    /// A pool that is usual but for `spec`.
    fn refuses_spec(&self, spec: &Value, with: &str) {
        self.refuses(&scheduler::pool("refused", spec.clone()), with);
    }
}

#[test]
fn the_api_server_refuses_what_cannot_be_meant_and_says_why() {
    let raw = Raw::new();
    for (spec, with) in [
        (json!({"minWorkers": 6}), "minWorkers must not be greater than maxWorkers"),
        (json!({"minWorkers": -1}), "spec.minWorkers"),
        (json!({"maxWorkers": 10001}), "spec.maxWorkers"),
        (json!({"runAs": "Cronjob"}), "supported values: \"Jobs\", \"Deployment\""),
        (json!({"capacity": "Reserved"}), "supported values: \"OnDemand\", \"Spot\""),
        (json!({"roles": ["plan", "detect"]}), "Jobs are for the role detect alone"),
        (json!({"roles": ["plan"]}), "Jobs are for the role detect alone"),
        (json!({"roles": []}), "spec.roles"),
        (json!({"runAs": "Deployment", "roles": ["finish", "finish"]}), "Duplicate value"),
        (json!({"roles": ["sleep"]}), "spec.roles[0]"),
        (json!({"budgetPerHour": "10"}), "budgetPerHour needs pricePerHour"),
        (json!({"pricePerHour": "-1"}), "spec.pricePerHour"),
        (json!({"pricePerHour": "1e3"}), "spec.pricePerHour"),
        (json!({"pricePerHour": "1", "budgetPerHour": "a lot"}), "spec.budgetPerHour"),
        (json!({"container": "sidecar"}), "the template has no container with the name in spec.container"),
        (json!({"template": {"spec": {"containers": []}}}), "spec.template.spec.containers"),
        (json!({"template": {"spec": {}}}), "spec.template.spec.containers: Required value"),
        (json!({"template": {"spec": {"containers": [{"name": "worker"}]}}}), "image: Required value"),
        (json!({"template": {}}), "spec.template.spec: Required value"),
        (json!({"drainWithin": "5s"}), "drainWithin must be at least 10s"),
        (json!({"drainWithin": "soon"}), "spec.drainWithin"),
        (json!({"drainWithin": "1.5h"}), "spec.drainWithin"),
        (json!({"drainWithin": ""}), "spec.drainWithin"),
        (json!({"coldStart": "999999999h"}), "spec.coldStart"),
        (json!({"stabilization": "-5m"}), "spec.stabilization"),
        (json!({"idleExit": "1 minute"}), "spec.idleExit"),
        (json!({"coldStart": "90"}), "spec.coldStart"),
        (json!({"queues": []}), "spec.queues"),
        (json!({"queues": [{"name": "Normal"}]}), "spec.queues[0].name"),
        (json!({"queues": [{"name": "normal", "weight": 0}]}), "spec.queues[0].weight"),
        (json!({"queues": [{"name": "normal"}, {"name": "normal"}]}), "Duplicate value"),
        (json!({"slots": 0}), "spec.slots"),
        (json!({"gpu": {"count": 0}}), "spec.gpu.count"),
        (json!({"gpu": {"resource": "gpu"}}), "spec.gpu.resource"),
        (json!({"gpu": {"memory": "much"}}), "spec.gpu.memory"),
        (json!({"kafka": {"prefix": "a fleet"}}), "spec.kafka.prefix"),
        (json!({"kafka": {"secretName": ""}}), "spec.kafka.secretName"),
    ] {
        raw.refuses_spec(&spec, with);
    }
    let long = "l".repeat(41);
    raw.refuses(&scheduler::pool(&long, json!({})), "a pool's name may have 40 characters");
    raw.create(&scheduler::pool(&long[1..], json!({}))).unwrap();
    raw.refuses(&scheduler::pool("a.b", json!({})), "a pool's name may have no dot");
    for missing in ["runAs", "maxWorkers", "template"] {
        let mut pool = scheduler::pool("refused", json!({}));
        pool["spec"].as_object_mut().unwrap().remove(missing);
        raw.refuses(&pool, &format!("spec.{missing}: Required value"));
    }
}

#[test]
fn what_is_just_allowed_is_allowed() {
    let raw = Raw::new();
    for (number, spec) in [
        json!({"minWorkers": 5}),
        json!({"maxWorkers": 0}),
        json!({"drainWithin": "10s", "stabilization": "0s", "idleExit": "1h30m5s", "coldStart": "9999h"}),
        json!({"pricePerHour": "0.53", "budgetPerHour": "0"}),
        json!({"runAs": "Deployment", "roles": ["plan", "detect", "finish"], "gpu": null}),
        json!({"gpu": {"resource": "nvidia.com/mig-1g.10gb", "count": 64, "memory": "24Gi"}}),
        json!({"queues": [{"name": "a"}, {"name": "b-2", "weight": 1_000_000}]}),
    ]
    .into_iter()
    .enumerate()
    {
        let made = raw.create(&scheduler::pool(&format!("allowed-{number}"), spec.clone()));
        assert!(made.is_ok(), "{spec}: {made:?}");
    }
}

#[test]
fn a_pool_stays_what_it_is_run_as() {
    let raw = Raw::new();
    raw.pools.pool("jobs", json!({}));
    let pools = raw.pools.objects::<WorkerPool>();
    let error = pools.try_merge("jobs", &json!({"spec": {"runAs": "Deployment"}})).unwrap_err().to_string();
    let advice = "runAs cannot be changed: make another pool, and set maxWorkers of this one to 0";
    assert!(error.contains(advice), "{error}");
    let changed = raw.pools.change("jobs", json!({"maxWorkers": 0}));
    assert_eq!(changed.metadata.generation, Some(2));
}

#[test]
fn what_a_pool_does_not_say_is_added() {
    let raw = Raw::new();
    let template = json!({"spec": {
        "containers": [{"name": "worker", "image": "framefleet", "env": [{"name": "A", "value": "b"}]}],
        "nodeSelector": {"gpu": "l4"}
    }});
    let pool = json!({
        "apiVersion": "framefleet.dev/v1alpha1", "kind": "WorkerPool", "metadata": {"name": "short"},
        "spec": {"runAs": "Jobs", "maxWorkers": 3, "gpu": {}, "template": template}
    });
    let made = raw.create(&pool).unwrap();
    assert_eq!(
        made["spec"],
        json!({
            "runAs": "Jobs", "capacity": "OnDemand", "roles": ["detect"], "slots": 2, "minWorkers": 0, "maxWorkers": 3,
            "gpu": {"resource": "nvidia.com/gpu", "count": 1},
            "queues": [{"name": "high", "weight": 16}, {"name": "normal", "weight": 4}, {"name": "low", "weight": 1}],
            "drainWithin": "10m", "stabilization": "5m", "idleExit": "1m", "paused": false, "container": "worker",
            "kafka": {"secretName": "framefleet-kafka", "prefix": "framefleet"},
            "template": template,
        }),
        "and of the template nothing is lost"
    );
    assert_eq!(made["status"], Value::Null);
}

#[test]
fn a_status_is_set_by_nobody_who_writes_the_pool() {
    let raw = Raw::new();
    let mut pool = scheduler::pool("boasting", json!({}));
    pool["status"] = json!({"workers": {"desired": 9, "ready": 9, "pending": 9, "busy": 9}});
    assert_eq!(raw.create(&pool).unwrap()["status"], Value::Null);
    let merged = raw.pools.objects::<WorkerPool>().merge("boasting", &json!({"status": {"reason": "so good"}}));
    assert!(merged.status.is_none_or(|status| status.reason.is_empty()));
    raw.pools.know_cost("boasting", "m", 0.5);
    assert_eq!(raw.pools.status("boasting").models[0].model, "m");
    assert_eq!(raw.pools.change("boasting", json!({"maxWorkers": 4})).status.unwrap().models.len(), 1);
}

#[test]
fn kubectl_shows_what_there_is_and_explains_what_can_be_said() {
    let pools = Pools::shared();
    pools.pool("shown", json!({}));
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Working", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"
    });
    let status = json!({
        "workers": {"desired": 4, "ready": 3, "pending": 1, "busy": 2}, "waitingWorkerSeconds": 900.5,
        "reason": "900 worker-s waiting", "conditions": [condition]
    });
    pools.objects::<WorkerPool>().merge_status("shown", &json!({ "status": status }));
    let admin = pools.plane().admin();
    let columns = |arguments: &[&str]| {
        let table = admin.kubectl(&[&["get", "-n", pools.namespace()], arguments].concat());
        let line =
            |line: &str| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        table.lines().map(line).collect::<Vec<Vec<String>>>()
    };
    let [names, values] = columns(&["wp"]).try_into().unwrap();
    assert_eq!(names, ["NAME", "RUNS", "DESIRED", "READY", "PENDING", "WORK", "STATE", "AGE"]);
    assert_eq!(values[..7], ["shown", "Jobs", "4", "3", "1", "900", "Working"]);
    let [names, values] = columns(&["workerpools", "-o", "wide"]).try_into().unwrap();
    assert_eq!((names[7].as_str(), values[7].as_str()), ("WHY", "900 worker-s waiting"));
    assert_eq!(columns(&["framefleet"]).len(), 2, "by its category");

    let explained = |field: &str| admin.kubectl(&["explain", field]).split_whitespace().collect::<Vec<_>>().join(" ");
    let drain_within = explained("workerpool.spec.drainWithin");
    let text = "In what time work without a deadline is done after it came, where workers can be had: 10m, 1h30m. At \
                least 10s. By default 10m.";
    assert!(drain_within.contains(text), "{drain_within}");
    assert!(explained("workerpool.spec.template.spec").contains("A PodSpec: kubectl explain pod.spec"));
    let whole = explained("workerpool");
    assert!(whole.contains("Workers of one kind, as many as the work that waits"), "{whole}");
}

#[test]
fn every_field_is_explained() {
    let printed = admin().kubectl(&["get", "crd", "workerpools.framefleet.dev", "-o", "json"]);
    let definition: Value = serde_json::from_str(&printed).unwrap();
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    // What a name says is not said again.
    let obvious = ["template.metadata", "queues.name", "template.spec.containers"];
    let fields = schema["properties"].as_object().unwrap();
    for (name, field) in fields {
        let of = |field: &Value| field["properties"].as_object().cloned().unwrap_or_default();
        let inner = of(field).into_iter().chain(of(&field["items"]));
        let inner = inner.map(|(within, field)| (format!("{name}.{within}"), field));
        for (name, field) in inner.chain([(name.clone(), field.clone())]) {
            let is_explained = field["description"].as_str().is_some_and(|text| text.len() > 20);
            assert!(is_explained || obvious.contains(&name.as_str()), "{name}: {field}");
        }
    }
}

#[test]
fn the_definition_is_applied_without_a_warning() {
    let printed = Command::new(repository::program("framefleet-scheduler")).arg("crd").output().unwrap();
    let definition = String::from_utf8(printed.stdout).unwrap();
    // `kubectl apply` keeps it in an annotation too.
    assert!(definition.len() < 256 << 10, "{} bytes", definition.len());
    for arguments in [&["replace", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"]] {
        let applied = admin().try_kubectl(arguments, &definition);
        assert_eq!((applied.status, applied.stderr.as_str()), (Some(0), ""), "{applied}");
    }
}

fn admin() -> &'static framefleet_tests::cluster::Access {
    let pools = Pools::shared();
    assert!(std::ptr::eq(pools.plane(), ControlPlane::shared()));
    ControlPlane::shared().admin()
}
