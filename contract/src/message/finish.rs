//! Word that a segment is published: a message of `finish`.

use super::OfJob;
use crate::identity::JobId;
use crate::request::VERSION;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The key is the job's id, so that one worker hears of all segments of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "FrameFleet: a message of the topic finish")]
pub struct Finish {
    /// 1 today. Whoever reads ignores what a later version adds.
    pub version: u32,
    pub job_id: JobId,
    /// The segment that is published now; absent where the job is only to be looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<u32>,
}

impl Finish {
    pub fn of_segment(job_id: JobId, segment: u32) -> Self {
        Self { version: VERSION, job_id, segment: Some(segment) }
    }

    /// Asks that somebody looks whether the job can be finished.
    pub fn look(job_id: JobId) -> Self {
        Self { version: VERSION, job_id, segment: None }
    }
}

impl OfJob for Finish {
    fn job_id(&self) -> &JobId {
        &self.job_id
    }
}
