//! The fast word to all workers about one job: a message of `control`, which is compacted.

use super::OfJob;
use crate::identity::JobId;
use crate::request::VERSION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The key is the job's id. It is taken back by a message without a value once the job has its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "FrameFleet: a message of the topic control")]
pub struct Control {
    /// 1 today. Whoever reads ignores what a later version adds.
    pub version: u32,
    pub job_id: JobId,
    pub action: Action,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Stop working on it.
    Cancel,
    /// Something that this program does not know yet.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl Control {
    pub fn cancel(job_id: JobId) -> Self {
        Self { version: VERSION, job_id, action: Action::Cancel }
    }
}

impl OfJob for Control {
    fn job_id(&self) -> &JobId {
        &self.job_id
    }
}
