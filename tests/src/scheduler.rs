//! The scheduler under test: a real process, with the rights that the manifests give it, over pools of a namespace of the
//! test's own. What waits for them is [`Traffic`].

#![expect(clippy::needless_pass_by_value, reason = "calls with `json!` read better without references")]

pub mod traffic;

pub use traffic::Traffic;

use crate::cluster::{Access, ControlPlane, Kwok, Objects, kwok};
use crate::fleet::Fleet;
use crate::keeper;
use crate::repository;
use crate::scratch::Scratch;
use crate::wait;
use framefleet_scheduler::pool::{WorkerPool, WorkerPoolStatus};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A namespace in which the scheduler may do what the manifests say, and no more.
#[derive(Debug)]
pub struct Pools<'a> {
    plane: &'a ControlPlane,
    namespace: String,
    scratch: Scratch,
    schedulers: AtomicU32,
}

/// The name of the Secret by which pools find Kafka.
pub const SECRET: &str = "framefleet-kafka";

/// A scheduler that runs.
#[derive(Debug)]
pub struct Scheduler {
    process: Child,
    log: std::path::PathBuf,
}

/// What a condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub is_so: bool,
    pub reason: String,
    pub message: String,
}

impl Pools<'static> {
    /// On a control plane that other tests use too.
    pub fn shared() -> Self {
        Self::on(ControlPlane::shared())
    }
}

impl<'a> Pools<'a> {
    pub fn on(plane: &'a ControlPlane) -> Self {
        define_pools(plane);
        let namespace = plane.namespace("pools");
        for file in ["base/scheduler/access.yaml", "base/workers/scheduler-access.yaml"] {
            let manifest = fs::read_to_string(repository::root().join("gpu-manifests").join(file)).unwrap();
            let here = manifest.replace("namespace: framefleet\n", &format!("namespace: {namespace}\n"));
            let applied = plane.admin().try_kubectl(&["apply", "--server-side", "-n", &namespace, "-f", "-"], &here);
            assert_eq!(applied.status, Some(0), "{applied}");
        }
        Self { plane, namespace, scratch: Scratch::new(), schedulers: AtomicU32::new(0) }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    pub fn plane(&self) -> &'a ControlPlane {
        self.plane
    }

    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub fn kafka_is_at(&self, brokers: &str) {
        let secrets: Objects<Secret> = self.objects();
        let secret = json!({"metadata": {"name": SECRET}, "stringData": {"FRAMEFLEET_BROKERS": brokers}});
        if secrets.get(SECRET).is_some() {
            secrets.merge(SECRET, &secret)
        } else {
            secrets.create(&secret)
        };
    }

    /// Makes a pool of Jobs with GPUs, of which `spec` says what is not usual.
    pub fn pool(&self, name: &str, spec: Value) -> WorkerPool {
        self.objects::<WorkerPool>().create(&pool(name, spec))
    }

    pub fn change(&self, pool: &str, spec: Value) -> WorkerPool {
        self.objects::<WorkerPool>().merge(pool, &json!({"spec": spec}))
    }

    /// A pool that serves the queue normal of that fleet, needs three workers for [`traffic::SEGMENTS_FOR_THREE`] segments and
    /// knows it. Made before a scheduler sees it.
    pub fn usual_pool(&self, name: &str, traffic: &Traffic, spec: Value) {
        let mut usual = json!({
            "kafka": kafka(traffic), "queues": [{"name": "normal"}], "slots": 1, "coldStart": "5s",
            "template": template(&json!({"image": "framefleet"}))
        });
        usual.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        self.pool(name, usual);
        self.know_cost(name, Traffic::model(), 1.0);
    }

    /// Has so many nodes with eight GPUs each, whose pods are only said to run.
    pub fn add_nodes(&self, nodes: usize) {
        static KWOK: OnceLock<Kwok> = OnceLock::new();
        assert!(std::ptr::eq(self.plane, ControlPlane::shared()), "another control plane needs a kwok of its own");
        KWOK.get_or_init(|| Kwok::start(self.plane)).add_nodes(&self.namespace, nodes, 8);
    }

    /// As if its workers had measured it.
    pub fn know_cost(&self, pool: &str, model: &str, worker_seconds: f64) {
        let cost = json!({"model": model, "workerSeconds": worker_seconds});
        self.objects::<WorkerPool>().merge_status(pool, &json!({"status": {"models": [cost]}}));
    }

    pub fn status(&self, pool: &str) -> WorkerPoolStatus {
        self.objects::<WorkerPool>().get(pool).unwrap().status.unwrap_or_default()
    }

    pub fn condition(&self, pool: &str, type_: &str) -> Option<Said> {
        let conditions = self.status(pool).conditions;
        let found = conditions.into_iter().find(|condition| condition.type_ == type_)?;
        Some(Said { is_so: found.status == "True", reason: found.reason, message: found.message })
    }

    /// Waits until a condition has this reason, and gives what it says.
    pub fn wait_for_reason(&self, pool: &str, type_: &str, reason: &str) -> Said {
        let mut said = None;
        let is_so = wait::is_so_within(PATIENCE, || {
            said = self.condition(pool, type_);
            said.as_ref().is_some_and(|said| said.reason == reason)
        });
        assert!(is_so, "{pool}: {type_} is not {reason} but {said:?}; {:?}", self.status(pool));
        said.unwrap()
    }

    pub fn jobs(&self) -> Vec<Job> {
        self.objects().list()
    }

    pub fn job_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.jobs().iter().map(ResourceExt::name_any).collect();
        names.sort();
        names
    }

    /// Workers that all Jobs were made for.
    pub fn workers_asked_for(&self) -> i32 {
        self.jobs().iter().filter_map(|job| job.spec.as_ref()?.completions).sum()
    }

    pub fn pods(&self) -> Vec<Pod> {
        self.objects().list()
    }

    /// The uids of all pods that are not about to end.
    pub fn pod_uids(&self) -> BTreeSet<String> {
        let pods = self.pods().into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        pods.map(|pod| pod.uid().unwrap()).collect()
    }

    pub fn wait_for_ready(&self, pool: &str, workers: u32) {
        let mut status = WorkerPoolStatus::default();
        let is_so = wait::is_so_within(PATIENCE, || {
            status = self.status(pool);
            (status.workers.ready, status.workers.pending) == (workers, 0)
        });
        assert!(is_so, "{pool} has not {workers} workers that are ready: {status:?}");
    }

    /// `namespace/name`, as workers say it.
    pub fn full_name(&self, pool: &str) -> String {
        format!("{}/{pool}", self.namespace)
    }

    pub fn objects<K>(&self) -> Objects<K>
    where
        K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        self.plane.admin().objects(&self.namespace)
    }

    /// What the scheduler has in this namespace: the rights of the manifests.
    pub fn access(&self) -> Access {
        self.plane.access_of(&self.namespace, "framefleet-scheduler")
    }

    /// Sizes the pools twice a second.
    pub fn start_scheduler(&self) -> Scheduler {
        self.start_scheduler_as(&self.access())
    }

    pub fn start_scheduler_as(&self, access: &Access) -> Scheduler {
        self.start_scheduler_with(access, &[])
    }

    /// With these arguments more.
    pub fn start_scheduler_with(&self, access: &Access, arguments: &[&str]) -> Scheduler {
        let number = self.schedulers.fetch_add(1, Ordering::Relaxed);
        let log = self.scratch.join(&format!("scheduler-{number}.log"));
        let file = File::create(&log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(repository::program("framefleet-scheduler"));
        command.args(["run", "--period", "0.5", "--namespace", &self.namespace, "--lease-namespace", &self.namespace]);
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        command.env("KUBECONFIG", access.kubeconfig());
        command.env("FRAMEFLEET_LOG", std::env::var("FRAMEFLEET_LOG").unwrap_or_else(|_| "info".to_owned()));
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Scheduler { process: keeper::spawn(command), log }
    }
}

/// What the scheduler does takes at most so long.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A pool of Jobs with GPUs, of which `spec` says what is not usual.
pub fn pool(name: &str, spec: Value) -> Value {
    let mut usual = json!({
        "runAs": "Jobs", "maxWorkers": 5, "gpu": {}, "kafka": {"secretName": SECRET},
        "template": {"spec": {"containers": [{"name": "worker", "image": "framefleet"}]}}
    });
    usual.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"apiVersion": "framefleet.dev/v1alpha1", "kind": "WorkerPool", "metadata": {"name": name}, "spec": usual})
}

/// Where a pool of this fleet finds its topics.
pub fn kafka(traffic: &Traffic) -> Value {
    json!({"secretName": SECRET, "prefix": traffic.topics().prefix()})
}

/// A template of pods that get ready at once where nothing runs them, with a container of which this is said.
pub fn template(container: &Value) -> Value {
    let mut worker = json!({"name": "worker"});
    worker.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    let annotations = kwok::annotations(Duration::from_millis(100), None);
    json!({"metadata": {"annotations": annotations}, "spec": {"containers": [worker]}})
}

/// A template of workers that really run and know the fleet's folders. `version` tells one template from another.
pub fn worker_template(fleet: &Fleet, version: &str) -> Value {
    let (results, models) = (fleet.results_of_workers(), fleet.scratch().join("models"));
    json!({"spec": {
        "terminationGracePeriodSeconds": 60,
        "containers": [{
            "name": "worker", "image": "framefleet",
            "args": ["worker", "--threads=1", "--segment-seconds=1", "--min-free=0", "--kafka=session.timeout.ms=6000"],
            "env": [
                {"name": "FRAMEFLEET_RESULTS", "value": results},
                {"name": "FRAMEFLEET_MODELS", "value": models},
                {"name": "VERSION", "value": version},
            ],
            "resources": {"requests": {"cpu": "1"}},
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9090}, "periodSeconds": 1},
        }],
    }})
}

impl Scheduler {
    /// `kill -9`
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
    }

    /// It ends as Kubernetes ends it, and must come to its end.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let mut status = None;
        wait::calmly("the scheduler ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{}", self.log());
    }

    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Asks one of its endpoints, such as `/readyz`: the status, and the answer.
    pub fn ask(&self, path: &str) -> (u16, String) {
        let mut address = String::new();
        wait::calmly("the scheduler listens", || {
            let log = self.log();
            let said = log.split_once("metrics at http://").and_then(|(_, rest)| rest.split_once('/'));
            address = said.map_or_else(String::new, |(address, _)| address.to_owned());
            !address.is_empty()
        });
        let mut connection = TcpStream::connect(address).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: scheduler\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Waits until it has looked at everything so many times more, as only a leader does.
    pub fn wait_for_cycles(&self, cycles: u64) {
        let enough = self.cycles() + cycles;
        wait::within(PATIENCE, "the scheduler goes on", || self.cycles() >= enough);
    }

    fn cycles(&self) -> u64 {
        let metrics = self.ask("/metrics").1;
        let count = metrics.lines().find_map(|line| line.strip_prefix("framefleet_scheduler_cycle_seconds_count "));
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// What one of its metrics says of a pool, `namespace/name`, rounded; -1 before it says anything.
    pub fn metric(&self, name: &str, pool: &str) -> i64 {
        let begins = format!("{name}{{pool=\"{pool}\"}} ");
        let metrics = self.ask("/metrics").1;
        let said = metrics.lines().find_map(|line| line.strip_prefix(begins.as_str()));
        said.map_or(-1, |value| value.parse::<f64>().unwrap().round() as i64)
    }

    pub fn wait_until_it_leads(&self) {
        wait::within(PATIENCE, "the scheduler leads", || self.leads());
    }

    /// By what it said last.
    pub fn leads(&self) -> bool {
        let log = self.log();
        let last = |words: &str| log.rfind(words);
        last(" leads identity=") > last(" leads no more")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("the scheduler said: {}", self.log());
        }
    }
}

/// Gives the API server the definition that the program prints, once for each control plane.
fn define_pools(plane: &ControlPlane) {
    static DEFINITION: OnceLock<String> = OnceLock::new();
    let definition = DEFINITION.get_or_init(|| {
        let printed = Command::new(repository::program("framefleet-scheduler")).arg("crd").output().unwrap();
        assert!(printed.status.success(), "{printed:?}");
        String::from_utf8(printed.stdout).unwrap()
    });
    plane.admin().apply(definition);
    plane.admin().kubectl(&["wait", "--for=condition=Established", "crd/workerpools.framefleet.dev"]);
}
