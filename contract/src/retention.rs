//! Removing jobs that have ended: each by hand, or by age and by count.

use crate::identity::JobId;
use crate::job_folder::{JobFolder, JobFolderError, OUTCOME};
use crate::volume::{self, Volume, VolumeError};
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, SystemTime};

/// Which jobs are kept. A job that has no outcome always is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Those that ended within this time.
    pub age: Option<Duration>,
    /// The last ones.
    pub count: Option<usize>,
}

/// A job that has its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedJob {
    pub job_id: JobId,
    /// By the volume's clock.
    pub ended: SystemTime,
}

/// All jobs that have their outcome, the oldest first.
pub fn ended_jobs(volume: &Volume) -> Result<Vec<EndedJob>, VolumeError> {
    let folder = volume.root().join(JobFolder::ALL);
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(volume::read_error(&folder, e)),
    };
    let mut ended = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| volume::read_error(&folder, e))?;
        let Some(job_id) = entry.file_name().into_string().ok().and_then(|name| JobId::new(name).ok()) else {
            continue;
        };
        if let Ok(at) = fs::metadata(entry.path().join(OUTCOME)).and_then(|outcome| outcome.modified()) {
            ended.push(EndedJob { job_id, ended: at });
        }
    }
    ended.sort_by(|a, b| a.ended.cmp(&b.ended).then_with(|| a.job_id.cmp(&b.job_id)));
    Ok(ended)
}

/// Of these jobs, the oldest first, those that are not to be kept.
pub fn expired(ended: &[EndedJob], keep: Keep, now: SystemTime) -> &[EndedJob] {
    let too_many = keep.count.map_or(0, |count| ended.len().saturating_sub(count));
    let is_old =
        |job: &EndedJob| keep.age.is_some_and(|age| now.duration_since(job.ended).is_ok_and(|since| since > age));
    let too_old = ended.iter().take_while(|job| is_old(job)).count();
    &ended[..too_many.max(too_old)]
}

/// Removes a job and all its files. `false` if there was none.
///
/// # Errors
/// It has no outcome: somebody may be at work on it.
pub fn delete(volume: &Volume, job_id: &JobId) -> Result<bool, JobFolderError> {
    let folder = JobFolder::new(volume, job_id);
    let path = folder.path();
    if !path.is_dir() {
        return Ok(false);
    }
    if !folder.has(OUTCOME)? {
        return Err(JobFolderError::NotEnded { job_id: job_id.clone() });
    }
    // At once under another name, so that nobody finds a part of it. What a killed process leaves is swept.
    let doomed = volume::doomed_name(&path);
    fs::rename(&path, &doomed).map_err(|e| volume::write_error(&path, e))?;
    fs::remove_dir_all(&doomed).map_err(|e| volume::write_error(&doomed, e))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Outcome, State};

    fn end(volume: &Volume, id: &str) -> JobId {
        let job_id = JobId::new(id).unwrap();
        let outcome = Outcome {
            version: 1,
            job_id: job_id.clone(),
            state: State::Cancelled,
            error: None,
            files: Vec::new(),
            request_sha256: None,
        };
        JobFolder::new(volume, &job_id).put_outcome(&outcome).unwrap();
        job_id
    }

    fn job(id: &str, seconds_ago: u64, now: SystemTime) -> EndedJob {
        EndedJob { job_id: JobId::new(id).unwrap(), ended: now - Duration::from_secs(seconds_ago) }
    }

    #[test]
    fn the_oldest_go_first_by_age_or_by_count() {
        let now = SystemTime::now();
        let jobs = [job("a", 300, now), job("b", 200, now), job("c", 100, now)];
        let gone = |age: Option<u64>, count| {
            let keep = Keep { age: age.map(Duration::from_secs), count };
            expired(&jobs, keep, now).iter().map(|job| job.job_id.as_str()).collect::<String>()
        };
        assert_eq!(gone(None, None), "");
        assert_eq!(gone(Some(250), None), "a");
        assert_eq!(gone(None, Some(1)), "ab");
        assert_eq!(gone(Some(250), Some(1)), "ab");
        assert_eq!(gone(Some(50), Some(5)), "abc");
    }

    #[test]
    fn only_what_has_ended_can_be_deleted() {
        let root = tempfile::tempdir().unwrap();
        let volume = Volume::open(root.path()).unwrap();
        let ended = end(&volume, "ended");
        let running = JobId::new("running").unwrap();
        volume.put(std::path::Path::new("jobs/running/request.json"), b"{}").unwrap();
        assert_eq!(ended_jobs(&volume).unwrap().iter().map(|job| &job.job_id).collect::<Vec<_>>(), [&ended]);
        assert!(delete(&volume, &ended).unwrap());
        assert!(!delete(&volume, &ended).unwrap());
        assert!(matches!(delete(&volume, &running), Err(JobFolderError::NotEnded { .. })));
        assert!(JobFolder::new(&volume, &running).path().is_dir());
        assert_eq!(fs::read_dir(root.path().join("jobs")).unwrap().count(), 1);
    }
}
