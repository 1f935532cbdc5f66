//! Pools of Deployments.

use super::{place, pods_of};
use framefleet_tests::cluster::{ApiProxy, Node, NodeSetup};
use framefleet_tests::scheduler::traffic::SEGMENTS_FOR_THREE;
use framefleet_tests::scheduler::{SECRET, worker_template};
use framefleet_tests::{Broker, Fleet, Footage, Oracle, Orders, Pools, repository, wait};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::PathBuf;

fn replicas(pools: &Pools<'_>, pool: &str) -> i32 {
    pools.objects::<Deployment>().get(pool).unwrap().spec.unwrap().replicas.unwrap()
}

#[test]
fn a_deployment_shrinks_by_those_that_have_nothing_in_hand() {
    let (pools, traffic) = place();
    let proxy = ApiProxy::start(pools.plane());
    pools.usual_pool("steady", &traffic, json!({"runAs": "Deployment", "stabilization": "0s"}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler_as(&proxy.access(&pools.access()));
    pools.wait_for_ready("steady", 3);
    assert_eq!(pools.status("steady").decisions[0].what.split(':').next(), Some("from 0 to 3 workers"));

    let workers = pods_of(&pools, "steady");
    traffic.end("first");
    wait::calmly("nothing waits", || pools.status("steady").workers.desired == 0);
    scheduler.wait_for_cycles(4);
    assert_eq!(replicas(&pools, "steady"), 3, "what they have in hand is not known");
    let tell = |busy: &str| {
        for pod in &workers {
            traffic.heartbeat(&pools.full_name("steady"), pod, 2 * u32::from(pod == busy));
        }
    };
    proxy.forget_calls();
    wait::calmly("the two that are idle are gone", || {
        tell(&workers[1]);
        pods_of(&pools, "steady") == workers[1..2]
    });
    let calls = proxy.calls();
    let place_of = |path: &str| {
        let places = || calls.iter().enumerate().filter(|(_, call)| call.method == "PATCH" && call.path.contains(path));
        (places().map(|(place, _)| place).min().unwrap(), places().map(|(place, _)| place).max().unwrap())
    };
    let (marked, shrunk) = (place_of("/pods/"), place_of("/deployments/"));
    assert!(marked.0 < shrunk.0, "pods are marked before any may go: {calls:?}");
    let costs: BTreeMap<String, String> = (pools.pods().iter())
        .filter_map(|pod| {
            Some((pod.name_any(), pod.annotations().get("controller.kubernetes.io/pod-deletion-cost")?.clone()))
        })
        .collect();
    assert_eq!(costs.get(&workers[1]).map(String::as_str), Some("2"));
    let told = || tell(&workers[1]);
    told();
    scheduler.wait_for_cycles(4);
    assert_eq!(pods_of(&pools, "steady"), workers[1..2], "work in hand is not disturbed");
    wait::calmly("it goes when it is idle", || {
        tell("nobody");
        pods_of(&pools, "steady").is_empty()
    });
}

#[test]
fn a_new_template_replaces_workers_at_the_end_of_their_segments() {
    let (pools, fleet) = (Pools::shared(), Fleet::on(Broker::shared()));
    pools.kafka_is_at(&Broker::shared().bootstrap());
    let orders = Orders::new(fleet.scratch(), "pace");
    // A second for a segment.
    orders.give(&["decode @ sleep-40000"]);
    let mut setup = NodeSetup::of(pools.namespace(), "node").entrypoint("framefleet", repository::framefleet());
    for (name, value) in orders.environment() {
        setup = setup.env(name, value.to_str().unwrap());
    }
    let node = Node::register(pools.plane(), setup.env("FRAMEFLEET_LOG", "info"));
    let kafka = json!({"secretName": SECRET, "prefix": fleet.topics().prefix()});
    let all = ["plan", "detect", "finish"];
    pools.pool(
        "all",
        json!({
            "runAs": "Deployment", "roles": all, "gpu": null, "minWorkers": 1, "maxWorkers": 1, "slots": 1, "kafka": kafka,
            "template": worker_template(&fleet, "1")
        }),
    );
    let _scheduler = pools.start_scheduler();
    pools.wait_for_ready("all", 1);
    let before = pods_of(&pools, "all");
    let id = fleet.submit("rolled-over", Footage::short());
    let has_begun = || {
        let attempts = fleet.folder(&id).path().join("attempts");
        fleet.published(&id) >= 1 && attempts.exists() && !fleet.marks(&id).is_empty()
    };
    wait::calmly("a segment is in hand", has_begun);
    pools.change("all", json!({"template": worker_template(&fleet, "2")}));
    wait::within(framefleet_tests::scheduler::PATIENCE, "the other one has taken over", || {
        let there: Vec<Pod> = pools.objects().list();
        there.len() == 1 && there[0].name_any() != before[0]
    });
    Oracle::of(&fleet).succeeded([&id], Footage::short()).check();
    let left = node.log(pools.namespace(), &before[0]).unwrap();
    for words in ["others will do them", "left to another", "does not stop"] {
        assert!(!left.contains(words), "{left}");
    }
    let next = pods_of(&pools, "all");
    let log = node.log(pools.namespace(), &next[0]).unwrap();
    assert!(!log.contains("was lost"), "{log}");
    assert_eq!(fleet.marks(&id), [] as [PathBuf; 0], "every attempt came to its end");
}
