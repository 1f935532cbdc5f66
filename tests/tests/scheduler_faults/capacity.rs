//! Workers that cannot be had, or not now.

use super::{assert_one_job_for_three, three_are_needed};
use framefleet_tests::scheduler::traffic::{SEGMENTS_FOR_THREE, Traffic};
use framefleet_tests::{Broker, Pools, wait};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::ResourceExt;
use serde_json::{Value, json};

fn limit(pools: &Pools<'_>, hard: &Value) {
    let quotas = pools.objects::<ResourceQuota>();
    quotas.create(&json!({"metadata": {"name": "quota"}, "spec": {"hard": hard}}));
    wait::calmly("the quota is in force", || quotas.get("quota").unwrap().status.is_some_and(|it| it.hard.is_some()));
}

fn raise(pools: &Pools<'_>, hard: &Value) {
    pools.objects::<ResourceQuota>().merge("quota", &json!({"spec": {"hard": hard}}));
}

fn workers_of(pools: &Pools<'_>, pool: &str) -> Vec<i32> {
    let jobs = pools.objects::<Job>().labelled(&format!("framefleet.dev/pool={pool}"));
    jobs.into_iter().filter_map(|job| job.spec?.completions).collect()
}

#[test]
fn a_quota_that_refuses_pods_is_named_and_another_pool_gets_the_work_meanwhile() {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.add_nodes(1);
    pools.usual_pool("cheap", &traffic, json!({"pricePerHour": "1"}));
    pools.usual_pool("dear", &traffic, json!({"pricePerHour": "2", "gpu": null}));
    limit(&pools, &json!({"requests.nvidia.com/gpu": "1"}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("cheap", "CapacityAvailable", "QuotaExceeded");
    assert!(!said.is_so && said.message.contains("exceeded quota: quota"), "{said:?}");
    assert!(pools.wait_for_reason("cheap", "Ready", "Working").is_so, "one of them works");
    pools.wait_for_ready("dear", 2);
    scheduler.wait_for_cycles(4);
    assert_eq!((workers_of(&pools, "cheap"), workers_of(&pools, "dear")), (vec![3], vec![2]));

    raise(&pools, &json!({"requests.nvidia.com/gpu": "8"}));
    pools.wait_for_ready("cheap", 3);
    assert!(pools.wait_for_reason("cheap", "CapacityAvailable", "AsExpected").is_so);
    assert_eq!((workers_of(&pools, "cheap"), workers_of(&pools, "dear")), (vec![3], vec![2]));
}

#[test]
fn a_quota_that_refuses_jobs_is_named_until_it_is_raised() {
    let (pools, _traffic) = three_are_needed();
    limit(&pools, &json!({"count/jobs.batch": "0"}));
    let _scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("gpus", "Ready", "Forbidden");
    assert!(!said.is_so && said.message.contains("exceeded quota: quota"), "{said:?}");
    assert!(pools.condition("gpus", "Degraded").unwrap().is_so);
    raise(&pools, &json!({"count/jobs.batch": "5"}));
    pools.wait_for_ready("gpus", 3);
    assert_one_job_for_three(&pools);
    assert!(pools.wait_for_reason("gpus", "Ready", "Working").is_so);
}

#[test]
fn nodes_are_waited_for_with_one_job() {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.usual_pool("gpus", &traffic, json!({"stabilization": "0s"}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("gpus", "CapacityAvailable", "Unschedulable");
    assert!(!said.is_so && said.message.contains("nodes"), "{said:?}");
    let ready = pools.wait_for_reason("gpus", "Ready", "Unschedulable");
    assert_eq!((ready.is_so, ready.message), (false, said.message));
    scheduler.wait_for_cycles(4);
    assert_one_job_for_three(&pools);
    assert_eq!(pools.status("gpus").workers.pending, 3);
    pools.add_nodes(1);
    pools.wait_for_ready("gpus", 3);
    assert_one_job_for_three(&pools);
    assert!(pools.wait_for_reason("gpus", "CapacityAvailable", "AsExpected").is_so);
}

#[test]
fn a_job_that_somebody_deletes_is_made_once_more() {
    let (pools, _traffic) = three_are_needed();
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    let before = pools.pod_uids();
    pools.objects::<Job>().delete("gpus-1");
    wait::calmly("there is another", || pools.job_names() == ["gpus-2"]);
    pools.wait_for_ready("gpus", 3);
    scheduler.wait_for_cycles(4);
    assert_eq!((pools.job_names(), pools.workers_asked_for()), (vec!["gpus-2".to_owned()], 3));
    assert!(pools.pod_uids().is_disjoint(&before));
}

#[test]
fn a_paused_pool_stays_as_it_is() {
    let (pools, traffic) = three_are_needed();
    pools.change("gpus", json!({"paused": true}));
    let scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("gpus", "Paused", "SpecSaysSo");
    assert!(said.is_so, "{said:?}");
    let ready = pools.wait_for_reason("gpus", "Ready", "Paused");
    assert!(!ready.is_so, "{ready:?}");
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.jobs(), []);
    pools.change("gpus", json!({"paused": false}));
    pools.wait_for_ready("gpus", 3);
    assert!(pools.wait_for_reason("gpus", "Ready", "Working").is_so);

    let before = pools.pod_uids();
    pools.change("gpus", json!({"paused": true, "minWorkers": 5}));
    pools.wait_for_reason("gpus", "Ready", "Paused");
    traffic.segments("second", SEGMENTS_FOR_THREE);
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.pod_uids(), before);
    assert_one_job_for_three(&pools);
    pools.change("gpus", json!({"paused": false}));
    pools.wait_for_ready("gpus", 5);
    assert!(pools.pod_uids().is_superset(&before));
    assert!(
        pools.jobs().iter().all(|job| job.name_any() == "gpus-1" || job.spec.as_ref().unwrap().completions == Some(1))
    );
}
