//! What the scheduler costs the API server, and what it says of itself.

use super::place;
use framefleet_tests::cluster::ApiProxy;
use framefleet_tests::scheduler::traffic::SEGMENTS_FOR_THREE;
use framefleet_tests::{scheduler, wait};
use serde_json::{Value, json};
use std::time::Duration;

/// In which calls are counted: so many of the lease's periods of three seconds.
const RENEWALS: usize = 4;

#[test]
fn fifty_pools_at_rest_make_less_than_five_calls_a_second() {
    const POOLS: usize = 50;
    let (pools, traffic) = place();
    let all: Vec<Value> = (0..POOLS)
        .map(|number| scheduler::pool(&format!("pool-{number}"), json!({"kafka": scheduler::kafka(&traffic)})))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
    let created = pools.plane().admin().try_kubectl(&["create", "-n", pools.namespace(), "-f", "-"], &list.to_string());
    assert_eq!(created.status, Some(0), "{created}");
    let proxy = ApiProxy::start(pools.plane());
    let _scheduler = pools.start_scheduler_as(&proxy.access(&pools.access()));
    pools.wait_for_reason("pool-49", "Ready", "Idle");
    wait::calmly("all are told of", || {
        (0..POOLS)
            .all(|number| pools.condition(&format!("pool-{number}"), "Ready").is_some_and(|it| it.reason == "Idle"))
    });
    proxy.forget_calls();
    wait::calmly("the lease was renewed several times", || proxy.count("PUT", "/leases/") > RENEWALS);
    let calls = proxy.calls();
    let time = calls.last().unwrap().at.duration_since(calls[0].at);
    let rate = calls.len() as f64 / time.as_secs_f64();
    println!("{POOLS} pools at rest: {rate:.2} calls a second, {} in {time:?}", calls.len());
    assert!(time > Duration::from_secs(8) && rate < 5.0, "{rate} calls a second: {calls:?}");
    let beside_the_lease = calls.iter().filter(|call| !call.path.contains("/leases/")).count();
    assert!(beside_the_lease <= POOLS / 10, "{calls:?}");
}

#[test]
fn the_endpoints_say_how_the_scheduler_and_the_pools_are() {
    let (pools, traffic) = place();
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let leader = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    let standby = pools.start_scheduler();
    for scheduler in [&leader, &standby] {
        assert_eq!(scheduler.ask("/livez"), (200, "ok\n".to_owned()));
        wait::calmly("it is ready", || scheduler.ask("/readyz").0 == 200);
        assert_eq!(scheduler.ask("/elsewhere").0, 404);
    }
    let value = |metrics: &str, begins: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(begins));
        line.map(|value| value.trim().parse::<f64>().unwrap())
    };
    let pool = pools.full_name("gpus");
    let of_pool = |state: &str| format!("framefleet_pool_workers{{pool=\"{pool}\",state=\"{state}\"}}");
    wait::calmly("the workers are counted", || value(&leader.ask("/metrics").1, &of_pool("ready")) == Some(3.0));
    let metrics = leader.ask("/metrics").1;
    assert_eq!(value(&metrics, "framefleet_scheduler_leads "), Some(1.0));
    assert_eq!(value(&metrics, &of_pool("desired")), Some(3.0));
    assert_eq!(leader.metric("framefleet_pool_waiting_worker_seconds", &pool), 1000);
    assert!(value(&metrics, "framefleet_scheduler_api_calls_total ").unwrap() >= 2.0);
    assert!(metrics.contains("# TYPE framefleet_scheduler_cycle_seconds histogram"), "{metrics}");
    for line in metrics.lines().filter(|line| line.starts_with("# TYPE ")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(metrics.contains(&format!("# HELP {name} ")), "{name} is not described");
    }
    assert_eq!(value(&standby.ask("/metrics").1, "framefleet_scheduler_leads "), Some(0.0));
}

#[test]
fn a_scheduler_that_may_not_see_pods_says_so_and_changes_nothing() {
    let (pools, traffic) = place();
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let proxy = ApiProxy::start(pools.plane());
    let forbidden = framefleet_tests::cluster::Refusal {
        method: "GET",
        path: "/pods?",
        status: 403,
        retry_after: None,
        times: usize::MAX,
    };
    proxy.refuse(forbidden);
    let scheduler = pools.start_scheduler_as(&proxy.access(&pools.access()));
    let said = pools.wait_for_reason("gpus", "Ready", "Held");
    assert!(!said.is_so && said.message.contains("pods cannot be watched: refused for the test"), "{said:?}");
    assert!(scheduler.log().contains("pods cannot be watched"), "{}", scheduler.log());
    assert_eq!(pools.jobs(), []);
    proxy.calm();
    pools.wait_for_ready("gpus", 3);
    assert_eq!(pools.workers_asked_for(), 3);
}

#[test]
fn a_namespace_without_rights_keeps_no_pool_of_another_one_from_workers() {
    let (pools, traffic) = place();
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let elsewhere = pools.plane().namespace("no-rights");
    let scheduler = pools.start_scheduler_with(&pools.access(), &["--namespace", &elsewhere]);
    pools.wait_for_ready("gpus", 3);
    assert!(pools.wait_for_reason("gpus", "Ready", "Working").is_so);
    let log = scheduler.log();
    let told = log.lines().find(|line| line.contains("cannot be watched") && line.contains(&elsewhere));
    assert!(told.is_some_and(|line| line.contains("is forbidden")), "{log}");
}
