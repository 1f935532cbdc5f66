//! How a job ended. The first outcome that is put wins, and a reader trusts only the files that it lists.

use crate::error_code::ErrorCode;
use crate::identity::{JobId, Sha256};
use serde::{Deserialize, Serialize};

/// Stored as `outcome.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub version: u32,
    pub job_id: JobId,
    pub state: State,
    /// Present when the state is `failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    pub files: Vec<PublishedFile>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Succeeded,
    Failed,
    Cancelled,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub code: ErrorCode,
    /// What was wrong, with what, and what to do.
    pub message: String,
}

/// A file of the job's folder, as read back after it was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedFile {
    /// Relative to the job's folder.
    pub path: String,
    pub bytes: u64,
    pub sha256: Sha256,
    /// Of a Parquet file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}
