//! How far a job has come: a message of `status`, which is compacted. An outcome counts more than any status.

use super::OfJob;
use crate::identity::{JobId, Sha256};
use crate::request::ModelRef;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key is the job's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "FrameFleet: a message of the topic status")]
pub struct Status {
    /// 1 today. Whoever reads ignores what a later version adds.
    pub version: u32,
    pub job_id: JobId,
    pub progress: Progress,
    /// Without credentials.
    pub source: String,
    pub model: ModelRef,
    /// The lane in which its segments wait.
    pub queue: String,
    /// The words that came with the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When the result is needed, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// Of the request, so that whoever sent another one under the same id sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_sha256: Option<Sha256>,
}

/// How far it is. Later is greater: a reader that keeps the greatest never sees a job go backwards, whoever speaks late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The number of the plan's first segment: a plan that takes another one's place begins behind that one's last.
    pub plan: u32,
    pub step: Step,
    /// Segments that are published.
    pub segments_done: u32,
    /// Segments that the plan has.
    pub segments: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Its segments wait or are worked on.
    Detecting,
    /// All segments are published; the tracks are made of them.
    Tracking,
}

impl OfJob for Status {
    fn job_id(&self) -> &JobId {
        &self.job_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_is_greater_even_when_a_plan_was_replaced() {
        let at = |plan, step, segments_done, segments| Progress { plan, step, segments_done, segments };
        let in_order = [
            at(0, Step::Detecting, 0, 9),
            at(0, Step::Detecting, 8, 9),
            at(0, Step::Tracking, 9, 9),
            at(1, Step::Detecting, 0, 1),
            at(1, Step::Tracking, 1, 1),
        ];
        assert!(in_order.is_sorted());
    }
}
