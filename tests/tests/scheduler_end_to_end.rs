//! The whole of it: real videos are submitted to a real broker, the scheduler has a real control plane make Jobs, real
//! workers detect on nodes that boot, and go, and the results are right.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_contract::message::submission::Submission;
use framefleet_tests::cluster::{ControlPlane, NodePool, NodePoolSetup, NodeSetup};
use framefleet_tests::fleet::Fleet;
use framefleet_tests::footage::Footage;
use framefleet_tests::oracle::Oracle;
use framefleet_tests::scheduler::worker_template;
use framefleet_tests::{Broker, Pools, repository, wait};
use serde_json::json;
use std::time::Duration;

/// Booting and work on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// That are open until three workers are ready. Of four worker-seconds each, so that three are worth their start.
const JOBS: usize = 12;

fn submit(fleet: &Fleet, id: &str) -> JobId {
    let mut submission = Submission::new(JobId::new(id).unwrap(), repository::street().to_str().unwrap());
    submission.model = Some("street".to_owned());
    fleet.client().submit(&submission).unwrap().wait().unwrap();
    submission.job_id
}

#[test]
fn a_pool_goes_from_nothing_to_three_and_back_and_the_results_are_right() {
    let plane = ControlPlane::shared();
    let pools = Pools::on(plane);
    let fleet = Fleet::on(Broker::shared());
    std::fs::copy(repository::root().join("models/catalog/street.onnx"), fleet.scratch().join("models/street.onnx"))
        .unwrap();
    let kafka = json!({"secretName": "framefleet-kafka", "prefix": fleet.topics().prefix()});
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.pool(
        "planners",
        json!({
            "runAs": "Deployment", "gpu": null, "roles": ["plan", "finish"], "minWorkers": 1, "maxWorkers": 2,
            "kafka": kafka, "template": worker_template(&fleet, "1")
        }),
    );
    pools.pool(
        "gpus",
        json!({
            "maxWorkers": 3, "idleExit": "8s", "drainWithin": "10s", "coldStart": "2s", "slots": 1,
            "kafka": kafka, "template": worker_template(&fleet, "1")
        }),
    );
    let node = |name: &str| {
        let log = std::env::var("FRAMEFLEET_LOG").unwrap_or_else(|_| "info".to_owned());
        NodeSetup::of(pools.namespace(), name)
            .entrypoint("framefleet", repository::framefleet())
            .env("FRAMEFLEET_LOG", &log)
    };
    let _steady = framefleet_tests::cluster::Node::register(plane, node("steady"));
    let booting = NodePool::start(
        plane,
        NodePoolSetup { node: node("gpu").gpus(1), boot: Duration::from_secs(2), max: 3, idle: Duration::from_secs(5) },
    );
    let _scheduler = pools.start_scheduler();
    wait::within(PATIENCE, "the planners are ready", || pools.status("planners").workers.ready == 1);
    assert_eq!(pools.status("gpus").workers.desired, 0, "nothing waits");

    let mut ids: Vec<JobId> = Vec::new();
    wait::within(PATIENCE, "three workers are ready at once", || {
        // However long the third one takes to start, the work is not done before.
        let open = ids.iter().filter(|id| fleet.outcome(id).is_none()).count();
        for _ in open..JOBS {
            ids.push(submit(&fleet, &format!("street-{}", ids.len())));
        }
        pools.status("gpus").workers.ready == 3
    });
    wait::within(PATIENCE, "all jobs have an outcome", || ids.iter().all(|id| fleet.outcome(id).is_some()));
    Oracle::of(&fleet).succeeded(&ids, Footage::street()).check();
    wait::within(PATIENCE, "the pool is empty again, and its nodes are gone", || {
        let workers = pools.status("gpus").workers;
        (workers.ready, workers.pending, booting.nodes()) == (0, 0, 0)
    });
    let status = pools.status("gpus");
    assert!(status.models.iter().any(|model| model.worker_seconds > 0.0), "the cost was measured: {status:?}");
    assert!(status.cold_start.is_some_and(|start| start.samples >= 3), "{status:?}");
    assert!(status.decisions.iter().any(|decision| decision.what.contains("worker-s waiting")), "{status:?}");
    let failed =
        pools.jobs().into_iter().filter(|job| job.status.as_ref().is_some_and(|status| status.failed.is_some()));
    assert_eq!(failed.count(), 0, "no worker was killed");
}
