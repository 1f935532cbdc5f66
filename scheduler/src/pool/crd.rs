//! The custom resource's definition, made of the types.

use super::WorkerPool;
use kube::CustomResourceExt;

/// As it lies in `gpu-manifests/base`, where CI compares it.
pub fn yaml() -> String {
    let yaml = serde_saphyr::to_string(&WorkerPool::crd()).expect("the definition is plain data");
    format!("# Made by `framefleet-scheduler crd`; a test compares.\n{yaml}")
}
