//! What waits for pools, and what their workers say of themselves: real messages on a real broker, of which nobody knows that
//! no worker sent them.

use crate::kafka::Broker;
use crate::repository;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::message::segment_task::{FRAMES_HEADER, MODEL_HEADER, SegmentTask};
use framefleet_contract::message::to_json;
use framefleet_contract::request::ModelRef;
use framefleet_queue::{Connection, Outgoing, Publisher, Topics};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// The topics of a fleet that has no workers but those of which is told here.
#[derive(Debug)]
pub struct Traffic {
    connection: Connection,
    publisher: Publisher,
}

/// Of each queue: no more workers than these get work at once.
pub const PARTITIONS: u32 = 12;
/// Of each segment.
pub const FRAMES: u64 = 100;
/// A pool with a cold start of some seconds and a target of ten minutes needs three workers for so many segments, within a
/// minute and a half, where a frame costs a second.
pub const SEGMENTS_FOR_THREE: u32 = 10;

impl Traffic {
    /// On the broker that all tests share.
    pub fn shared() -> Self {
        Self::on(Broker::shared())
    }

    pub fn on(broker: &Broker) -> Self {
        let traffic = Self::without_topics(broker);
        traffic.apply_topics();
        traffic
    }

    /// With a prefix that no other has.
    pub fn without_topics(broker: &Broker) -> Self {
        static FLEETS: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("pools-{}-{}", std::process::id(), FLEETS.fetch_add(1, Ordering::Relaxed));
        let connection = Connection::new(&broker.bootstrap(), &prefix, BTreeMap::new()).unwrap();
        Self { publisher: Publisher::new(&connection).unwrap(), connection }
    }

    /// As whoever sets up a fleet does.
    pub fn apply_topics(&self) {
        let mut apply = Command::new(repository::framefleet());
        apply.args(["topics", "apply", "--partitions", &PARTITIONS.to_string()]);
        apply.args(["--brokers", self.connection.brokers(), "--prefix", self.topics().prefix()]);
        let output = apply.output().unwrap();
        assert!(output.status.success(), "{apply:?}: {output:?}");
    }

    pub fn topics(&self) -> &Topics {
        self.connection.topics()
    }

    /// The model of all segments, by its sha256.
    pub fn model() -> &'static str {
        static MODEL: OnceLock<Sha256> = OnceLock::new();
        MODEL.get_or_init(|| Sha256::of(b"a model that nobody runs")).as_str()
    }

    /// So many segments of a job wait from now on. A scheduler that runs may see some of them before the others.
    pub fn segments(&self, job: &str, segments: u32) {
        self.segments_in("normal", job, segments);
    }

    pub fn segments_in(&self, queue: &str, job: &str, segments: u32) {
        let topic = self.topics().segments(queue);
        let job_id = JobId::new(job).unwrap();
        let begin = |segment: u32| {
            let model = ModelRef { name: "none".to_owned(), sha256: Sha256::of(b"a model that nobody runs") };
            let task = SegmentTask::new(job_id.clone(), segment, queue.to_owned(), model, FRAMES);
            let frames = FRAMES.to_string();
            let headers = [(FRAMES_HEADER, frames.as_bytes()), (MODEL_HEADER, Self::model().as_bytes())];
            let (partition, value) = ((segment % PARTITIONS) as i32, to_json(&task));
            let message =
                Outgoing { partition: Some(partition), headers: &headers, ..Outgoing::new(&topic, job, &value) };
            self.publisher.begin(message).unwrap()
        };
        let pending: Vec<_> = (0..segments).map(begin).collect();
        for pending in pending {
            pending.wait().unwrap();
        }
    }

    /// Its segments are nobody's work any more.
    pub fn end(&self, job: &str) {
        let outcome = json!({"version": 1, "job_id": job, "state": "failed", "files": []});
        self.say(&self.topics().outcomes(), job, outcome.to_string().as_bytes());
    }

    /// A worker of a pool, `namespace/name`, says what it has in hand, by its pod's name.
    pub fn heartbeat(&self, pool: &str, pod: &str, in_hand: u32) {
        self.heartbeat_with(pool, pod, &json!({ "in_flight": in_flight(in_hand) }));
    }

    /// A worker of a pool measured that a frame costs so many of its seconds.
    pub fn measure(&self, pool: &str, seconds: f64) {
        self.heartbeat_with(pool, "elsewhere", &json!({"busy_seconds_per_frame": {Self::model(): seconds}}));
    }

    /// A heartbeat that says what is usual but for some fields.
    pub fn heartbeat_with(&self, pool: &str, pod: &str, fields: &Value) {
        let mut beat = json!({
            "version": 1, "worker_id": pod, "host": pod, "pool": pool, "program": "framefleet 0.0", "state": "ready",
            "roles": ["detect"], "queues": {"normal": 1}, "device": "cuda", "slots": 2, "threads": 1,
            "started": "2026-01-01T00:00:00Z", "sent": "2026-01-01T00:00:00Z", "interval_s": 3.0, "in_flight": []
        });
        beat.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.say(&self.topics().workers(), pod, beat.to_string().as_bytes());
    }

    pub fn say(&self, topic: &str, key: &str, value: &[u8]) {
        self.publisher.send(Outgoing::new(topic, key, value)).unwrap();
    }

    /// As the group of a queue, whatever the queue holds.
    pub fn commit(&self, queue: &str, offsets: &[(i32, i64)]) {
        let topic = self.topics().segments(queue);
        let mut config = self.client();
        config.set("group.id", Topics::group(&topic));
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(&topic, *partition, Offset::Offset(*offset)).unwrap();
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    /// What the group of a queue has committed is gone.
    pub fn delete_group(&self, queue: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topic = self.topics().segments(queue);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let deleted = runtime.block_on(admin.delete_groups(&[Topics::group(&topic).as_str()], &AdminOptions::new()));
        assert!(deleted.unwrap().iter().all(Result::is_ok));
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.connection.brokers());
        config
    }
}

fn in_flight(pieces: u32) -> Value {
    (0..pieces).map(|piece| json!({"job_id": "in-hand", "step": piece.to_string(), "frames": FRAMES})).collect()
}
