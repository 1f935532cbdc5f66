//! Who works on what: a mark that is put before an attempt and removed after it. What stays was lost with its worker.
//!
//! A mark is touched every second as long as its worker lives, and compared with marks that are touched on the same volume,
//! so that no two machines' clocks need agree. A worker that stands still looks lost; it can do no harm when it wakes up,
//! since whatever it publishes is put if absent.
//!
//! Marks tell of processes, which the volume outlives: they are no results, and are not made to last.

use crate::volume::{self, Volume, VolumeError};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Between two touches of a mark.
pub const TOUCH_PERIOD: Duration = Duration::from_secs(1);
/// A mark that was not touched for so long is of a worker that is gone. Several touches may be late without harm.
const LIFETIME: Duration = Duration::from_secs(5);

/// A step of a job that a worker may be lost in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Plan,
    Segment(u32),
    Finish,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => f.write_str("plan"),
            Self::Segment(index) => write!(f, "{index:05}"),
            Self::Finish => f.write_str("finish"),
        }
    }
}

/// How many attempts before this one ended with their worker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Losses {
    pub lost: u32,
    /// Of these, those in which the worker did nothing else: only they say something about the work.
    pub alone: u32,
}

/// One worker at work on one step.
#[derive(Debug)]
pub struct Attempt {
    volume: Volume,
    /// Of the step's marks, relative to the volume.
    folder: PathBuf,
    worker: String,
    mark: PathBuf,
    pub losses: Losses,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mark {
    worker: String,
    alone: bool,
}

impl Attempt {
    pub(crate) fn begin(volume: &Volume, folder: &Path, worker: &str) -> Result<Self, VolumeError> {
        let mark = put(volume, folder, worker, false)?;
        let mut this = Self {
            volume: volume.clone(),
            folder: folder.to_owned(),
            worker: worker.to_owned(),
            mark,
            losses: Losses::default(),
        };
        this.losses = this.count_losses()?;
        Ok(this)
    }

    /// Says that from here on the worker does nothing else, so that its loss would be this step's doing.
    pub fn now_alone(&mut self) -> Result<(), VolumeError> {
        let before = std::mem::replace(&mut self.mark, put(&self.volume, &self.folder, &self.worker, true)?);
        remove(&before);
        Ok(())
    }

    fn count_losses(&self) -> Result<Losses, VolumeError> {
        let folder = self.volume.root().join(&self.folder);
        let entries = fs::read_dir(&folder).map_err(|e| volume::read_error(&folder, e))?;
        let now = modified(&self.mark)?;
        let mut losses = Losses::default();
        for entry in entries {
            let path = entry.map_err(|e| volume::read_error(&folder, e))?.path();
            // What vanishes while it is looked at was removed by its worker, and temporary files are no marks.
            let is_mark =
                path.file_name().is_some_and(|name| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok()));
            if path == self.mark || !is_mark {
                continue;
            }
            let (Ok(touched), Ok(bytes)) = (modified(&path), fs::read(&path)) else { continue };
            if now.duration_since(touched).is_ok_and(|age| age > LIFETIME) {
                losses.lost += 1;
                losses.alone += u32::from(serde_json::from_slice::<Mark>(&bytes).is_ok_and(|mark| mark.alone));
            }
        }
        Ok(losses)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        remove(&self.mark);
    }
}

/// Touches all marks of this process, as every process does that holds one for longer than a moment, and removes those that
/// could not be removed when their attempts ended.
pub fn touch_all() {
    let over: Vec<PathBuf> = marks_over().iter().cloned().collect();
    for mark in &over {
        remove(mark);
    }
    for mark in open_marks().iter() {
        // One that cannot be touched only looks lost. The time is the volume's own: over NFS, the server's.
        let _ = utimensat(CWD, mark, &NOW, AtFlags::empty());
    }
}

const NOW: Timestamps = {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Timestamps { last_access: now, last_modification: now }
};

fn put(volume: &Volume, folder: &Path, worker: &str, alone: bool) -> Result<PathBuf, VolumeError> {
    let mark = Mark { worker: worker.to_owned(), alone };
    let json = serde_json::to_vec(&mark).expect("a mark is a text and a flag");
    let folder = volume.root().join(folder);
    fs::create_dir_all(&folder).map_err(|e| volume::write_error(&folder, e))?;
    for n in 0_u32.. {
        let path = folder.join(n.to_string());
        match File::create_new(&path).map(|mut file| file.write_all(&json)) {
            Ok(Err(e)) => {
                let _ = fs::remove_file(&path);
                return Err(volume::write_error(&path, e));
            }
            Ok(Ok(())) => {
                open_marks().insert(path.clone());
                return Ok(path);
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(volume::write_error(&path, e)),
        }
    }
    unreachable!("a step is not attempted four billion times")
}

fn remove(mark: &Path) {
    open_marks().remove(mark);
    // One that stays would look like a loss.
    match volume::remove_if_there(mark) {
        Ok(()) => marks_over().remove(mark),
        Err(_) => marks_over().insert(mark.to_owned()),
    };
}

fn modified(path: &Path) -> Result<SystemTime, VolumeError> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).map_err(|e| volume::read_error(path, e))
}

/// Marks whose attempts are over, and that are still there.
fn marks_over() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static MARKS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    MARKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The marks of this process.
fn open_marks() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static MARKS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    MARKS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::JobId;
    use crate::job_folder::JobFolder;

    fn folder() -> (tempfile::TempDir, JobFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = JobFolder::new(&Volume::open(root.path()).unwrap(), &JobId::new("j").unwrap());
        (root, folder)
    }

    /// Leaves the mark as a worker does that was killed some time ago.
    fn lose(attempt: Attempt) {
        let mark = attempt.mark.clone();
        std::mem::forget(attempt);
        open_marks().remove(&mark);
        File::options().write(true).open(&mark).unwrap().set_modified(SystemTime::now() - 2 * LIFETIME).unwrap();
    }

    #[test]
    fn an_attempt_that_ends_leaves_no_mark_and_one_that_is_lost_does() {
        let (_root, folder) = folder();
        drop(folder.begin_attempt(Step::Segment(0), "a").unwrap());
        let lost = folder.begin_attempt(Step::Segment(0), "a").unwrap();
        assert_eq!(lost.losses, Losses::default());
        lose(lost);
        assert_eq!(folder.begin_attempt(Step::Segment(0), "a").unwrap().losses, Losses { lost: 1, alone: 0 });
        assert_eq!(folder.begin_attempt(Step::Segment(1), "a").unwrap().losses, Losses::default());
        assert_eq!(folder.begin_attempt(Step::Plan, "a").unwrap().losses, Losses::default());
    }

    #[test]
    fn what_somebody_else_is_at_is_not_lost() {
        let (_root, folder) = folder();
        let running = folder.begin_attempt(Step::Finish, "a").unwrap();
        assert_eq!(folder.begin_attempt(Step::Finish, "b").unwrap().losses, Losses::default());
        drop(running);
    }

    #[test]
    fn a_mark_that_is_touched_lives() {
        let (_root, folder) = folder();
        let running = folder.begin_attempt(Step::Plan, "a").unwrap();
        let old = SystemTime::now() - 2 * LIFETIME;
        File::options().write(true).open(&running.mark).unwrap().set_modified(old).unwrap();
        assert_eq!(folder.begin_attempt(Step::Plan, "b").unwrap().losses.lost, 1);
        touch_all();
        assert_eq!(folder.begin_attempt(Step::Plan, "b").unwrap().losses.lost, 0);
    }

    #[test]
    fn losses_alone_are_told_from_others() {
        let (_root, folder) = folder();
        lose(folder.begin_attempt(Step::Segment(7), "a").unwrap());
        for _ in 0..2 {
            let mut attempt = folder.begin_attempt(Step::Segment(7), "a").unwrap();
            attempt.now_alone().unwrap();
            lose(attempt);
        }
        assert_eq!(folder.begin_attempt(Step::Segment(7), "a").unwrap().losses, Losses { lost: 3, alone: 2 });
    }
}
