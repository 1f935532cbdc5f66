//! What the scheduler is not told, or is told wrongly.

use super::{assert_one_job_for_three, three_are_needed};
use framefleet_scheduler::pool::WorkerPool;
use framefleet_tests::scheduler::SECRET;
use framefleet_tests::scheduler::traffic::{PARTITIONS, SEGMENTS_FOR_THREE, Traffic};
use framefleet_tests::{Broker, Pools, wait};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Event, Secret};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::ResourceExt;
use serde_json::json;
use std::time::Duration;

#[test]
fn a_secret_is_looked_for_until_it_is_there_and_whole() {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.add_nodes(1);
    pools.usual_pool("gpus", &traffic, json!({}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let _scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("gpus", "KafkaAvailable", "SecretMissing");
    assert!(!said.is_so && said.message.contains(SECRET) && said.message.contains(pools.namespace()), "{said:?}");
    assert_eq!(pools.condition("gpus", "Ready").unwrap(), said, "it is what to look at first");
    let is_told = || {
        let events: Vec<Event> = pools.objects().list();
        events.iter().any(|event| event.reason.as_deref() == Some("SecretMissing"))
    };
    wait::calmly("an Event tells of it", is_told);
    pools.objects::<Secret>().create(&json!({"metadata": {"name": SECRET}, "stringData": {"BROKERS": "here:9092"}}));
    let said = pools.wait_for_reason("gpus", "Ready", "SecretIncomplete");
    assert!(!said.is_so && said.message.contains("FRAMEFLEET_BROKERS"), "{said:?}");
    assert_eq!(pools.jobs(), []);
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.wait_for_ready("gpus", 3);
    assert_one_job_for_three(&pools);
    assert!(pools.wait_for_reason("gpus", "KafkaAvailable", "Answers").is_so);
}

#[test]
fn a_secret_that_is_changed_counts_within_a_minute() {
    let (pools, _traffic) = three_are_needed();
    pools.kafka_is_at("127.0.0.1:9");
    let _scheduler = pools.start_scheduler();
    assert!(!pools.wait_for_reason("gpus", "KafkaAvailable", "BrokerUnreachable").is_so);
    pools.kafka_is_at(&Broker::shared().bootstrap());
    let is_heard = || pools.condition("gpus", "KafkaAvailable").is_some_and(|said| said.is_so);
    wait::within(Duration::from_secs(80), "the broker of the changed Secret answers", is_heard);
    pools.wait_for_ready("gpus", 3);
    assert_one_job_for_three(&pools);
}

#[test]
fn a_secret_that_the_scheduler_may_not_read_keeps_only_its_own_pool_from_workers() {
    let (pools, traffic) = three_are_needed();
    let other = json!({"secretName": "other-kafka", "prefix": traffic.topics().prefix()});
    let high = json!([{"name": "high"}]);
    pools.usual_pool("others", &traffic, json!({"kafka": other, "queues": high}));
    traffic.segments_in("high", "second", 1);
    let brokers = json!({"FRAMEFLEET_BROKERS": Broker::shared().bootstrap()});
    pools.objects::<Secret>().create(&json!({"metadata": {"name": "other-kafka"}, "stringData": brokers}));
    let _scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("others", "Ready", "SecretForbidden");
    for words in ["other-kafka", pools.namespace(), "a Role must let the scheduler get it"] {
        assert!(!said.is_so && said.message.contains(words), "{said:?}");
    }
    pools.wait_for_ready("gpus", 3);
    assert_one_job_for_three(&pools);
    let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["other-kafka"], "verbs": ["get"]});
    pools.objects::<Role>().create(&json!({"metadata": {"name": "other-kafka"}, "rules": [rule]}));
    pools.objects::<RoleBinding>().create(&json!({
        "metadata": {"name": "other-kafka"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "other-kafka"},
        "subjects": [{"kind": "ServiceAccount", "name": "framefleet-scheduler", "namespace": pools.namespace()}],
    }));
    pools.wait_for_ready("others", 1);
}

#[test]
fn while_the_broker_is_gone_nobody_is_started_or_stopped() {
    let mut broker = Broker::start();
    let (pools, traffic) = (Pools::shared(), Traffic::on(&broker));
    pools.kafka_is_at(&broker.bootstrap());
    pools.add_nodes(1);
    let queue = |name: &str| json!([{ "name": name }]);
    pools.usual_pool("gpus", &traffic, json!({"queues": queue("normal")}));
    let steady = json!({"queues": queue("high"), "runAs": "Deployment"});
    pools.usual_pool("steady", &traffic, steady);
    traffic.segments("first", SEGMENTS_FOR_THREE);
    traffic.segments_in("high", "second", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    pools.wait_for_ready("steady", 3);
    let workers = pools.pod_uids();
    let assert_nothing_changed = || {
        assert_eq!(pools.pod_uids(), workers);
        assert_one_job_for_three(&pools);
        let deployment = pools.objects::<Deployment>().get("steady").unwrap();
        assert_eq!(deployment.spec.unwrap().replicas, Some(3));
    };
    broker.stop();
    for pool in ["gpus", "steady"] {
        let said = pools.wait_for_reason(pool, "KafkaAvailable", "BrokerUnreachable");
        assert!(!said.is_so && said.message.contains("no answer about"), "{said:?}");
        assert_eq!(pools.wait_for_reason(pool, "Ready", "BrokerUnreachable").message, said.message);
    }
    scheduler.wait_for_cycles(4);
    assert_nothing_changed();
    broker.kill();
    pools.change("gpus", json!({"minWorkers": 4}));
    pools.change("steady", json!({"minWorkers": 4}));
    scheduler.wait_for_cycles(4);
    assert_nothing_changed();
    broker.restart();
    for pool in ["gpus", "steady"] {
        assert!(pools.wait_for_reason(pool, "KafkaAvailable", "Answers").is_so);
        pools.wait_for_ready(pool, 4);
    }
    assert!(pools.pod_uids().is_superset(&workers), "all of them go on");
}

#[test]
fn topics_that_are_missing_are_named_until_they_are_made() {
    let (pools, traffic) = (Pools::shared(), Traffic::without_topics(Broker::shared()));
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.add_nodes(1);
    pools.usual_pool("gpus", &traffic, json!({}));
    let _scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("gpus", "KafkaAvailable", "TopicsMissing");
    for words in [&traffic.topics().workers(), "`framefleet topics apply`"] {
        assert!(!said.is_so && said.message.contains(words), "{said:?}");
    }
    traffic.apply_topics();
    assert!(pools.wait_for_reason("gpus", "KafkaAvailable", "Answers").is_so);
    traffic.segments("first", SEGMENTS_FOR_THREE);
    pools.wait_for_ready("gpus", 3);
    assert_eq!(pools.workers_asked_for(), 3);
}

#[test]
fn a_queue_whose_topic_is_missing_keeps_only_its_own_pool_from_workers() {
    let (pools, traffic) = three_are_needed();
    pools.usual_pool("nightly", &traffic, json!({"queues": [{"name": "nightly"}]}));
    let _scheduler = pools.start_scheduler();
    let said = pools.wait_for_reason("nightly", "Ready", "TopicsMissing");
    assert!(!said.is_so && said.message.contains(&traffic.topics().segments("nightly")), "{said:?}");
    pools.wait_for_ready("gpus", 3);
    for type_ in ["Ready", "KafkaAvailable"] {
        let said = pools.condition("gpus", type_).unwrap();
        assert!(said.is_so, "{type_}: {said:?}");
    }
}

#[test]
fn what_a_group_has_committed_may_be_impossible_or_gone() {
    let (pools, traffic) = (Pools::shared(), Traffic::shared());
    pools.kafka_is_at(&Broker::shared().bootstrap());
    pools.add_nodes(1);
    // One that would shrink at once, if what waits were believed.
    pools.usual_pool("gpus", &traffic, json!({"runAs": "Deployment", "stabilization": "0s"}));
    traffic.segments("first", SEGMENTS_FOR_THREE);
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    let workers = pools.pod_uids();
    let all_are_idle = || {
        for pod in pools.pods() {
            traffic.heartbeat(&pools.full_name("gpus"), &pod.name_any(), 0);
        }
    };
    let waiting = || scheduler.metric("framefleet_pool_waiting_worker_seconds", &pools.full_name("gpus"));

    traffic.commit("normal", &[(0, 500)]);
    let said = pools.wait_for_reason("gpus", "KafkaAvailable", "OffsetsAhead");
    assert!(!said.is_so && said.message.contains("offset 500 of partition 0"), "{said:?}");
    traffic.end("first");
    for _ in 0..4 {
        all_are_idle();
        scheduler.wait_for_cycles(1);
    }
    assert_eq!(pools.pod_uids(), workers);

    traffic.segments("second", SEGMENTS_FOR_THREE);
    pools.change("gpus", json!({"minWorkers": 3}));
    traffic.delete_group("normal");
    assert!(pools.wait_for_reason("gpus", "KafkaAvailable", "Answers").is_so);
    wait::calmly("all of it waits", || waiting() == 1000);
    let one_of_each: Vec<(i32, i64)> = (0..PARTITIONS as i32).map(|partition| (partition, 1)).collect();
    traffic.commit("normal", &one_of_each);
    wait::calmly("what is finished does not wait", || (0..1000).contains(&waiting()));
    traffic.delete_group("normal");
    wait::calmly("all of it waits again", || waiting() == 1000);
    assert_eq!(pools.pod_uids(), workers);
    // What is known again is believed.
    pools.change("gpus", json!({"minWorkers": 0}));
    traffic.end("second");
    wait::calmly("those that are idle go", || {
        all_are_idle();
        pools.pods().is_empty()
    });
}

#[test]
fn heartbeats_that_make_no_sense_change_nothing() {
    let (pools, traffic) = three_are_needed();
    let pool = pools.full_name("gpus");
    let model = Traffic::model();
    for (number, value) in [&b"{"[..], b"null", b"[1,2]", b"\xff\xfe", br#"{"version":1}"#].into_iter().enumerate() {
        traffic.say(&traffic.topics().workers(), &format!("broken-{number}"), value);
    }
    for (number, fields) in [
        json!({"sent": "2999-01-01T00:00:00Z", "started": "2999-01-01T00:00:00Z", "interval_s": -5.0}),
        json!({"sent": "yesterday", "version": 99, "state": "dancing", "roles": ["juggle"], "later": true}),
        json!({"busy_seconds_per_frame": {model: -1.0}}),
        json!({"busy_seconds_per_frame": {model: 1e12}}),
        json!({"busy_seconds_per_frame": {model: 1.0}, "threads": 0}),
        json!({"pool": "nobody/knows", "busy_seconds_per_frame": {model: 1e5}}),
        json!({"in_flight": [{"job_id": "first", "step": "0", "frames_done": u64::MAX, "frames": 1}]}),
        json!({"in_flight": [{"job_id": "unheard-of", "step": "-1"}, {"job_id": "../first", "step": ""}]}),
    ]
    .iter()
    .enumerate()
    {
        traffic.heartbeat_with(&pool, &format!("pod-{number}"), fields);
    }
    let scheduler = pools.start_scheduler();
    pools.wait_for_ready("gpus", 3);
    scheduler.wait_for_cycles(4);
    assert_one_job_for_three(&pools);
    let status = pools.objects::<WorkerPool>().get("gpus").unwrap().status.unwrap();
    let costs: Vec<(&str, f64)> = status.models.iter().map(|cost| (cost.model.as_str(), cost.worker_seconds)).collect();
    assert_eq!(costs, [(model, 1.0)]);
    for type_ in ["Ready", "KafkaAvailable"] {
        let said = pools.condition("gpus", type_).unwrap();
        assert!(said.is_so, "{type_}: {said:?}");
    }
}
