//! Workers that cannot start, fail, or are to stay.

use super::{assert_one_job_for_three, three_are_needed};
use framefleet_tests::cluster::{Node, NodeSetup};
use framefleet_tests::scheduler::template;
use framefleet_tests::scheduler::traffic::{SEGMENTS_FOR_THREE, Traffic};
use framefleet_tests::{Broker, Pools, wait};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};
use std::time::Duration;

/// What a pool has to say so that its workers are processes which do this.
fn runs(script: &str) -> Value {
    template(&json!({"image": "framefleet", "command": ["sh", "-c", script]}))
}

/// A pool that needs three workers, and a node on which their containers really run.
fn on_a_node(spec: Value) -> (Pools<'static>, Traffic, Node) {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.usual_pool("gpus", &traffic, spec);
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let node = Node::register(pools.plane(), NodeSetup::of(pools.namespace(), "node").gpus(8));
    (pools, traffic, node)
}

fn phases(pools: &Pools<'_>) -> Vec<String> {
    pools.pods().into_iter().filter_map(|pod| pod.status?.phase).collect()
}

#[test]
fn an_image_that_cannot_be_had_is_named_and_asked_for_once_until_there_is_another() {
    let image = template(&json!({"image": "missing/framefleet:2"}));
    let (pools, _traffic, _node) = on_a_node(json!({"template": image, "stabilization": "0s"}));
    let scheduler = pools.start_scheduler();
    let is_told = || {
        let said = pools.condition("gpus", "Degraded")?;
        let told = ["ErrImagePull", "ImagePullBackOff"].contains(&said.reason.as_str());
        (said.is_so && told && said.message.contains("missing/framefleet:2")).then_some(())
    };
    wait::calmly("the pool is degraded", || is_told().is_some());
    wait::calmly("all three pods wait for it", || pools.status("gpus").workers.pending == 3);
    scheduler.wait_for_cycles(4);
    assert_one_job_for_three(&pools);
    assert!(!pools.condition("gpus", "Ready").unwrap().is_so);

    pools.change("gpus", json!({"template": runs("exec sleep 1000")}));
    wait::calmly("others are made", || pools.job_names() == ["gpus-2"]);
    wait::calmly("they run", || phases(&pools) == ["Running"; 3]);
    let said = pools.wait_for_reason("gpus", "Degraded", "AsExpected");
    assert!(!said.is_so, "{said:?}");
}

#[test]
fn a_template_that_is_no_pod_is_told_before_there_is_work() {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.add_nodes(1);
    // What this program cannot read, and what only the API server knows better.
    let unreadable = template(&json!({"image": "framefleet", "ports": "9090"}));
    let impossible = template(&json!({"image": "framefleet", "resources": {"limits": {"cpu": "-1"}}}));
    pools.usual_pool("unreadable", &traffic, json!({"template": unreadable}));
    pools.usual_pool("impossible", &traffic, json!({"template": impossible, "queues": [{"name": "high"}]}));
    let scheduler = pools.start_scheduler();
    for (pool, words) in [("unreadable", "kubectl explain pod.spec"), ("impossible", "limits[cpu]")] {
        let said = pools.wait_for_reason(pool, "Ready", "TemplateInvalid");
        assert!(!said.is_so && said.message.contains("spec.template") && said.message.contains(words), "{said:?}");
        assert!(pools.condition(pool, "Degraded").unwrap().is_so);
    }
    assert_eq!(pools.jobs(), []);
    for (pool, queue) in [("unreadable", "normal"), ("impossible", "high")] {
        traffic.segments_in(queue, pool, SEGMENTS_FOR_THREE);
    }
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.jobs(), []);
    for pool in ["unreadable", "impossible"] {
        pools.change(
            pool,
            json!({"template": template(&json!({"image": "framefleet", "ports": null, "resources": null}))}),
        );
        pools.wait_for_ready(pool, 3);
        assert!(!pools.condition(pool, "Degraded").unwrap().is_so);
    }
    assert_eq!(pools.job_names(), ["impossible-1", "unreadable-1"]);
}

#[test]
fn workers_whose_call_is_mistaken_are_started_once_until_they_are_called_otherwise() {
    let (pools, _traffic, _node) = on_a_node(json!({"template": runs("exit 2")}));
    let scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("gpus", "Degraded", "WorkersFail");
    assert!(said.is_so && said.message.contains("kubectl logs"), "{said:?}");
    assert!(!pools.wait_for_reason("gpus", "Ready", "WorkersFail").is_so);
    scheduler.wait_for_cycles(4);
    assert_one_job_for_three(&pools);
    assert_eq!(phases(&pools), ["Failed"; 3], "each was started once");

    pools.change("gpus", json!({"template": runs("exec sleep 1000")}));
    wait::calmly("others are made at once", || pools.job_names() == ["gpus-1", "gpus-2"]);
    let said = pools.wait_for_reason("gpus", "Degraded", "AsExpected");
    assert!(!said.is_so, "{said:?}");
}

#[test]
fn workers_that_fail_at_once_are_started_again_more_and_more_slowly_by_the_same_job() {
    let (pools, _traffic, _node) = on_a_node(json!({"template": runs("exit 1"), "maxWorkers": 1}));
    let scheduler = pools.start_scheduler();
    let failed = || phases(&pools).iter().filter(|phase| *phase == "Failed").count();
    wait::calmly("the worker was started again", || failed() == 2);
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.job_names(), ["gpus-1"]);
    assert!(pools.pods().len() <= 3, "no storm");
    // After its last try the Job has failed, and the next one waits for a minute.
    let has_failed = || pools.condition("gpus", "Degraded").is_some_and(|said| said.reason == "WorkersFail");
    wait::within(Duration::from_mins(3), "the Job fails for good", has_failed);
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.job_names(), ["gpus-1"]);
}

#[test]
fn the_workers_of_the_minimum_stay_until_there_is_to_be_less_of_them_and_they_are_idle() {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.add_nodes(1);
    pools.usual_pool("gpus", &traffic, json!({"minWorkers": 3, "stabilization": "0s"}));
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    assert_eq!(pools.job_names(), ["gpus-1", "gpus-2", "gpus-3"]);
    let arguments =
        |job: &Job| format!("{:?}", job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers[0].args);
    assert!(pools.jobs().iter().all(|job| !arguments(job).contains("--leave-when-idle")));

    pools.change("gpus", json!({"minWorkers": 1}));
    wait::calmly("fewer are wanted", || pools.status("gpus").workers.desired == 1);
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.jobs().len(), 3, "what they have in hand is not known");
    let pods: Vec<Pod> = pools.pods();
    let of_job = |job: &str| {
        let is_it = |pod: &&Pod| pod.labels()["batch.kubernetes.io/job-name"] == job;
        pods.iter().find(is_it).unwrap().name_any()
    };
    let have_in_hand = |pieces: [u32; 3], left: &[&str]| {
        wait::calmly(&format!("{left:?} are left"), || {
            for (job, pieces) in ["gpus-1", "gpus-2", "gpus-3"].into_iter().zip(pieces) {
                traffic.heartbeat(&pools.full_name("gpus"), &of_job(job), pieces);
            }
            pools.job_names() == left
        });
    };
    have_in_hand([0, 2, 1], &["gpus-2", "gpus-3"]);
    have_in_hand([0, 2, 0], &["gpus-2"]);
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.job_names(), ["gpus-2"]);
    pools.change("gpus", json!({"minWorkers": 2}));
    pools.wait_for_ready("gpus", 2);
    assert_eq!(pools.job_names(), ["gpus-2", "gpus-4"]);
}

#[test]
fn workers_of_the_minimum_that_never_came_are_taken_back() {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.usual_pool("gpus", &traffic, json!({"minWorkers": 2, "stabilization": "0s"}));
    let _scheduler = pools.start_scheduler();
    wait::calmly("both wait for nodes", || pools.status("gpus").workers.pending == 2);
    pools.change("gpus", json!({"minWorkers": 1}));
    wait::calmly("one is left", || pools.jobs().len() == 1);
    pools.change("gpus", json!({"minWorkers": 0}));
    wait::calmly("none is left", || pools.jobs().is_empty());
    pools.wait_for_reason("gpus", "Ready", "Idle");
}

#[test]
fn a_pool_with_three_workers_is_not_disturbed_by_one_that_cannot_start() {
    let (pools, traffic) = three_are_needed();
    let missing = template(&json!({"image": "framefleet", "resources": {"limits": {"cpu": "-1"}}}));
    pools.usual_pool(
        "broken",
        &traffic,
        json!({"template": missing, "pricePerHour": "0", "queues": [{"name": "normal"}]}),
    );
    pools.change("gpus", json!({"pricePerHour": "1"}));
    let _scheduler = pools.start_scheduler();
    pools.wait_for_reason("broken", "Ready", "TemplateInvalid");
    pools.wait_for_ready("gpus", 3);
    assert_one_job_for_three(&pools);
}
