//! A fleet of a test's own: topics on a real broker, a volume, a model directory, and workers that are real processes.

mod worker;

pub use worker::{SESSION, Worker, WorkerCall};

use crate::footage::{self, Footage};
use crate::kafka::Broker;
use crate::repository;
use crate::scratch::Scratch;
use crate::wait;
use framefleet_contract::identity::JobId;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::message::submission::Submission;
use framefleet_contract::outcome::Outcome;
use framefleet_contract::volume::Volume;
use framefleet_queue::client::{Client, DeadLetter};
use framefleet_queue::read::From;
use framefleet_queue::topics::DEFAULT_QUEUES;
use framefleet_queue::{Connection, Reader, Record, Topics};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Debug)]
pub struct Fleet {
    bootstrap: String,
    connection: Connection,
    client: Client,
    scratch: Scratch,
    /// Where the test sees the results, which workers may see elsewhere.
    results: PathBuf,
    workers: AtomicU32,
}

/// Of each queue: several for each worker of a test, and few to ask about.
pub const PARTITIONS: u32 = 4;
const SEND_PATIENCE: Duration = Duration::from_secs(10);
/// What a fleet does to a job in a test takes at most this long.
pub const PATIENCE: Duration = Duration::from_secs(150);

impl Fleet {
    /// On a broker that other tests use too.
    pub fn shared() -> Self {
        Self::on(Broker::shared())
    }

    /// With a prefix that no other has.
    pub fn on(broker: &Broker) -> Self {
        static FLEETS: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("fleet-{}-{}", std::process::id(), FLEETS.fetch_add(1, Ordering::Relaxed));
        let scratch = Scratch::new();
        fs::create_dir(scratch.join("models")).unwrap();
        fs::copy(repository::cells(), scratch.join("models/cells.onnx")).unwrap();
        let connection = Connection::new(&broker.bootstrap(), &prefix, BTreeMap::new()).unwrap();
        let fleet = Self {
            bootstrap: broker.bootstrap(),
            client: Client::new(connection.clone()).unwrap(),
            connection,
            results: scratch.join("results"),
            scratch,
            workers: AtomicU32::new(0),
        };
        fleet.apply_topics();
        fleet
    }

    /// Says where the test finds the results of workers that see another file system.
    pub fn see_results_at(&mut self, results: PathBuf) {
        self.results = results;
    }

    fn apply_topics(&self) {
        let mut apply = Command::new(repository::framefleet());
        apply.args(["topics", "apply", "--partitions", &PARTITIONS.to_string()]);
        apply.args(["--brokers", &self.bootstrap, "--prefix", self.topics().prefix()]);
        let output = apply.output().unwrap();
        assert!(output.status.success(), "{apply:?}: {output:?}");
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    pub fn topics(&self) -> &Topics {
        self.connection.topics()
    }

    /// All that was said on these topics.
    pub fn records(&self, topics: &[String]) -> Vec<Record> {
        let mut records = Vec::new();
        let mut reader = Reader::open(&self.connection, topics, From::Beginning).unwrap();
        let read = reader.read_all(Duration::from_secs(20), |record| {
            records.push(record);
            Ok(())
        });
        read.unwrap();
        records
    }

    /// Where the workers see the results.
    pub fn results_of_workers(&self) -> PathBuf {
        self.scratch.join("results")
    }

    pub fn results(&self) -> &Path {
        &self.results
    }

    pub fn folder(&self, id: &JobId) -> JobFolder {
        JobFolder::new(&Volume::assume(&self.results).unwrap(), id)
    }

    /// A worker to be started: of all roles, with one inference thread and two segments at once.
    pub fn worker(&self) -> WorkerCall {
        let number = self.workers.fetch_add(1, Ordering::Relaxed);
        WorkerCall::new(self, &self.bootstrap, number)
    }

    /// So many, when they have joined their groups.
    pub fn start_workers(&self, number: usize) -> Vec<Worker> {
        let mut workers: Vec<Worker> = (0..number).map(|_| self.worker().start()).collect();
        workers.iter_mut().for_each(Worker::wait_until_ready);
        workers
    }

    /// Gives the fleet a job, and says its id.
    pub fn submit(&self, id: &str, footage: &Footage) -> JobId {
        self.submit_to("normal", id, footage)
    }

    pub fn submit_to(&self, queue: &str, id: &str, footage: &Footage) -> JobId {
        let submission = Submission { queue: queue.to_owned(), ..submission(id, footage) };
        self.client.submit(&submission).unwrap().wait().unwrap();
        submission.job_id
    }

    /// Many, which are all sent before the first is acknowledged.
    pub fn submit_all(&self, queue: &str, ids: &[JobId], footage: &Footage) {
        let begin = |id: &JobId| {
            let submission = Submission { queue: queue.to_owned(), ..submission(id.as_str(), footage) };
            self.client.submit(&submission).unwrap()
        };
        let pending: Vec<_> = ids.iter().map(begin).collect();
        for pending in pending {
            pending.wait().unwrap();
        }
    }

    /// A message as nobody checks it beforehand.
    pub fn send(&self, topic: &str, key: Option<&str>, value: &[u8]) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("message.max.bytes", "1000000");
        let producer: FutureProducer = config.create().unwrap();
        let record = FutureRecord::to(topic).payload(value);
        let record = match key {
            Some(key) => record.key(key),
            None => record,
        };
        runtime().block_on(producer.send(record, SEND_PATIENCE)).unwrap();
    }

    /// Deletes what is committed, once no worker is left in the groups.
    pub fn delete_groups(&self) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let queues = self.queues();
        let groups: Vec<&str> = queues.iter().map(String::as_str).collect();
        wait::calmly("the groups are deleted", || {
            let deleted = runtime().block_on(admin.delete_groups(&groups, &AdminOptions::new())).unwrap();
            let is_gone = |code: RDKafkaErrorCode| code == RDKafkaErrorCode::GroupIdNotFound;
            deleted.into_iter().all(|group| group.is_ok() || group.is_err_and(|(_, code)| is_gone(code)))
        });
    }

    /// The topics that are queues, whose groups have their names.
    pub fn queues(&self) -> Vec<String> {
        let segments = DEFAULT_QUEUES.iter().map(|queue| self.topics().segments(queue));
        segments.chain([self.topics().jobs(), self.topics().finish()]).collect()
    }

    pub fn cancel(&self, id: &JobId) {
        self.client.cancel(id).unwrap();
    }

    pub fn outcome(&self, id: &JobId) -> Option<Outcome> {
        self.folder(id).outcome().unwrap()
    }

    /// Waits until each job has its outcome in its folder.
    pub fn wait_for_outcomes<'a>(&self, ids: impl IntoIterator<Item = &'a JobId>) {
        for id in ids {
            wait::within(PATIENCE, &format!("job {id} has ended"), || self.outcome(id).is_some());
        }
    }

    /// Segments of the job that are published.
    pub fn published(&self, id: &JobId) -> usize {
        self.folder(id).published_segments().unwrap().len()
    }

    /// Marks of attempts of a job that are there: of work in hand, and of lost work.
    pub fn marks(&self, id: &JobId) -> Vec<PathBuf> {
        let attempts = self.folder(id).path().join("attempts");
        if !attempts.exists() {
            return Vec::new();
        }
        let files = crate::scratch::files_below(&attempts);
        files.into_iter().filter(|path| !path.to_string_lossy().contains(".tmp-")).collect()
    }

    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.client.dead_letters().unwrap()
    }
}

/// Asks for what [`Footage`] knows the result of.
pub fn submission(id: &str, footage: &Footage) -> Submission {
    let mut submission = Submission::new(JobId::new(id).unwrap(), footage.path.to_str().unwrap());
    submission.settings.confidence = Some(footage::CONFIDENCE);
    submission.settings.iou = Some(footage::IOU);
    submission
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
