//! Several schedulers, of which one acts.

use super::{assert_one_job_for_three, three_are_needed};
use framefleet_tests::cluster::api_proxy::ApiCall;
use framefleet_tests::cluster::{Access, ApiProxy};
use framefleet_tests::scheduler::traffic::{SEGMENTS_FOR_THREE, Traffic};
use framefleet_tests::{Broker, Pools, wait};
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::json;
use std::time::{Duration, Instant};

/// The lease, and what the other one needs to see that it has run out.
const TAKEN_OVER: Duration = Duration::from_secs(25);

/// A way to the API server of which all is known that somebody asked.
fn watched(pools: &Pools<'_>) -> (ApiProxy, Access) {
    let proxy = ApiProxy::start(pools.plane());
    let access = proxy.access(&pools.access());
    (proxy, access)
}

fn writes(proxy: &ApiProxy) -> Vec<ApiCall> {
    proxy.calls().into_iter().filter(|call| call.method != "GET").collect()
}

fn holder(pools: &Pools<'_>) -> Option<String> {
    pools.objects::<Lease>().get("framefleet-scheduler")?.spec?.holder_identity
}

#[test]
fn a_second_scheduler_writes_nothing_until_the_first_has_ended() {
    let (pools, traffic) = three_are_needed();
    let mut first = pools.start_scheduler();
    first.wait_until_it_leads();
    let (proxy, access) = watched(&pools);
    let second = pools.start_scheduler_as(&access);
    pools.wait_for_ready("gpus", 3);
    wait::calmly("the second watches too", || second.ask("/readyz").0 == 200);
    wait::calmly("it has looked at the lease several times", || proxy.count("GET", "/leases/") >= 3);
    assert_eq!(writes(&proxy).len(), 0, "{:?}", writes(&proxy));
    assert!(!second.leads());
    assert_one_job_for_three(&pools);

    // It gives the lease back, so that nobody waits for its end.
    first.terminate();
    let begun = Instant::now();
    second.wait_until_it_leads();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    traffic.segments("second", SEGMENTS_FOR_THREE);
    pools.change("gpus", json!({"minWorkers": 5}));
    pools.wait_for_ready("gpus", 5);
    assert_eq!(pools.workers_asked_for(), 5);
}

#[test]
fn a_leader_that_is_killed_in_the_middle_of_a_start_is_followed_by_another_one() {
    const WORKERS: u32 = 12;
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.add_nodes(2);
    // Each of these has a Job of its own, one made after the other.
    pools.usual_pool("gpus", &traffic, json!({"minWorkers": WORKERS, "maxWorkers": WORKERS}));
    let mut first = pools.start_scheduler();
    first.wait_until_it_leads();
    let second = pools.start_scheduler();
    wait::until("the first begins", || !pools.jobs().is_empty());
    first.kill();
    let (begun, made) = (Instant::now(), pools.jobs().len());
    second.wait_until_it_leads();
    assert!(begun.elapsed() < TAKEN_OVER, "{:?}", begun.elapsed());
    pools.wait_for_ready("gpus", WORKERS);
    second.wait_for_cycles(4);
    assert!((1..WORKERS as usize).contains(&made), "it was killed in the middle of {WORKERS}: {made}");
    assert_eq!((pools.workers_asked_for(), pools.jobs().len()), (WORKERS as i32, WORKERS as usize));
    assert_eq!(pools.status("gpus").last_job, WORKERS);
}

#[test]
fn a_leader_that_stood_still_writes_nothing_when_it_goes_on() {
    let (pools, traffic) = three_are_needed();
    let (proxy, access) = watched(&pools);
    let first = pools.start_scheduler_as(&access);
    pools.wait_for_ready("gpus", 3);
    let led = holder(&pools);
    first.stop();
    let second = pools.start_scheduler();
    second.wait_until_it_leads();
    assert_ne!(holder(&pools), led);
    // Something that the first one would do if it thought that it leads, and that takes the second one a while.
    proxy.forget_calls();
    pools.change("gpus", json!({"minWorkers": 5}));
    traffic.segments("second", SEGMENTS_FOR_THREE);
    first.resume();
    wait::calmly("the first sees that it leads no more", || !first.leads());
    pools.wait_for_ready("gpus", 5);
    wait::calmly("it has looked at the lease several times", || proxy.count("GET", "/leases/") >= 3);
    assert_eq!(writes(&proxy).len(), 0, "{:?}", writes(&proxy));
    assert_eq!(pools.workers_asked_for(), 5);
    assert_ne!(holder(&pools), led);
}
