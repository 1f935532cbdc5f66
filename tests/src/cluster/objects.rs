//! Objects of one kind, for tests that ask and wait.

use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Error, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fmt::Debug;
use std::sync::OnceLock;
use tokio::runtime::{Builder, Runtime};

/// Where all that is asynchronous happens.
pub(super) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// Waits for what a [`kube::Client`] of an [`super::Access`] is asked.
pub fn block_on<F: Future>(future: F) -> F::Output {
    runtime().block_on(future)
}

#[derive(Debug, Clone)]
pub struct Objects<K> {
    api: Api<K>,
}

impl<K> Objects<K> {
    pub(super) fn new(api: Api<K>) -> Self {
        Self { api }
    }

    pub fn api(&self) -> &Api<K> {
        &self.api
    }
}

impl<K: Resource + Clone + Debug + DeserializeOwned + Serialize> Objects<K> {
    /// As JSON says it; the kind may be left out.
    pub fn create(&self, object: &Value) -> K {
        self.try_create(object).unwrap()
    }

    pub fn try_create(&self, object: &Value) -> Result<K, Error> {
        let object = serde_json::from_value(object.clone()).unwrap();
        block_on(self.api.create(&PostParams::default(), &object))
    }

    pub fn get(&self, name: &str) -> Option<K> {
        self.try_get(name).unwrap()
    }

    pub fn try_get(&self, name: &str) -> Result<Option<K>, Error> {
        block_on(self.api.get_opt(name))
    }

    pub fn list(&self) -> Vec<K> {
        self.try_list(&ListParams::default()).unwrap()
    }

    pub fn labelled(&self, selector: &str) -> Vec<K> {
        self.try_list(&ListParams::default().labels(selector)).unwrap()
    }

    pub fn try_list(&self, which: &ListParams) -> Result<Vec<K>, Error> {
        block_on(self.api.list(which)).map(|list| list.items)
    }

    /// Changes what the patch names (JSON merge patch).
    pub fn merge(&self, name: &str, patch: &Value) -> K {
        self.try_merge(name, patch).unwrap()
    }

    pub fn try_merge(&self, name: &str, patch: &Value) -> Result<K, Error> {
        block_on(self.api.patch(name, &PatchParams::default(), &Patch::Merge(patch)))
    }

    pub fn merge_status(&self, name: &str, patch: &Value) -> K {
        block_on(self.api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch))).unwrap()
    }

    /// Asks for it, with what belongs to the object, and does not wait.
    pub fn delete(&self, name: &str) {
        block_on(self.api.delete(name, &DeleteParams::background())).unwrap();
    }
}
