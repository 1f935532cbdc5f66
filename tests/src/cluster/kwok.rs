//! kwok: nodes and pods that are only said to run, hundreds of them on one machine. `tests/cluster/kwok/stages.yaml` says
//! what becomes of them and when.

use super::objects::block_on;
use super::program::Program;
use super::{ControlPlane, NODES_OF};
use crate::repository;
use k8s_openapi::api::core::v1::Node;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use std::time::Duration;

/// When a pod gets ready, of the pod's annotations: a duration such as `1500ms`. At once without it.
pub const READY_AFTER: &str = "framefleet.dev/ready-after";
/// When a pod of a Job succeeds, after it got ready. Without it, it runs on.
pub const COMPLETES_AFTER: &str = "framefleet.dev/completes-after";
const MANAGED: &str = "kwok.x-k8s.io/node";

#[derive(Debug)]
pub struct Kwok {
    program: Program,
    access: super::Access,
}

impl Kwok {
    pub fn start(control_plane: &ControlPlane) -> Self {
        let mut kwok = Program::new("kwok", control_plane.folder());
        let stages = repository::root().join("tests/cluster/kwok/stages.yaml");
        kwok.arg(format!("--kubeconfig={}", control_plane.kubeconfig().display()));
        kwok.arg(format!("--config={}", stages.display()));
        kwok.arg(format!("--manage-nodes-with-annotation-selector={MANAGED}=fake"));
        kwok.args(&["--manage-all-nodes=false", "--node-ip=10.0.0.1", "--cidr=10.0.0.0/8"]);
        kwok.args(&["--node-lease-duration-seconds=40", "--v=WARN"]);
        Self { program: kwok.start(), access: control_plane.admin().clone() }
    }

    /// Adds so many nodes with so many GPUs each, for the pods of a namespace.
    pub fn add_nodes(&self, namespace: &str, number: usize, gpus: u32) {
        self.program.assert_runs();
        let resources = json!({"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": gpus.to_string()});
        let nodes = self.access.everywhere::<Node>();
        for number in 0..number {
            nodes.create(&json!({
                "metadata": {
                    "name": format!("{namespace}-kwok-{number}"), "annotations": {MANAGED: "fake"},
                    "labels": {NODES_OF: namespace, "type": "kwok"},
                },
                "status": {"capacity": resources, "allocatable": resources},
            }));
        }
    }

    /// Takes away those of [`Self::add_nodes`].
    pub fn remove_nodes(&self, namespace: &str) {
        let which = ListParams::default().labels(&format!("type=kwok,{NODES_OF}={namespace}"));
        let nodes = self.access.everywhere::<Node>();
        block_on(nodes.api().delete_collection(&DeleteParams::default(), &which)).unwrap();
    }
}

/// The annotations of a pod that gets ready, and as part of a Job succeeds, so much later.
pub fn annotations(ready: Duration, completes: Option<Duration>) -> serde_json::Value {
    let text = |duration: Duration| format!("{}ms", duration.as_millis());
    let mut annotations = json!({READY_AFTER: text(ready)});
    if let Some(completes) = completes {
        annotations[COMPLETES_AFTER] = text(completes).into();
    }
    annotations
}
