//! A node of the cluster that runs its pods as processes of this machine, as far as tests need it.
//!
//! ```text
//! watch ─► agent ─► a thread for each pod: image, environment, volumes ─► process ─► probes ─► status
//! ```
//!
//! What differs from a container:
//!
//! - A pod's first container runs, and no init container. Nothing limits it: not its memory, its user or its files.
//! - All see the same files. Where a pod mounts a volume, its arguments and variables are changed to name the folder that is
//!   meant. Empty folders, Secrets and `ConfigMap`s get a folder of the pod's own; a claim has the one that the test says.
//! - All share the ports, so that each pod has an address of its own in 127.0.0.0/8, and a variable `FRAMEFLEET_LISTEN` that
//!   says all addresses is changed to say that one.
//! - `KUBECONFIG` says what the folder of a service account says in a container, with the same rights.
//! - Whoever ends it by SIGTERM ends the process. What a container ignores as its first process, it may not ignore here.

mod address;
mod agent;
mod container;
mod environment;
mod object;
mod pod;
mod probes;
mod reports;
mod status;
mod volumes;

use super::access::Access;
use super::objects::Objects;
use super::{ControlPlane, NODES_OF};
use agent::Agent;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::api::EvictParams;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a node has, and where its pods find things.
#[derive(Debug, Clone, Default)]
pub struct NodeSetup {
    pub name: String,
    /// 32 where it is 0.
    pub cpus: u32,
    pub gpus: u32,
    pub labels: Vec<(String, String)>,
    /// Such as `nvidia.com/gpu=present:NoSchedule`.
    pub taints: Vec<String>,
    /// The programs of images that begin so, for containers that name no command.
    pub entrypoints: Vec<(String, PathBuf)>,
    /// The folders of claims, by their names.
    pub claims: Vec<(String, PathBuf)>,
    /// Beside those that the pod says, such as what makes a program's calls fail.
    pub environment: Vec<(String, String)>,
}

/// Its processes go when it is dropped, and with the test's process however that ends.
#[derive(Debug)]
pub struct Node {
    agent: Arc<Agent>,
}

impl NodeSetup {
    /// For the pods of a namespace that [`ControlPlane::namespace`] made.
    pub fn of(namespace: &str, name: &str) -> Self {
        let labels = vec![(NODES_OF.to_owned(), namespace.to_owned())];
        Self { name: format!("{namespace}-{name}"), labels, ..Self::default() }
    }

    #[must_use]
    pub fn gpus(self, gpus: u32) -> Self {
        Self { gpus, ..self }
    }

    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn taint(mut self, taint: &str) -> Self {
        self.taints.push(taint.to_owned());
        self
    }

    #[must_use]
    pub fn entrypoint(mut self, image: &str, program: impl Into<PathBuf>) -> Self {
        self.entrypoints.push((image.to_owned(), program.into()));
        self
    }

    #[must_use]
    pub fn claim(mut self, name: &str, folder: impl Into<PathBuf>) -> Self {
        self.claims.push((name.to_owned(), folder.into()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Node {
    /// Adds it to the cluster, and does not wait until pods are given to it.
    pub fn register(control_plane: &ControlPlane, setup: NodeSetup) -> Self {
        Self::start(control_plane.admin(), control_plane.folder(), setup)
    }

    pub(super) fn start(admin: &Access, folder: &Path, setup: NodeSetup) -> Self {
        Self { agent: Agent::start(admin, folder, setup) }
    }

    pub fn name(&self) -> &str {
        self.agent.name()
    }

    /// Pods of this node that have not ended.
    pub fn running_pods(&self) -> usize {
        self.agent.running_pods()
    }

    /// The process of a pod that runs here, to be killed or stopped.
    pub fn process_id(&self, namespace: &str, pod: &str) -> Option<u32> {
        self.agent.find(namespace, pod)?.process_id()
    }

    /// What the pod's processes printed, if it has been here.
    pub fn log(&self, namespace: &str, pod: &str) -> Option<String> {
        self.agent.log(namespace, pod)
    }

    /// As whoever drains a node does: the pod gets the condition `DisruptionTarget` and its grace period, unless a
    /// disruption budget forbids it.
    pub fn evict(&self, namespace: &str, pod: &str) -> Result<(), kube::Error> {
        let pods: Objects<k8s_openapi::api::core::v1::Pod> = self.admin().objects(namespace);
        super::block_on(pods.api().evict(pod, &EvictParams::default())).map(drop)
    }

    /// The machine is gone from one moment to the next, and its provider says so: the object is deleted too. Pods that were
    /// there stay until the controllers have collected them, which takes them 40 to 60 seconds.
    pub fn lose(self) {
        drop(self);
    }

    /// The machine stands still for everybody: nobody hears of it any more, and its object stays. Its pods' processes are
    /// killed.
    pub fn crash(&self) {
        self.agent.stop();
    }

    fn admin(&self) -> &Access {
        self.agent.admin()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.agent.stop();
        let nodes: Objects<NodeObject> = self.admin().everywhere();
        // The control plane may be gone too.
        let _ = super::block_on(nodes.api().delete(self.name(), &kube::api::DeleteParams::default()));
    }
}
