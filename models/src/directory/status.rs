use crate::{compare::Comparison, manifest::HeadFamily};
use framefleet_contract::{error_code::ErrorCode, identity::Sha256};
use serde::Serialize;

/// What is known of one version of a model in the directory.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelStatus {
    pub name: String,
    /// As its folder is called; `None` for a file without versions.
    pub version: Option<String>,
    #[serde(flatten)]
    pub state: State,
    /// Of the file that lies there now, where it was checked.
    pub sha256: Option<Sha256>,
    /// Whether new work uses this version.
    pub serving: bool,
    /// Of the model that serves: another one than `sha256` where the file was replaced and the new one is not ready.
    pub serving_sha256: Option<Sha256>,
    /// Whether the name is held at this version.
    pub pinned: bool,
    pub family: Option<HeadFamily>,
    /// With what served before it.
    pub comparison: Option<Comparison>,
}

/// Where a version is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// Somebody may still be writing its files.
    Waiting,
    /// It is being tried out.
    Checking,
    /// It may serve.
    Ready,
    /// It stays where it is, and is tried again when its files change.
    Refused { code: ErrorCode, reason: String },
    /// Its files are gone.
    Retired,
}

impl State {
    /// Its place in [`crate::metrics::STATES`].
    pub(super) fn index(&self) -> usize {
        match self {
            Self::Waiting => 0,
            Self::Checking => 1,
            Self::Ready => 2,
            Self::Refused { .. } => 3,
            Self::Retired => 4,
        }
    }
}
