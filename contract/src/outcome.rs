//! How a job ended. The first outcome that is put wins, and a reader trusts only the files that it lists.

use crate::error_code::ErrorCode;
use crate::identity::{JobId, Sha256};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Stored as `outcome.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "FrameFleet: how a job ended, outcome.json and a message of the topic outcomes")]
pub struct Outcome {
    /// 1 today. Whoever reads ignores what a later version adds.
    pub version: u32,
    pub job_id: JobId,
    pub state: State,
    /// Present when the state is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Whatever else lies in the job's folder is not to be trusted.
    pub files: Vec<PublishedFile>,
    /// Of the request that a client sent to a fleet, so that whoever sent another one under the same id sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_sha256: Option<Sha256>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Succeeded,
    Failed,
    Cancelled,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    pub code: ErrorCode,
    /// What was wrong, with what, and what to do.
    pub message: String,
}

/// A file of the job's folder, as read back after it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublishedFile {
    /// Relative to the job's folder.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    pub sha256: Sha256,
    /// Of a Parquet file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}
