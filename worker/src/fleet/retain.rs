//! Removes jobs that ended long ago, where a fleet's owner asked for that.

use super::announce::Announcer;
use crate::error::Result;
use crate::interrupt::Stop;
use framefleet_contract::retention::{Keep, delete, ended_jobs, expired};
use framefleet_contract::volume::Volume;
use std::time::SystemTime;

/// Removes what is not to be kept, from the volume and from what clients see.
pub fn remove_expired(volume: &Volume, keep: Keep, announcer: &Announcer, stop: &Stop) -> Result<usize> {
    let ended = ended_jobs(volume)?;
    let expired = expired(&ended, keep, SystemTime::now());
    for job in expired {
        stop.check()?;
        if delete(volume, &job.job_id)? {
            tracing::info!(job = %job.job_id, "removed: it ended long ago");
        }
        announcer.forget(&job.job_id, stop)?;
    }
    Ok(expired.len())
}
