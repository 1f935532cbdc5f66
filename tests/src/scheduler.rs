//! The scheduler under test: a real process, with the rights that the manifests give it, over pools of a namespace of the
//! test's own.

use crate::cluster::{Access, ControlPlane, Objects};
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
use std::fs::{self, File};
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
        let number = self.schedulers.fetch_add(1, Ordering::Relaxed);
        let log = self.scratch.join(&format!("scheduler-{number}.log"));
        let file = File::create(&log).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(repository::program("framefleet-scheduler"));
        command.args(["run", "--period", "0.5", "--namespace", &self.namespace, "--lease-namespace", &self.namespace]);
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
