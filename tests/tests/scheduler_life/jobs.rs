//! Pools of Jobs.

use super::{leave, place, pods_of};
use framefleet_scheduler::pool::WorkerPool;
use framefleet_tests::scheduler::template;
use framefleet_tests::scheduler::traffic::SEGMENTS_FOR_THREE;
use framefleet_tests::wait;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Event;
use serde_json::json;

#[test]
fn a_burst_brings_workers_that_are_left_alone_until_they_leave_by_themselves() {
    let (pools, traffic) = place();
    pools.usual_pool("gpus", &traffic, json!({"stabilization": "0s"}));
    let scheduler = pools.start_scheduler();
    let idle = pools.wait_for_reason("gpus", "Ready", "Idle");
    assert_eq!((idle.is_so, idle.message.as_str()), (true, "nothing waits: 0 workers"));
    for (burst, so_far) in [("first", 3), ("second", 6)] {
        traffic.segments(burst, SEGMENTS_FOR_THREE);
        pools.wait_for_ready("gpus", 3);
        assert_eq!((pools.workers_asked_for(), pools.status("gpus").workers.desired), (so_far, 3));
        let decided = pools.status("gpus").decisions[0].what.clone();
        assert!(decided.ends_with(": 1000 worker-s waiting, drain within 600 s: 3 workers"), "{decided}");
        assert!(pools.wait_for_reason("gpus", "Ready", "Working").is_so);

        let workers = pods_of(&pools, "gpus");
        traffic.end(burst);
        wait::calmly("nothing waits", || pools.status("gpus").workers.desired == 0);
        scheduler.wait_for_cycles(4);
        assert_eq!(pods_of(&pools, "gpus"), workers, "workers that have begun are not stopped");
        leave(&pools);
        pools.wait_for_reason("gpus", "Ready", "Idle");
    }
    let succeeded = pools.jobs().into_iter().filter_map(|job| job.status.unwrap().succeeded);
    assert_eq!(succeeded.sum::<i32>(), 6);
    let starts = pools.status("gpus").cold_start.unwrap();
    assert_eq!(starts.samples, 6);
    let events: Vec<Event> = pools.objects().list();
    let started = events.into_iter().filter(|event| event.reason.as_deref() == Some("Started"));
    let mut told: Vec<String> = started.filter_map(|event| event.related?.name).collect();
    told.sort();
    assert_eq!(told, pools.job_names(), "each was told of");
}

#[test]
fn what_is_asked_for_and_not_needed_any_more_is_taken_back_before_it_begins() {
    let (pools, traffic) = place();
    // There is no such node.
    let mut nowhere = template(&json!({"image": "framefleet"}));
    nowhere["spec"]["nodeSelector"] = json!({"gpu": "none"});
    pools.usual_pool("gpus", &traffic, json!({"stabilization": "0s", "template": nowhere}));
    let _scheduler = pools.start_scheduler();
    traffic.segments("first", SEGMENTS_FOR_THREE);
    wait::calmly("three are asked for", || pools.workers_asked_for() == 3 && pods_of(&pools, "gpus").len() == 3);
    traffic.end("first");
    wait::calmly("they are taken back", || pools.jobs().is_empty());
    pools.wait_for_reason("gpus", "Ready", "Idle");
    let decisions = pools.status("gpus").decisions;
    assert!(
        decisions[0].what.starts_with("took back gpus-")
            && decisions[0].what.contains(": none of its workers has begun"),
        "{decisions:?}"
    );
}

#[test]
fn a_change_reaches_those_that_are_started_after_it() {
    let (pools, traffic) = place();
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    let first = || pools.objects::<Job>().get("gpus-1").unwrap();
    let (before, workers) = (first(), pods_of(&pools, "gpus"));
    pools.change("gpus", json!({"template": template(&json!({"image": "framefleet:2"})), "idleExit": "7s"}));
    wait::calmly("it is seen", || pools.status("gpus").observed_generation == Some(2));
    scheduler.wait_for_cycles(4);
    assert_eq!((first().spec, first().metadata.generation), (before.spec.clone(), before.metadata.generation));
    assert_eq!(pods_of(&pools, "gpus"), workers);

    // Then there is work for five.
    traffic.segments("second", SEGMENTS_FOR_THREE);
    wait::calmly("others are started", || pools.workers_asked_for() == 5);
    let container = |job: &Job| {
        let containers = job.spec.as_ref().unwrap().template.spec.as_ref().unwrap().containers.clone();
        (containers[0].image.clone().unwrap(), containers[0].args.clone().unwrap())
    };
    let (old, new) = (container(&first()), container(&pools.objects::<Job>().get("gpus-2").unwrap()));
    assert_eq!((old.0.as_str(), new.0.as_str()), ("framefleet", "framefleet:2"));
    assert!(old.1.contains(&"--leave-when-idle=60".to_owned()) && new.1.contains(&"--leave-when-idle=7".to_owned()));
    assert_eq!(first().spec, before.spec);
}

#[test]
fn two_pools_of_one_queue_buy_nothing_twice() {
    let (pools, traffic) = place();
    pools.usual_pool("cheap", &traffic, json!({"pricePerHour": "1", "maxWorkers": 3}));
    pools.usual_pool("dear", &traffic, json!({"pricePerHour": "2"}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("cheap", 3);
    scheduler.wait_for_cycles(4);
    assert_eq!(pools.job_names(), ["cheap-1"], "the cheap one has room for all of it");
    traffic.segments("second", SEGMENTS_FOR_THREE);
    pools.wait_for_ready("dear", 2);
    scheduler.wait_for_cycles(4);
    assert_eq!((pools.workers_asked_for(), pools.status("cheap").workers.ready), (5, 3));
}

#[test]
fn what_belongs_to_a_pool_goes_with_it() {
    let (pools, traffic) = place();
    pools.usual_pool("gpus", &traffic, json!({}));
    pools.usual_pool("steady", &traffic, json!({"runAs": "Deployment", "minWorkers": 1, "queues": [{"name": "high"}]}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    pools.wait_for_ready("steady", 1);
    for pool in ["gpus", "steady"] {
        pools.objects::<WorkerPool>().delete(pool);
    }
    wait::calmly("its Jobs and pods are gone", || pools.jobs().is_empty() && pools.pods().is_empty());
    let waiting = || scheduler.metric("framefleet_pool_waiting_worker_seconds", &pools.full_name("gpus"));
    wait::calmly("nothing is said to wait for it", || waiting() == 0);
    // Another one of its name begins anew, and knows nothing of the cost but what is heard now.
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.measure(&pools.full_name("gpus"), 1.0);
    pools.wait_for_ready("gpus", 3);
    assert_eq!(pools.workers_asked_for(), 3);
}
