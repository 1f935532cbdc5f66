//! A real Kubernetes control plane of a test's own: etcd, API server, controllers and scheduler, on loopback, their data in
//! a temporary folder. Only the nodes are the test's: [`Node`] runs pods as processes of this machine, [`Kwok`] says that
//! they run.
//!
//! It goes when it is dropped, and with the test's process however that ends.

pub mod access;
pub mod api_proxy;
mod authority;
pub mod kwok;
pub mod node;
pub mod node_pool;
pub mod objects;
mod program;
mod programs;

pub use access::Access;
pub use api_proxy::{ApiProxy, LOST, Refusal};
pub use kwok::Kwok;
pub use node::{Node, NodeSetup};
pub use node_pool::{NodePool, NodePoolSetup};
pub use objects::{Objects, block_on};

use crate::keeper::PassingFolder;
use crate::ports::free_address;
use crate::wait;
use access::Endpoint;
use authority::{ADMIN_TOKEN, Authority};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use program::Program;
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How a control plane differs from the usual one: flags of its programs, such as `--node-monitor-grace-period=5s`. They win
/// over the usual ones.
#[derive(Debug, Default, Clone, Copy)]
pub struct Setup<'a> {
    pub api_server: &'a [&'a str],
    pub controllers: &'a [&'a str],
    pub scheduler: &'a [&'a str],
}

#[derive(Debug)]
pub struct ControlPlane {
    scheduler: Program,
    controllers: Program,
    api_server: Program,
    etcd: Program,
    admin: Access,
    folder: PassingFolder,
}

/// Pods of a namespace that [`ControlPlane::namespace`] made go only to nodes which have this label with its name.
pub const NODES_OF: &str = "framefleet.dev/nodes-of";

impl ControlPlane {
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    pub fn start_with(setup: Setup) -> Self {
        let folder = PassingFolder::new();
        let authority = Authority::new(folder.path());
        let [store, peers, api] = [(); 3].map(|()| free_address());
        let etcd = etcd(folder.path(), store, peers);
        let api_server = api_server(&authority, store, api, setup.api_server);
        let endpoint = Endpoint { server: format!("https://{api}"), authority: authority.certificate() };
        let admin = Access::new(endpoint, ADMIN_TOKEN.to_owned(), folder.path().join("kubeconfig"));
        wait_until_ready(&admin, &[&etcd, &api_server]);
        let mut controllers = of_kubernetes("kube-controller-manager", &admin, folder.path());
        controllers.arg(authority.signing_key("--service-account-private-key-file"));
        controllers.arg(format!("--root-ca-file={}", authority.certificate().display())).args(setup.controllers);
        let mut scheduler = of_kubernetes("kube-scheduler", &admin, folder.path());
        scheduler.args(setup.scheduler);
        let [controllers, scheduler] = [controllers.start(), scheduler.start()];
        let this = Self { scheduler, controllers, api_server, etcd, admin, folder };
        this.wait_for_controllers("default");
        this
    }

    /// One for all tests of a program that do not disturb it: each has a namespace of its own, and nodes for that. It stays
    /// until the program ends.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ControlPlane> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Of somebody who may do everything.
    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// [`Self::admin`]'s, as a file.
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// With the rights of a service account, by a token that the API server gave it: what RBAC gives it and no more.
    pub fn access_of(&self, namespace: &str, service_account: &str) -> Access {
        self.admin.of_service_account(namespace, service_account, self.folder()).unwrap()
    }

    /// Makes a namespace with a name that begins so and that no other has, when pods can be made there, and says its name.
    /// See [`NODES_OF`].
    pub fn namespace(&self, begins: &str) -> String {
        static NAMESPACES: AtomicU32 = AtomicU32::new(0);
        let name = format!("{begins}-{}", NAMESPACES.fetch_add(1, Ordering::Relaxed));
        let nodes = json!({"scheduler.alpha.kubernetes.io/node-selector": format!("{NODES_OF}={name}")});
        let namespace = json!({"metadata": {"name": name, "annotations": nodes}});
        self.admin.everywhere::<Namespace>().create(&namespace);
        self.wait_for_controllers(&name);
        name
    }

    /// The kinds of objects that Karpenter and the Prometheus operator define.
    pub fn define_custom_resources(&self) {
        self.admin.kubectl(&["apply", "--server-side", "-f", programs::custom_resources().to_str().unwrap()]);
        self.admin.kubectl(&["wait", "--for=condition=Established", "crd", "--all"]);
    }

    /// As if its machine had lost power.
    pub fn kill_api_server(&self) {
        self.api_server.kill();
    }

    /// Again with the same address and data, after it was killed or not.
    pub fn restart_api_server(&self) {
        self.api_server.restart();
        wait_until_ready(&self.admin, &[&self.etcd, &self.api_server]);
    }

    /// It keeps its connections and does nothing, until [`Self::resume_api_server`].
    pub fn pause_api_server(&self) {
        self.api_server.stop();
    }

    pub fn resume_api_server(&self) {
        self.api_server.resume();
    }

    /// What the programs said, for whoever asks why something is not so.
    pub fn logs(&self) -> String {
        [&self.etcd, &self.api_server, &self.controllers, &self.scheduler].map(Program::log).join("\n")
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Without this account, which they make, no pod is accepted there.
    fn wait_for_controllers(&self, namespace: &str) {
        let accounts = self.admin.objects::<ServiceAccount>(namespace);
        wait::calmly("the controllers have made a service account", || {
            self.controllers.assert_runs();
            accounts.get("default").is_some()
        });
    }
}

fn etcd(folder: &Path, store: SocketAddr, peers: SocketAddr) -> Program {
    let mut etcd = Program::new("etcd", folder);
    // What a power failure would cost is no matter here.
    etcd.args(&["--unsafe-no-fsync", "--name=only", "--log-level=warn"]);
    etcd.arg(format!("--data-dir={}", folder.join("etcd").display()));
    for (flag, address) in [("client", store), ("peer", peers)] {
        etcd.arg(format!("--listen-{flag}-urls=http://{address}"));
    }
    etcd.arg(format!("--advertise-client-urls=http://{store}"));
    etcd.arg(format!("--initial-advertise-peer-urls=http://{peers}"));
    etcd.arg(format!("--initial-cluster=only=http://{peers}"));
    etcd.start()
}

fn api_server(authority: &Authority, store: SocketAddr, api: SocketAddr, flags: &[&str]) -> Program {
    let mut server = Program::new("kube-apiserver", authority.folder());
    server.arg(format!("--etcd-servers=http://{store}")).arg(format!("--secure-port={}", api.port()));
    server.args(&["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]);
    server.args(&["--service-cluster-ip-range=10.96.0.0/16", "--profiling=false"]);
    // Keeps the tests that share a control plane off each other's nodes.
    server.args(&["--authorization-mode=Node,RBAC", "--enable-admission-plugins=PodNodeSelector"]);
    for flag in authority.flags() {
        server.arg(flag);
    }
    server.args(flags);
    server.start()
}

/// The two that do the work of the cluster. One of each needs no leader. What they would do slowly for the API server's
/// sake, they may do at once.
fn of_kubernetes(name: &'static str, admin: &Access, folder: &Path) -> Program {
    let mut program = Program::new(name, folder);
    program.arg(format!("--kubeconfig={}", admin.kubeconfig().display()));
    program.args(&["--leader-elect=false", "--secure-port=0", "--kube-api-qps=1000", "--kube-api-burst=1000"]);
    program
}

fn wait_until_ready(admin: &Access, programs: &[&Program]) {
    wait::calmly("the API server answers", || {
        for program in programs {
            program.assert_runs();
        }
        admin.is_ready()
    });
}
