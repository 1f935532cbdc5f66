//! Removes jobs that ended long ago, where a fleet's owner asked for that, and what processes left that were killed while
//! they removed one.

use super::announce::Announcer;
use crate::error::Result;
use crate::interrupt::Stop;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::retention::{Keep, delete, ended_jobs, expired};
use framefleet_contract::volume::Volume;
use std::path::Path;
use std::time::SystemTime;

/// Removes what is not to be kept, from the volume and from what clients see. A job that cannot be removed is passed over.
pub fn remove_expired(volume: &Volume, keep: Keep, announcer: &Announcer, stop: &Stop) -> Result<()> {
    volume.sweep_one(Path::new(JobFolder::ALL))?;
    let ended = ended_jobs(volume)?;
    for job in expired(&ended, keep, SystemTime::now()) {
        stop.check()?;
        match delete(volume, &job.job_id) {
            Ok(_) => {
                tracing::info!(job = %job.job_id, "removed: it ended long ago");
                announcer.forget(&job.job_id, stop)?;
            }
            Err(error) => tracing::warn!(job = %job.job_id, "not removed: {error}"),
        }
    }
    Ok(())
}
