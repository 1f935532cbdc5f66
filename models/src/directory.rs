//! A directory of models that is followed: what is dropped into it is tried out, and serves from then on.
//!
//! ```text
//!  notify ──► Signal ──► look ── layout::scan ──► Entries: waiting ─► ready | refused ─► retired
//!  poll ──────────────────┘                          │ next_to_check      ▲
//!                                                    ▼                    │
//!                                                  Check (a child process)┘
//!                                                    │ wanted: the pinned version; without a pin, the newest
//!                                                    ▼
//!  current, wait_for, snapshot ◄── Published ◄──── Serving
//! ```
//!
//! One thread does all of it; what it made known is read without waiting for it. Nothing that lies in the directory
//! makes things worse than they were: what is refused stays where it is, and what serves goes on serving.

mod entries;
mod follower;
mod status;
mod watch;

pub use status::{ModelStatus, State};

use crate::{ModelError, RecordedFrames, Runtime, check::Check, serving::Serving};
use follower::Follower;
use framefleet_contract::volume::Volume;
use std::{
    collections::BTreeMap,
    io,
    path::{self, Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use watch::Signal;

/// The target of the log's lines that say why a model is refused.
pub const REFUSALS: &str = "framefleet_models::refused";

/// What is followed, and how.
#[derive(Debug, Clone)]
pub struct Follow {
    pub directory: PathBuf,
    /// The only name that is wanted; `None` for all of them. Of one name, only those versions are tried out that would
    /// serve: the pinned one, or else from the newest on until one is good. The others go on waiting.
    pub only: Option<String>,
    /// How long files must stand still before they count. What was renamed into place counts at once.
    pub settle: Duration,
    /// How often the directory is looked at where the file system tells of nothing, as network volumes do.
    pub poll: Duration,
    /// Sessions that are made before a version serves.
    pub warm: usize,
    /// Where pins are read and comparisons kept.
    pub results: Option<Volume>,
    /// What versions are compared on.
    pub frames: RecordedFrames,
}

impl Follow {
    /// Everything in a directory, with the usual times and without results.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            only: None,
            settle: Duration::from_millis(500),
            poll: Duration::from_secs(1),
            warm: 0,
            results: None,
            frames: RecordedFrames::default(),
        }
    }
}

/// A directory that is followed until this is dropped, which ends a check that is under way.
#[derive(Debug)]
pub struct ModelDirectory {
    directory: PathBuf,
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread makes known.
#[derive(Debug, Default)]
struct Shared {
    published: Mutex<Published>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Published {
    statuses: Vec<ModelStatus>,
    serving: BTreeMap<String, Arc<Serving>>,
    /// Names under which nothing can begin to serve as things are, and why.
    refused: BTreeMap<String, ModelError>,
    /// Why the directory cannot be read.
    unreadable: Option<String>,
}

impl ModelDirectory {
    /// Looks into the directory once, so that [`Self::snapshot`] tells what is in it, and follows it from then on. A
    /// directory that cannot be read may come later. Fails only if there is no thread to be had.
    pub fn start(follow: Follow, checker: impl Check + 'static, runtime: &Runtime) -> io::Result<Self> {
        let follow = Follow { directory: path::absolute(&follow.directory)?, ..follow };
        let (shared, signal) = (Arc::new(Shared::default()), Arc::new(Signal::default()));
        let directory = follow.directory.clone();
        let mut follower =
            Follower::new(follow, Box::new(checker), runtime.clone(), Arc::clone(&shared), Arc::clone(&signal));
        follower.look();
        let thread = thread::Builder::new().name("models".to_owned()).spawn(move || follower.run())?;
        Ok(Self { directory, shared, signal, thread: Some(thread) })
    }

    /// What new work with that name uses.
    pub fn current(&self, name: &str) -> Option<Arc<Serving>> {
        self.shared.published().serving.get(name).cloned()
    }

    /// Waits until a version of that name serves. Fails at once if all of them are refused, with the reason of the
    /// newest, if the pin cannot be read ([`ModelError::PinUnreadable`]), or if the pinned version is refused or not
    /// there ([`ModelError::PinUnmet`]); [`ModelError::NotFound`] when the time is over.
    pub fn wait_for(&self, name: &str, timeout: Duration) -> Result<Arc<Serving>, ModelError> {
        let deadline = Instant::now() + timeout;
        let mut published = self.shared.published();
        loop {
            if let Some(serving) = published.serving.get(name) {
                return Ok(Arc::clone(serving));
            }
            if let Some(error) = published.refused.get(name) {
                return Err(error.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(published.why_not(name, &self.directory));
            }
            let waited = self.shared.changed.wait_timeout(published, left);
            published = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until every version that is there was tried out, and tells how they stand; when the time is over, how they
    /// stand by then, as some never are where [`Follow::only`] is set. [`ModelError::NotFound`] if the directory cannot
    /// be read.
    pub fn wait_until_checked(&self, timeout: Duration) -> Result<Vec<ModelStatus>, ModelError> {
        let deadline = Instant::now() + timeout;
        let mut published = self.shared.published();
        loop {
            if published.unreadable.is_some() {
                return Err(published.why_not("", &self.directory));
            }
            let under_way = |status: &ModelStatus| matches!(status.state, State::Waiting | State::Checking);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !published.statuses.iter().any(under_way) {
                return Ok(published.statuses.clone());
            }
            let waited = self.shared.changed.wait_timeout(published, left);
            published = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Every version in the directory by name, oldest first; after those, some whose files are gone.
    pub fn snapshot(&self) -> Vec<ModelStatus> {
        self.shared.published().statuses.clone()
    }
}

impl Drop for ModelDirectory {
    fn drop(&mut self) {
        self.signal.stop();
        if let Some(thread) = self.thread.take() {
            // Whether it panicked was shown when it did.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn published(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Published {
    fn why_not(&self, name: &str, directory: &Path) -> ModelError {
        let shown = directory.display();
        if let Some(error) = &self.unreadable {
            return ModelError::NotFound {
                problem: format!("the model directory {shown} cannot be read: {error}"),
                remedy: "name another one with --models, or make it readable".to_owned(),
            };
        }
        if self.statuses.iter().any(|status| status.name == name && status.state != State::Retired) {
            return ModelError::NotFound {
                problem: format!("model {name} in {shown} is not ready yet"),
                remedy: "see `framefleet models list`, and try again".to_owned(),
            };
        }
        let mut names: Vec<&str> = self.statuses.iter().map(|status| status.name.as_str()).collect();
        names.dedup();
        let remedy = match names.len() {
            0 => format!("put {name}.onnx into it"),
            _ => format!("name one of {}, or put {name}.onnx into it", names.join(", ")),
        };
        ModelError::NotFound { problem: format!("there is no model {name:?} in {shown}"), remedy }
    }
}

#[cfg(test)]
mod tests;
