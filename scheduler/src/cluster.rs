//! What the API server tells, kept up to date by watches: asking costs nothing.

use crate::observe::Objects;
use crate::pool::WorkerPool;
use crate::workloads::POOL;
use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::core::{DeserializeGuard, NamespaceResourceScope};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// The namespaces in which pools are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    All,
    /// These; rights are needed in no other.
    Some(Vec<String>),
}

/// A view of all pools and of what belongs to them. The watches end when it is dropped.
pub struct Cluster {
    pools: Vec<Store<DeserializeGuard<WorkerPool>>>,
    jobs: Vec<Store<Job>>,
    deployments: Vec<Store<Deployment>>,
    pods: Vec<Store<Pod>>,
    watches: Watches,
    /// Pools that cannot be read, each said once for each of its versions.
    warned: Mutex<BTreeSet<(String, Option<String>)>>,
    tasks: JoinSet<()>,
}

/// How all watches stand. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Watches(Vec<Arc<Watch>>);

impl Watches {
    /// Why it is not known what there is, where it is not.
    pub fn unknown(&self) -> Option<String> {
        self.0.iter().find_map(|watch| watch.trouble())
    }

    /// The same for what there is in a namespace: that nothing is known of another one is no matter there.
    pub fn unknown_in(&self, namespace: &str) -> Option<String> {
        let is_of = |watch: &&Arc<Watch>| watch.namespace.as_deref().is_none_or(|watched| watched == namespace);
        self.0.iter().filter(is_of).find_map(|watch| watch.trouble())
    }
}

#[derive(Debug)]
struct Watch {
    of: &'static str,
    /// All, where there is none.
    namespace: Option<String>,
    /// Why what it tells is not all there is, where it is not.
    trouble: Mutex<Option<String>>,
}

/// Between two tries to watch, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Watch {
    fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Some(format!("{} {}", self.of, trouble.as_ref()?))
    }

    fn set(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// Goes on until it is dropped. After an error all is listed anew: a watch that goes on where it broke off says so by
    /// nothing, for as long as nothing changes.
    async fn follow<K>(&self, api: Api<K>, config: watcher::Config, mut writer: Writer<K>)
    where
        K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
        K::DynamicType: Eq + Hash + Clone,
    {
        let mut pause = PAUSE;
        loop {
            let mut events = watcher(api.clone(), config.clone()).boxed();
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(error) => {
                        self.broke_off(&error);
                        break;
                    }
                };
                writer.apply_watcher_event(&event);
                // A list that is under way replaces what was there when it is complete.
                if !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_)) {
                    self.set(None);
                    pause = PAUSE;
                }
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn broke_off(&self, error: &watcher::Error) {
        let words = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => in_words(error),
            other => other.to_string(),
        };
        let trouble = format!("cannot be watched: {words}");
        let before = self.trouble();
        self.set(Some(trouble));
        let now = self.trouble();
        if let Some(now) = now.filter(|now| Some(now) != before.as_ref()) {
            tracing::warn!(namespace = self.namespace, "{now}");
        }
    }
}

/// A watch is begun anew after so many seconds: one that hangs on a dead connection says nothing of it.
const WATCH_S: u32 = 60;

impl Cluster {
    pub fn watch(client: &Client, scope: &Scope) -> Self {
        let mut this = Self {
            pools: Vec::new(),
            jobs: Vec::new(),
            deployments: Vec::new(),
            pods: Vec::new(),
            watches: Watches::default(),
            warned: Mutex::default(),
            tasks: JoinSet::new(),
        };
        for namespace in scope.namespaces() {
            let store = this.follow(client, namespace, "workerpools", watcher::Config::default().timeout(WATCH_S));
            this.pools.push(store);
            let ours = || watcher::Config::default().labels(POOL).timeout(WATCH_S);
            let store = this.follow(client, namespace, "jobs", ours());
            this.jobs.push(store);
            let store = this.follow(client, namespace, "deployments", ours());
            this.deployments.push(store);
            let store = this.follow(client, namespace, "pods", ours());
            this.pods.push(store);
        }
        this
    }

    fn follow<K>(
        &mut self,
        client: &Client,
        namespace: Option<&str>,
        of: &'static str,
        config: watcher::Config,
    ) -> Store<K>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + fmt::Debug + Send + Sync + 'static,
        K::DynamicType: Default + Eq + Hash + Clone + Unpin + Send,
    {
        let api: Api<K> = match namespace {
            Some(namespace) => Api::namespaced(client.clone(), namespace),
            None => Api::all(client.clone()),
        };
        let (store, writer) = reflector::store();
        let trouble = Mutex::new(Some("are not listed yet".to_owned()));
        let watch = Arc::new(Watch { of, namespace: namespace.map(str::to_owned), trouble });
        self.watches.0.push(watch.clone());
        self.tasks.spawn(async move { watch.follow(api, config, writer).await });
        store
    }

    pub fn unknown(&self) -> Option<String> {
        self.watches.unknown()
    }

    pub fn unknown_in(&self, namespace: &str) -> Option<String> {
        self.watches.unknown_in(namespace)
    }

    pub fn health(&self) -> Watches {
        self.watches.clone()
    }

    /// All pools that are not being deleted, by name. One that an older definition let in and this program cannot read is
    /// passed over.
    pub fn pools(&self) -> Vec<Arc<WorkerPool>> {
        let mut pools = Vec::new();
        for guard in self.pools.iter().flat_map(Store::state) {
            match &guard.0 {
                Ok(pool) if pool.metadata.deletion_timestamp.is_some() => {}
                Ok(pool) => pools.push(Arc::new(pool.clone())),
                Err(error) => {
                    let name = ObjectRef::from_obj(guard.as_ref());
                    let version = (name.to_string(), error.metadata.resource_version.clone());
                    if !self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(version) {
                        continue;
                    }
                    tracing::warn!("the pool {name} cannot be read, and is left alone: {}", error.error);
                }
            }
        }
        pools.sort_by_key(|pool| (pool.namespace(), pool.name_any()));
        pools
    }

    pub fn objects(&self) -> Objects {
        Objects {
            jobs: self.jobs.iter().flat_map(Store::state).collect(),
            deployments: self.deployments.iter().flat_map(Store::state).collect(),
            pods: self.pods.iter().flat_map(Store::state).collect(),
        }
    }
}

impl Scope {
    fn namespaces(&self) -> Vec<Option<&str>> {
        match self {
            Self::All => vec![None],
            Self::Some(namespaces) => namespaces.iter().map(|namespace| Some(namespace.as_str())).collect(),
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("watches", &self.watches).finish_non_exhaustive()
    }
}

/// What the API server said, without all the fields in which it did.
pub fn in_words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => format!("{} ({})", status.message, status.code),
        other => other.to_string(),
    }
}
