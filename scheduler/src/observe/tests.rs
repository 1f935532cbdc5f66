#![expect(clippy::needless_pass_by_value, reason = "calls with `json!` read better without references")]

use super::*;
use serde_json::{Value, json};

const CREATED: &str = "2026-01-01T00:00:00Z";

fn created() -> f64 {
    seconds::since_1970(&serde_json::from_value(json!(CREATED)).unwrap())
}

fn pool(run_as: &str) -> WorkerPool {
    let spec = json!({
        "runAs": run_as, "maxWorkers": 9, "kafka": {"secretName": "kafka"},
        "template": {"spec": {"containers": [{"name": "worker", "image": "framefleet"}]}}
    });
    let mut pool = WorkerPool::new("l4", serde_json::from_value(spec).unwrap());
    pool.metadata.namespace = Some("video".to_owned());
    pool
}

fn job(number: u32, workers: u32, status: Value) -> Arc<Job> {
    job_that(number, workers, "false", status)
}

fn job_that(number: u32, workers: u32, stays: &str, status: Value) -> Arc<Job> {
    let job = json!({
        "metadata": {"name": format!("l4-{number}"), "namespace": "video", "creationTimestamp": CREATED,
                     "labels": {POOL: "l4", STAYS: stays}},
        "spec": {"completions": workers, "template": {}}, "status": status
    });
    Arc::new(serde_json::from_value(job).unwrap())
}

fn pod(name: &str, job: &str, status: Value) -> Arc<Pod> {
    let pod = json!({
        "metadata": {"name": name, "uid": name, "namespace": "video", "creationTimestamp": CREATED,
                     "labels": {POOL: "l4", "batch.kubernetes.io/job-name": job}},
        "status": status
    });
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn ready_after(seconds: u32) -> Value {
    let at = format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60);
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}],
        "containerStatuses": [{"name": "worker", "ready": true, "restartCount": 0, "image": "", "imageID": "",
                               "started": true, "state": {"running": {}}}]
    })
}

fn waiting(reason: &str) -> Value {
    json!({
        "phase": "Pending",
        "containerStatuses": [{"name": "worker", "ready": false, "restartCount": 0, "image": "", "imageID": "",
                               "state": {"waiting": {"reason": reason, "message": "why"}}}]
    })
}

fn heartbeat(host: &str, pieces: usize) -> Heartbeat {
    let in_flight: Vec<Value> = (0..pieces).map(|n| json!({"job_id": "j", "step": n.to_string()})).collect();
    let beat = json!({
        "version": 1, "worker_id": host, "host": host, "program": "p", "state": "ready", "roles": ["detect"],
        "device": "cpu", "slots": 2, "threads": 2, "started": "", "sent": "", "interval_s": 3.0, "in_flight": in_flight
    });
    serde_json::from_value(beat).unwrap()
}

fn seen(pool: &WorkerPool, jobs: Vec<Arc<Job>>, pods: Vec<Arc<Pod>>, workers: &[Heartbeat], after: f64) -> State {
    let workers: Vec<&Heartbeat> = workers.iter().collect();
    let objects = Objects { jobs, deployments: Vec::new(), pods };
    state(pool, &objects, &workers, 60.0, created() + after)
}

#[test]
fn workers_are_ready_or_come_or_do_not_come() {
    let pods = vec![pod("a", "l4-3", ready_after(40)), pod("b", "l4-3", json!({"phase": "Pending"}))];
    let jobs = vec![job(3, 4, json!({"active": 2}))];
    let early = seen(&pool("Jobs"), jobs.clone(), pods.clone(), &[heartbeat("a", 2)], 100.0);
    assert_eq!((early.ready, early.coming, early.stuck, early.busy), (1, 3, 0, 1), "two pods, and two to be made");
    let missing = MissingPods { job: "l4-3".to_owned(), count: 2 };
    assert_eq!(early.missing_pods, Some(missing));
    let mut refused = early.clone();
    refused.refuse(2, "exceeded quota");
    assert_eq!((refused.coming, refused.stuck), (1, 2));
    assert_eq!(early.starts, BTreeMap::from([("a".to_owned(), Start::Took(40.0)), ("b".to_owned(), Start::NotYet)]));
    assert!((early.coming_for - 60.0).abs() < 1e-6, "a cold start at most, and of the one that has a pod");
    let late = seen(&pool("Jobs"), jobs, pods, &[], 700.0);
    assert_eq!((late.ready, late.coming, late.stuck), (1, 0, 3));
}

#[test]
fn a_pod_that_an_old_job_lacks_has_just_left_or_is_made_anew() {
    let jobs = vec![job(3, 2, json!({"active": 1, "ready": 1}))];
    let state = seen(&pool("Jobs"), jobs, vec![pod("a", "l4-3", ready_after(40))], &[], 9000.0);
    assert_eq!((state.ready, state.coming, state.stuck), (1, 1, 0));
    let foreign = vec![job(u32::MAX, 1, json!({}))];
    assert_eq!(seen(&pool("Jobs"), foreign, vec![], &[], 9.0).last_job, 0, "nobody made so many");
}

#[test]
fn workers_that_have_left_are_not_waited_for() {
    let ended = pod("a", "l4-3", json!({"phase": "Succeeded"}));
    let jobs = vec![job(3, 5, json!({"succeeded": 2, "failedIndexes": "0,2-3"}))];
    assert_eq!(seen(&pool("Jobs"), jobs, vec![ended.clone()], &[], 9.0).coming, 0);
    let complete = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    assert_eq!(seen(&pool("Jobs"), vec![job(3, 5, complete)], vec![ended], &[], 9.0).coming, 0);
}

#[test]
fn a_job_is_not_begun_until_one_of_its_workers_ran() {
    let pending = pod("a", "l4-3", json!({"phase": "Pending"}));
    let state = seen(&pool("Jobs"), vec![job(3, 2, json!({})), job(4, 1, json!({}))], vec![pending], &[], 9.0);
    let not_begun = |job: &str, workers| NotBegun { job: job.to_owned(), workers, is_outdated: false, stays: false };
    assert_eq!(state.not_begun, [not_begun("l4-3", 2), not_begun("l4-4", 1)]);
    assert_eq!(state.last_job, 4);
    let running = pod("a", "l4-3", ready_after(5));
    let state = seen(&pool("Jobs"), vec![job(3, 2, json!({"ready": 1}))], vec![running], &[], 9.0);
    assert!(state.not_begun.is_empty());
}

#[test]
fn a_job_of_another_template_is_outdated_and_what_it_failed_at_is_forgotten() {
    let of = |template: &str, number, status| {
        let mut job = Job::clone(&job(number, 1, status));
        job.metadata.annotations = Some(BTreeMap::from([(TEMPLATE.to_owned(), template.to_owned())]));
        Arc::new(job)
    };
    let now = template_mark(&pool("Jobs"), false).unwrap();
    let jobs = |template: &str| {
        let failed = json!({"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": CREATED}]});
        vec![of(template, 1, failed), of(template, 2, json!({}))]
    };
    let same = seen(&pool("Jobs"), jobs(&now), vec![], &[], 9.0);
    assert_eq!((same.failures.in_a_row, same.not_begun[0].is_outdated), (1, false));
    let changed = seen(&pool("Jobs"), jobs("another"), vec![], &[], 9.0);
    assert_eq!((changed.failures.in_a_row, changed.not_begun[0].is_outdated), (0, true));
}

#[test]
fn a_worker_of_the_minimum_that_never_began_is_not_waited_for() {
    let state = seen(&pool("Jobs"), vec![job_that(1, 1, "true", json!({}))], vec![], &[], 9.0);
    assert_eq!((state.staying, state.not_begun.len(), state.idle_and_staying.len()), (1, 1, 0));
    assert!(state.not_begun[0].stays);
}

#[test]
fn an_estimate_that_is_changed_counts_at_once() {
    let mut starts = Starts::new(&pool("Jobs"));
    let mut changed = pool("Jobs");
    changed.spec.cold_start = Some("7s".to_owned());
    starts.expect(&changed);
    assert_eq!(starts.cold_start(), ColdStart { seconds: 7.0, samples: 0 });
}

#[test]
fn a_container_that_cannot_start_is_not_counted_on_and_said() {
    for reason in ["ImagePullBackOff", "CreateContainerConfigError"] {
        let state = seen(&pool("Jobs"), vec![job(1, 1, json!({}))], vec![pod("a", "l4-1", waiting(reason))], &[], 9.0);
        assert_eq!((state.stuck, state.coming), (1, 0));
        assert!(matches!(state.trouble, Some(Trouble::CannotStart { reason: said, .. }) if said == reason));
    }
    let creating = seen(&pool("Jobs"), vec![], vec![pod("a", "l4-1", waiting("ContainerCreating"))], &[], 9.0);
    assert_eq!((creating.stuck, creating.coming, creating.trouble), (0, 1, None));
}

#[test]
fn failed_jobs_in_a_row_are_followed_by_longer_and_longer_pauses() {
    let failed = || json!({"conditions": [{"type": "Failed", "status": "True", "lastTransitionTime": CREATED}]});
    let not_before = |jobs| seen(&pool("Jobs"), jobs, vec![], &[], 9.0).failures.not_before().map(|at| at - created());
    assert_eq!(not_before(vec![job(1, 1, json!({}))]), None);
    assert_eq!(not_before(vec![job(1, 1, failed())]), Some(60.0));
    assert_eq!(not_before(vec![job(2, 1, failed()), job(1, 1, failed()), job(3, 1, failed())]), Some(240.0));
    assert_eq!(not_before((1..40).map(|n| job(n, 1, failed())).collect()), Some(900.0));
    assert_eq!(not_before(vec![job(1, 1, failed()), job(2, 1, json!({"succeeded": 1}))]), None);
}

#[test]
fn workers_of_the_minimum_are_known_and_whether_they_have_nothing_in_hand() {
    let jobs = vec![job_that(1, 1, "true", json!({"ready": 1})), job_that(2, 1, "true", json!({"ready": 1}))];
    let pods = vec![pod("a", "l4-1", ready_after(5)), pod("b", "l4-2", ready_after(5))];
    let state = seen(&pool("Jobs"), jobs, pods, &[heartbeat("a", 0), heartbeat("b", 1)], 9.0);
    assert_eq!((state.staying, state.idle_and_staying), (2, vec!["l4-1".to_owned()]));
}

#[test]
fn a_deployment_whose_pods_are_refused_does_not_come() {
    let deployment = |status: Value| {
        let made = json!({"metadata": {"name": "l4", "namespace": "video", "labels": {POOL: "l4"}},
                          "spec": {"replicas": 3, "selector": {}, "template": {}}, "status": status});
        vec![Arc::new(serde_json::from_value::<Deployment>(made).unwrap())]
    };
    let read = |deployments| {
        let objects = Objects { jobs: vec![], deployments, pods: vec![pod("a", "", ready_after(5))] };
        state(&pool("Deployment"), &objects, &[], 60.0, created() + 9.0)
    };
    let coming = read(deployment(json!({})));
    assert_eq!((coming.ready, coming.coming, coming.stuck, coming.replicas), (1, 2, 0, Some(3)));
    let refused = json!({"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]});
    let refused = read(deployment(refused));
    assert_eq!((refused.coming, refused.stuck), (0, 2));
    assert_eq!(refused.trouble, Some(Trouble::Refused("exceeded quota".to_owned())));
}

#[test]
fn the_cold_start_is_what_nine_in_ten_starts_do_not_exceed() {
    let mut starts = Starts::new(&pool("Jobs"));
    assert_eq!(starts.cold_start(), ColdStart { seconds: 30.0, samples: 0 });
    let of = |range: std::ops::Range<u32>| -> BTreeMap<String, Start> {
        range.map(|n| (n.to_string(), Start::Took(f64::from(n)))).collect()
    };
    starts.take(&BTreeMap::new());
    starts.take(&of(1..11));
    starts.take(&of(1..11));
    assert_eq!(starts.cold_start(), ColdStart { seconds: 9.0, samples: 10 });
    starts.take(&of(100..160));
    assert_eq!(starts.cold_start(), ColdStart { seconds: 154.0, samples: 50 });
}

#[test]
fn only_the_first_time_that_a_worker_is_ready_is_its_start() {
    let mut starts = Starts::new(&pool("Jobs"));
    let seen = |a: Start, b: Start| BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]);
    // One was ready before this program looked, and is not for a while; nobody knows for how long it took.
    starts.take(&seen(Start::Unknown, Start::NotYet));
    starts.take(&seen(Start::Took(9000.0), Start::Took(40.0)));
    assert_eq!(starts.cold_start(), ColdStart { seconds: 40.0, samples: 1 });
    starts.take(&seen(Start::Unknown, Start::Unknown));
    starts.take(&seen(Start::Took(9900.0), Start::Took(900.0)));
    assert_eq!(starts.cold_start(), ColdStart { seconds: 40.0, samples: 1 });
}

/// A pod whose container runs since its fifth second, and that is unready since the given one.
fn unready_since(second: u32, restarts: u32) -> Value {
    json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": format!("2026-01-01T00:00:{second:02}Z")}],
        "containerStatuses": [{"name": "worker", "ready": false, "restartCount": restarts, "image": "", "imageID": "",
                               "started": true, "state": {"running": {"startedAt": "2026-01-01T00:00:05Z"}}}]
    })
}

#[test]
fn a_pod_that_has_started_and_was_never_ready_is_still_on_its_way() {
    let start = |status| seen(&pool("Jobs"), vec![], vec![pod("a", "l4-1", status)], &[], 9.0).starts["a"];
    for at in [0, 5] {
        assert_eq!(start(unready_since(at, 0)), Start::NotYet, "unready since second {at}");
    }
    assert_eq!(start(unready_since(8, 0)), Start::Unknown, "it was ready until then");
    assert_eq!(start(unready_since(3, 1)), Start::Unknown, "it was started again");
}

#[test]
fn objects_are_told_apart_by_pool_and_namespace() {
    let mut other = Job::clone(&job(1, 1, json!({})));
    other.metadata.namespace = Some("else".to_owned());
    let objects = Objects { jobs: vec![job(1, 1, json!({})), Arc::new(other)], ..Objects::default() };
    let pools = by_pool(&objects);
    assert_eq!(pools.keys().collect::<Vec<_>>(), ["else/l4", "video/l4"]);
}
