//! What runs on a node: it hears of the node's pods, and has a thread for each.

use super::{NodeSetup, object, pod};
use crate::cluster::access::Access;
use crate::cluster::objects::{Objects, runtime};
use futures_util::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::watcher::{self, Event, watcher};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use tokio::task::AbortHandle;

/// Shared by all that goes on at a node.
#[derive(Debug)]
pub struct Agent {
    setup: NodeSetup,
    admin: Access,
    /// Of the node: logs, and volumes that are a pod's own.
    folder: PathBuf,
    is_stopped: AtomicBool,
    pods: Mutex<BTreeMap<String, Arc<Watched>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// A pod as the API server last told of it, and as it goes here.
#[derive(Debug)]
pub struct Watched {
    latest: Mutex<Arc<Pod>>,
    is_gone: AtomicBool,
    has_ended: AtomicBool,
    /// 0 while there is none.
    process: AtomicU32,
}

impl Agent {
    pub fn start(admin: &Access, folder: &Path, setup: NodeSetup) -> Arc<Self> {
        let folder = folder.join("nodes").join(&setup.name);
        fs::create_dir_all(&folder).unwrap();
        object::create(admin, &setup);
        let agent = Arc::new(Self {
            setup,
            admin: admin.clone(),
            folder,
            is_stopped: AtomicBool::new(false),
            pods: Mutex::default(),
            threads: Mutex::default(),
            tasks: Mutex::default(),
        });
        let heartbeat = runtime().spawn(heartbeat(Arc::clone(&agent)));
        let watch = runtime().spawn(watch(Arc::clone(&agent)));
        agent.tasks.lock().unwrap().extend([heartbeat.abort_handle(), watch.abort_handle()]);
        agent
    }

    pub fn name(&self) -> &str {
        &self.setup.name
    }

    pub fn setup(&self) -> &NodeSetup {
        &self.setup
    }

    pub fn admin(&self) -> &Access {
        &self.admin
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Nobody hears of the node any more, and its processes are gone when this returns.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        self.tasks.lock().unwrap().drain(..).for_each(|task| task.abort());
        // None comes after the watch has seen that it is stopped, for which it has the pods.
        drop(self.pods());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        for thread in threads {
            let _ = thread.join();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::SeqCst)
    }

    pub fn running_pods(&self) -> usize {
        self.pods().values().filter(|pod| !pod.has_ended.load(Ordering::SeqCst)).count()
    }

    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Watched>> {
        let is_it = |pod: &&Arc<Watched>| {
            let latest = pod.latest();
            latest.namespace().as_deref() == Some(namespace) && latest.name_any() == name
        };
        self.pods().values().find(is_it).cloned()
    }

    pub fn log_file(&self, namespace: &str, pod: &str) -> PathBuf {
        self.folder.join(format!("{namespace}.{pod}.log"))
    }

    pub fn log(&self, namespace: &str, pod: &str) -> Option<String> {
        let log = fs::read(self.log_file(namespace, pod)).ok()?;
        Some(String::from_utf8_lossy(&log).into_owned())
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Watched>>> {
        self.pods.lock().unwrap()
    }

    fn see(self: &Arc<Self>, pod: Pod) {
        let uid = pod.uid().expect("what the API server tells of has one");
        let mut pods = self.pods();
        if let Some(known) = pods.get(&uid) {
            *known.latest.lock().unwrap() = Arc::new(pod);
        } else if !self.is_stopped() {
            let watched = Arc::new(Watched::new(pod));
            pods.insert(uid, Arc::clone(&watched));
            let agent = Arc::clone(self);
            let thread = thread::spawn(move || {
                pod::run(&agent, &watched);
                watched.has_ended.store(true, Ordering::SeqCst);
            });
            self.threads.lock().unwrap().push(thread);
        }
    }

    fn forget(&self, uid: &str) {
        if let Some(pod) = self.pods().remove(uid) {
            pod.is_gone.store(true, Ordering::SeqCst);
        }
    }

    /// Whatever is not listed is gone.
    fn keep_only(&self, listed: &BTreeSet<String>) {
        let known: Vec<String> = self.pods().keys().cloned().collect();
        known.iter().filter(|uid| !listed.contains(*uid)).for_each(|uid| self.forget(uid));
    }
}

impl Watched {
    fn new(pod: Pod) -> Self {
        let (latest, process) = (Mutex::new(Arc::new(pod)), AtomicU32::new(0));
        Self { latest, is_gone: AtomicBool::new(false), has_ended: AtomicBool::new(false), process }
    }

    pub fn latest(&self) -> Arc<Pod> {
        Arc::clone(&self.latest.lock().unwrap())
    }

    /// There is no such object any more.
    pub fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::SeqCst)
    }

    /// It uses nothing of the node any more.
    pub fn say_it_ended(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    pub fn process_id(&self) -> Option<u32> {
        let id = self.process.load(Ordering::SeqCst);
        (id != 0).then_some(id)
    }

    pub fn set_process(&self, id: Option<u32>) {
        self.process.store(id.unwrap_or(0), Ordering::SeqCst);
    }
}

async fn heartbeat(agent: Arc<Agent>) {
    loop {
        // Whoever does not answer is asked again soon enough.
        let _ = object::renew(&agent.admin, agent.name()).await;
        tokio::time::sleep(object::RENEWAL).await;
    }
}

async fn watch(agent: Arc<Agent>) {
    let pods: Objects<Pod> = agent.admin.everywhere();
    let mine = watcher::Config::default().fields(&format!("spec.nodeName={}", agent.name()));
    let mut events = Box::pin(watcher(pods.api().clone(), mine));
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(pod)) => {
                listed.extend(pod.uid());
                agent.see(pod);
            }
            Ok(Event::InitDone) => agent.keep_only(&listed),
            Ok(Event::Apply(pod)) => agent.see(pod),
            Ok(Event::Delete(pod)) => agent.forget(&pod.uid().expect("what the API server tells of has one")),
            // The API server may be away.
            Err(_) => tokio::time::sleep(pod::PATIENCE).await,
        }
    }
}
