//! An API server that refuses, fails or is away.

use super::{assert_one_job_for_three, three_are_needed};
use framefleet_tests::cluster::{ApiProxy, ControlPlane, LOST, Refusal};
use framefleet_tests::scheduler::traffic::{SEGMENTS_FOR_THREE, Traffic};
use framefleet_tests::{Broker, Pools, wait};
use serde_json::json;

#[test]
fn what_the_api_server_refuses_now_and_then_is_done_in_the_end_and_once() {
    let (pools, _traffic) = three_are_needed();
    let proxy = ApiProxy::start(pools.plane());
    let refuse = |method, path, status, retry_after, times| {
        proxy.refuse(Refusal { method, path, status, retry_after, times });
    };
    // As while a quota is changed by somebody else at the same time: no Job is made, and none is there.
    refuse("POST", "/jobs?", 409, None, 1);
    refuse("POST", "/jobs?", 500, None, 1);
    refuse("POST", "/jobs?", 429, Some(1), 2);
    refuse("PATCH", "/status?", 500, None, 2);
    refuse("PATCH", "/status?", 409, None, 1);
    refuse("PUT", "/leases/", 500, None, 1);
    refuse("GET", "/secrets/", 503, None, 1);
    refuse("GET", "/pods?", 500, None, 1);
    refuse("GET", "/workerpools?", 429, None, 1);
    // After it all is well, and nothing of Deployments is told by which that could be seen.
    refuse("GET", "watch=true", 500, None, 8);
    let scheduler = pools.start_scheduler_as(&proxy.access(&pools.access()));
    let said = pools.wait_for_reason("gpus", "Ready", "ApiServerError");
    assert!(!said.is_so && said.message.contains("refused for the test (409); it is tried again"), "{said:?}");
    pools.wait_for_ready("gpus", 3);
    scheduler.wait_for_cycles(4);
    assert_one_job_for_three(&pools);
    assert!(pools.wait_for_reason("gpus", "Ready", "Working").is_so);
    assert_eq!(proxy.calls().iter().filter(|call| call.status == 409).count(), 2, "all was refused that was to be");
}

#[test]
fn what_was_done_and_never_answered_is_not_done_twice() {
    let (pools, _traffic) = three_are_needed();
    let proxy = ApiProxy::start(pools.plane());
    let lose = |method, path| proxy.refuse(Refusal { method, path, status: LOST, retry_after: None, times: 1 });
    lose("POST", "/jobs?");
    lose("PATCH", "/status?");
    lose("GET", "/secrets/");
    let scheduler = pools.start_scheduler_as(&proxy.access(&pools.access()));
    pools.wait_for_ready("gpus", 3);
    scheduler.wait_for_cycles(4);
    assert_one_job_for_three(&pools);
    assert_eq!(proxy.calls().iter().filter(|call| call.status == LOST).count(), 3, "all was lost that was to be");
}

#[test]
fn an_api_server_that_is_away_for_a_while_is_gone_on_with() {
    let plane = ControlPlane::start();
    let (pools, traffic) = (Pools::on(&plane), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    wait::calmly("there is a Job", || !pools.jobs().is_empty());
    plane.kill_api_server();
    wait::calmly("the scheduler leads no more", || !scheduler.leads());
    plane.restart_api_server();
    scheduler.wait_until_it_leads();
    assert_one_job_for_three(&pools);
    // Of Deployments, nothing changed meanwhile, so that nothing is told of them: that is no reason to wait for anything.
    pools.change("gpus", json!({"minWorkers": 5}));
    wait::calmly("it goes on", || pools.workers_asked_for() == 5);
    assert_eq!(pools.job_names(), ["gpus-1", "gpus-2", "gpus-3"]);
    let said = pools.wait_for_reason("gpus", "KafkaAvailable", "Answers");
    assert!(said.is_so, "{said:?}");
}
