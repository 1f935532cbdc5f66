//! What the API server is told of a pod, without the pod waiting for it: that may be away, or stand still.

use super::pod::PATIENCE;
use crate::cluster::objects::runtime;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Error};
use serde_json::{Value, json};
use std::thread;
use tokio::sync::watch::{self, Receiver, Sender};

/// Ends when it is dropped, told or not.
#[derive(Debug)]
pub struct Reports {
    uid: String,
    /// With its number. What nobody was told yet is replaced by what is new.
    latest: Sender<(u64, Value)>,
    told: Receiver<u64>,
}

impl Reports {
    pub fn of(pods: Api<Pod>, name: String, uid: String) -> Self {
        let (latest, to_tell) = watch::channel((0, Value::Null));
        let (telling, told) = watch::channel(0);
        runtime().spawn(tell(pods, name, to_tell, telling));
        Self { uid, latest, told }
    }

    /// The status from now on.
    pub fn say(&self, status: &Value) {
        // It must not become that of another pod of this name.
        let patch = json!({"metadata": {"uid": self.uid}, "status": status});
        self.latest.send_modify(|(number, latest)| (*number, *latest) = (*number + 1, patch));
    }

    /// Waits until all is told, or there is no reason to any more.
    pub fn flush(&self, in_vain: impl Fn() -> bool) {
        while *self.told.borrow() < self.latest.borrow().0 && !in_vain() {
            thread::park_timeout(PATIENCE / 10);
        }
    }
}

async fn tell(pods: Api<Pod>, name: String, mut latest: Receiver<(u64, Value)>, told: Sender<u64>) {
    while latest.changed().await.is_ok() {
        let (number, patch) = latest.borrow_and_update().clone();
        let patch = Patch::Strategic(patch);
        while latest.has_changed().is_ok_and(|is_old| !is_old) {
            match pods.patch_status(&name, &PatchParams::default(), &patch).await {
                Err(e) if !is_answer(&e) => tokio::time::sleep(PATIENCE).await,
                _ => {
                    told.send_replace(number);
                    break;
                }
            }
        }
    }
}

/// That there is no such pod any more is an answer.
pub fn is_answer(error: &Error) -> bool {
    match error {
        Error::Api(status) if status.code == 422 => panic!("the node said something impossible: {status:?}"),
        Error::Api(status) => matches!(status.code, 404 | 409),
        _ => false,
    }
}
