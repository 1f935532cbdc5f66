//! What the scheduler knows of a fleet's work: from a real broker, and real segments.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::submission::Submission;
use framefleet_contract::message::to_json;
use framefleet_contract::outcome::State;
use framefleet_queue::Topics;
use framefleet_queue::topics::DEFAULT_QUEUES;
use framefleet_scheduler::demand::{Follower, Lane, LaneDemand, Model, Snapshot};
use framefleet_tests::fleet::{PARTITIONS, submission};
use framefleet_tests::{Broker, Fleet, Footage, wait};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// After this an answer that was given is too old, with the time between two questions and that until one is given up.
const NOTICED: Duration = Duration::from_secs(20);

/// A thread of which nobody wants anything ends this soon, while the broker answers.
const SOON: Duration = Duration::from_secs(1);

fn follow(fleet: &Fleet) -> Follower {
    Follower::start(fleet.connection(), DEFAULT_QUEUES.map(str::to_owned)).unwrap()
}

/// Whether there is a thread that follows it: they are called by the ends of the prefixes.
fn is_followed(fleet: &Fleet) -> bool {
    let prefix = fleet.topics().prefix();
    let name = format!("demand {}", &prefix[prefix.len() - 8..]);
    let threads = fs::read_dir("/proc/self/task").unwrap();
    // Whoever ends meanwhile has no name any more.
    threads.flatten().any(|thread| fs::read_to_string(thread.path().join("comm")).is_ok_and(|it| it.trim() == name))
}

fn snapshot(follower: &Follower) -> Snapshot {
    follower.snapshot(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64())
}

fn normal() -> Lane {
    Lane::Detect("normal".to_owned())
}

fn lane(follower: &Follower, lane: &Lane) -> LaneDemand {
    snapshot(follower).demand.lanes[lane].clone()
}

/// Units and messages that wait, where that is known.
fn waiting(follower: &Follower, of: &Lane) -> Option<(f64, u32)> {
    let demand = lane(follower, of);
    let sum = |(units, items), work: &framefleet_scheduler::demand::Work| (units + work.units, items + work.items);
    demand.unknown.is_none().then(|| demand.waiting.iter().fold((0.0, 0), sum))
}

fn wait_until_known(follower: &Follower) {
    wait::calmly("all is known", || snapshot(follower).troubles.is_empty());
}

fn wait_for(follower: &Follower, of: &Lane, expected: (f64, u32)) {
    wait::calmly(&format!("{of}: {expected:?} wait"), || waiting(follower, of) == Some(expected));
}

fn reason(follower: &Follower) -> (&'static str, String) {
    let trouble = snapshot(follower).troubles.into_values().min();
    trouble.map_or(("", String::new()), |trouble| (trouble.reason(), trouble.to_string()))
}

/// Has jobs planned by a worker that does nothing else.
fn plan(fleet: &Fleet, jobs: &[&str]) -> Vec<JobId> {
    let ids: Vec<JobId> = jobs.iter().map(|job| fleet.submit(job, Footage::short())).collect();
    let mut planner = fleet.worker().with(&["--roles", "plan"]).started();
    for id in &ids {
        wait::calmly("it is planned", || fleet.folder(id).plan().is_ok_and(|plan| plan.is_some()));
    }
    let segments = Footage::short().segments * jobs.len();
    let topic = [fleet.topics().segments("normal")];
    wait::calmly("its segments wait", || fleet.records(&topic).len() == segments);
    // It commits what it has finished.
    planner.terminate();
    assert_eq!(planner.wait_for_end(), Some(0));
    ids
}

fn frames(fleet: &Fleet, id: &JobId) -> f64 {
    let plan = fleet.folder(id).plan().unwrap().unwrap();
    plan.segments.iter().map(|segment| (segment.end - segment.start) as f64).sum()
}

#[test]
fn the_frames_of_planned_segments_wait_until_somebody_has_published_them() {
    let fleet = Fleet::shared();
    let due = submission("due", Footage::short());
    let due = Submission { deadline: Some("2035-01-01T00:00:00Z".to_owned()), queue: "high".to_owned(), ..due };
    fleet.client().submit(&due).unwrap().wait().unwrap();
    let follower = follow(&fleet);
    wait_for(&follower, &Lane::Plan, (1.0, 1));
    assert!(is_followed(&fleet));
    let ids = plan(&fleet, &["one", "other", "third"]);
    let (segments, of_one) = (Footage::short().segments as u32, frames(&fleet, &ids[0]));
    wait_for(&follower, &normal(), (3.0 * of_one, 3 * segments));
    wait_for(&follower, &Lane::Plan, (0.0, 0));
    let high = Lane::Detect("high".to_owned());
    wait_for(&follower, &high, (of_one, segments));
    let high = lane(&follower, &high);
    assert!(high.waiting.iter().all(|work| work.deadline == Some(2_051_222_400.0)), "{high:?}");
    assert_eq!(high.partitions, PARTITIONS);
    let model = fleet.folder(&ids[0]).plan().unwrap().unwrap().model.sha256;
    for work in lane(&follower, &normal()).waiting {
        assert_eq!(work.model.as_str(), model.as_str());
        assert!((1 << 16..1 << 30).contains(&work.memory.unwrap()), "{work:?}");
    }

    // Whatever makes a message nobody's work, and a follower that comes later knows the same.
    let finish = Finish::of_segment(ids[0].clone(), 0);
    fleet.send(&fleet.topics().finish(), Some(ids[0].as_str()), &to_json(&finish));
    let first = fleet.folder(&ids[0]).plan().unwrap().unwrap().segments[0];
    let left = of_one - (first.end - first.start) as f64;
    wait_for(&follower, &normal(), (2.0 * of_one + left, 3 * segments - 1));
    fleet.client().cancel(&ids[1]).unwrap();
    wait_for(&follower, &normal(), (of_one + left, 2 * segments - 1));
    wait_for(&follower, &Lane::Plan, (1.0, 1));
    let outcome = format!(r#"{{"version":1,"job_id":"{}","state":"failed","files":[]}}"#, ids[2]);
    fleet.send(&fleet.topics().outcomes(), Some(ids[2].as_str()), outcome.as_bytes());
    wait_for(&follower, &normal(), (left, segments - 1));
    drop(follower);
    wait::within(SOON, "its thread ends", || !is_followed(&fleet));
    let follower = follow(&fleet);
    wait_until_known(&follower);
    assert_eq!(waiting(&follower, &normal()), Some((left, segments - 1)));

    // A pool's worker does it.
    let environment = [("FRAMEFLEET_POOL", "fleet/gpu"), ("FRAMEFLEET_HOST", "gpu-7-0-x2x")];
    let _worker = fleet.worker().envs(environment).started();
    wait::calmly("the worker is known", || {
        let workers = snapshot(&follower).workers;
        workers.iter().any(|w| w.pool.as_deref() == Some("fleet/gpu") && w.host == "gpu-7-0-x2x")
    });
    fleet.wait_for_outcomes([&ids[0], &ids[1], &due.job_id]);
    assert_eq!(fleet.outcome(&ids[0]).unwrap().state, State::Succeeded);
    for of in [normal(), Lane::Detect("high".to_owned()), Lane::Plan, Lane::Finish] {
        wait_for(&follower, &of, (0.0, 0));
    }
    let of_pool = || snapshot(&follower).costs.of(Some("fleet/gpu")).get(&Model::new(model.as_str())).copied();
    wait::calmly("what a frame costs is known", || of_pool().is_some());
    let cost = of_pool().unwrap();
    assert!(cost.workers == 1 && (1e-6..1.0).contains(&cost.worker_seconds), "{cost:?}");
}

#[test]
fn while_the_broker_says_nothing_nothing_is_known() {
    let mut broker = Broker::start();
    let fleet = Fleet::on(&broker);
    let follower = follow(&fleet);
    wait_until_known(&follower);
    broker.stop();
    wait::within(NOTICED, "it is noticed", || reason(&follower).0 == "BrokerUnreachable");
    let unknown = lane(&follower, &normal()).unknown.unwrap();
    assert!(unknown.contains("no answer about") && unknown.contains(" s"), "{unknown}");
    broker.resume();
    wait_until_known(&follower);
    broker.kill();
    wait::within(NOTICED, "it is noticed", || reason(&follower).0 == "BrokerUnreachable");
    broker.restart();
    wait_until_known(&follower);
    fleet.send(&fleet.topics().jobs(), Some("a"), b"{}");
    wait_for(&follower, &Lane::Plan, (1.0, 1));
    // Nobody waits for its thread.
    broker.stop();
    let begun = Instant::now();
    drop(follower);
    assert!(begun.elapsed() < Duration::from_millis(100));
    broker.resume();
}

#[test]
fn offsets_that_cannot_be_are_told_of_until_they_are_others() {
    let fleet = Fleet::shared();
    let topic = fleet.topics().segments("normal");
    plan(&fleet, &["planned"]);
    let follower = follow(&fleet);
    wait_until_known(&follower);
    let all = waiting(&follower, &normal()).unwrap();
    assert_eq!(all.1, Footage::short().segments as u32);
    commit(&fleet, &topic, 0, 500);
    wait::calmly("it is noticed", || reason(&follower).0 == "OffsetsAhead");
    let said = reason(&follower).1;
    assert!(said.contains(&topic) && said.contains("offset 500 of partition 0"), "{said}");
    assert!(lane(&follower, &normal()).unknown.is_some());
    assert_eq!(lane(&follower, &Lane::Plan).unknown, None, "the others are known");
    let another = follow(&fleet);
    wait::calmly("whoever comes later sees it too", || reason(&another).0 == "OffsetsAhead");
    wait::calmly("and knows the others", || waiting(&another, &Lane::Detect("high".to_owned())) == Some((0.0, 0)));
    commit(&fleet, &topic, 0, 0);
    for follower in [follower, another] {
        wait_for(&follower, &normal(), all);
    }
}

fn commit(fleet: &Fleet, topic: &str, partition: i32, offset: i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", fleet.connection().brokers()).set("group.id", Topics::group(topic));
    let consumer: BaseConsumer = config.create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
}

#[test]
fn topics_and_partitions_that_come_later_are_noticed() {
    let fleet = Fleet::shared();
    let queues = ["normal", "nightly"].map(str::to_owned);
    let follower = Follower::start(fleet.connection(), queues).unwrap();
    wait::calmly("a queue is missed", || reason(&follower).0 == "TopicsMissing");
    let (topic, said) = (fleet.topics().segments("nightly"), reason(&follower).1);
    assert!(said.contains(&topic) && said.contains("`framefleet topics apply`"), "{said}");
    wait::calmly("the others are known", || lane(&follower, &normal()).unknown.is_none());
    Broker::shared().create_topic(&topic, 2);
    wait_until_known(&follower);
    let nightly = Lane::Detect("nightly".to_owned());
    assert_eq!(lane(&follower, &nightly).partitions, 2);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", fleet.connection().brokers()).create().unwrap();
    let more = [NewPartitions::new(&topic, 5)];
    runtime.block_on(admin.create_partitions(&more, &AdminOptions::new())).unwrap();
    wait::calmly("more partitions are seen", || lane(&follower, &nightly).partitions == 5);
    plan(&fleet, &["planned"]);
    let segments: Vec<_> = fleet.records(&[fleet.topics().segments("normal")]);
    for (partition, record) in (0..5).zip(&segments) {
        let publisher = framefleet_queue::Publisher::new(fleet.connection()).unwrap();
        let message = framefleet_queue::Outgoing::new(&topic, "planned", record.value.as_deref().unwrap());
        publisher.send(framefleet_queue::Outgoing { partition: Some(partition), ..message }).unwrap();
    }
    wait::calmly("all partitions are read", || waiting(&follower, &nightly).is_some_and(|(_, items)| items == 5));

    // Made anew, it begins with its first offsets again.
    runtime.block_on(admin.delete_topics(&[&topic], &AdminOptions::new())).unwrap();
    wait::calmly("it is missed", || reason(&follower).0 == "TopicsMissing");
    wait::calmly("it is made anew", || {
        let options = AdminOptions::new();
        let replication = rdkafka::admin::TopicReplication::Fixed(1);
        let made = rdkafka::admin::NewTopic::new(&topic, 1, replication);
        runtime.block_on(admin.create_topics(&[made], &options)).unwrap()[0].is_ok()
    });
    wait_until_known(&follower);
    assert_eq!(waiting(&follower, &nightly), Some((0.0, 0)));
    fleet.send(&topic, Some("planned"), segments[0].value.as_deref().unwrap());
    wait::calmly("what comes to it is read", || waiting(&follower, &nightly).is_some_and(|(_, items)| items == 1));
}
