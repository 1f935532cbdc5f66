//! The node's object, and the lease by which the controllers know that it is there.

use super::NodeSetup;
use crate::cluster::access::Access;
use crate::cluster::objects::Objects;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// As long as a kubelet's.
const LEASE_SECONDS: u32 = 40;
pub const RENEWAL: Duration = Duration::from_secs(5);
const LEASES: &str = "kube-node-lease";

pub fn create(admin: &Access, setup: &NodeSetup) {
    admin.everywhere::<Node>().create(&object(setup));
}

/// Makes the lease anew where it is not there.
pub async fn renew(admin: &Access, name: &str) -> Result<(), kube::Error> {
    let leases: Objects<Lease> = admin.objects(LEASES);
    let now = MicroTime(Timestamp::now());
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now},
    });
    leases.api().patch(name, &PatchParams::apply("test-node").force(), &Patch::Apply(lease)).await.map(drop)
}

fn object(setup: &NodeSetup) -> Value {
    let mut labels = json!({
        "kubernetes.io/hostname": setup.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
    });
    for (name, value) in &setup.labels {
        labels[name] = json!(value);
    }
    let resources = resources(setup);
    json!({
        "metadata": {"name": setup.name, "labels": labels},
        "spec": {"taints": setup.taints.iter().map(|taint| parsed(taint)).collect::<Vec<_>>()},
        "status": {
            "capacity": resources, "allocatable": resources, "conditions": conditions(),
            "addresses": [{"type": "Hostname", "address": setup.name}, {"type": "InternalIP", "address": "127.0.0.1"}],
        },
    })
}

fn resources(setup: &NodeSetup) -> Map<String, Value> {
    let cpus = if setup.cpus == 0 { 32 } else { setup.cpus };
    let mut resources = Map::new();
    let mut has = |name: &str, quantity: String| resources.insert(name.to_owned(), quantity.into());
    has("cpu", cpus.to_string());
    has("memory", "256Gi".to_owned());
    has("ephemeral-storage", "256Gi".to_owned());
    has("pods", "110".to_owned());
    if setup.gpus > 0 {
        has("nvidia.com/gpu", setup.gpus.to_string());
    }
    resources
}

fn conditions() -> Value {
    let now = Time(Timestamp::now());
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "TestNode", "lastHeartbeatTime": now, "lastTransitionTime": now});
    let troubles = ["MemoryPressure", "DiskPressure", "PIDPressure"].map(|kind| condition(kind, "False"));
    troubles.into_iter().chain([condition("Ready", "True")]).collect()
}

fn parsed(taint: &str) -> Value {
    let (what, effect) = taint.rsplit_once(':').expect("a taint says its effect");
    let (key, value) = what.split_once('=').unwrap_or((what, ""));
    json!({"key": key, "value": value, "effect": effect})
}
