//! Who wakes the thread that follows a directory: the file system, where it can, and whoever wants it to stop.

use notify::{
    Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{ModifyKind, RenameMode},
};
use std::{
    collections::HashSet,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

/// What is renamed beyond this between two looks into the directory has to settle like everything else.
const RENAMES: usize = 1024;

/// Wakes one thread.
#[derive(Debug, Default)]
pub(super) struct Signal {
    state: Mutex<Told>,
    woken: Condvar,
}

#[derive(Debug, Default)]
struct Told {
    changed: bool,
    stopped: bool,
    renamed: HashSet<PathBuf>,
}

impl Signal {
    pub(super) fn stop(&self) {
        self.told().stopped = true;
        self.woken.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.told().stopped
    }

    pub(super) fn is_changed(&self) -> bool {
        self.told().changed
    }

    /// Waits until that time, or until something changed.
    pub(super) fn wait_until(&self, until: Instant) {
        self.wait(until, |told| told.changed || told.stopped);
    }

    /// Waits until that time whatever changes.
    pub(super) fn rest_until(&self, until: Instant) {
        self.wait(until, |told| told.stopped);
    }

    /// What was renamed to, since the last call. Everything that was told before counts as seen.
    pub(super) fn take(&self) -> HashSet<PathBuf> {
        let mut told = self.told();
        told.changed = false;
        std::mem::take(&mut told.renamed)
    }

    fn change(&self, renamed: Option<PathBuf>) {
        let mut told = self.told();
        told.changed = true;
        if told.renamed.len() < RENAMES {
            told.renamed.extend(renamed);
        }
        drop(told);
        self.woken.notify_all();
    }

    fn wait(&self, until: Instant, is_over: impl Fn(&Told) -> bool) {
        let timeout = until.saturating_duration_since(Instant::now());
        let waited = self.woken.wait_timeout_while(self.told(), timeout, |told| !is_over(told));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file system's events for a directory, as long as it is the same directory.
#[derive(Debug, Default)]
pub(super) struct Watch {
    directory: Option<Identity>,
    watcher: Option<RecommendedWatcher>,
}

/// What tells a directory from another one that came to the same path.
type Identity = (PathBuf, u64, u64, Option<SystemTime>);

impl Watch {
    /// Begins to watch, unless it is being watched. A directory that cannot be watched is only looked at.
    pub(super) fn ensure(&mut self, directory: &Path, signal: &Arc<Signal>) {
        let Ok(identity) = identity(directory) else { return };
        if self.directory.as_ref() == Some(&identity) {
            return;
        }
        // The old one goes first: there is a limit to how much is watched.
        self.watcher = None;
        let watcher = watch(directory, &identity.0, signal);
        self.watcher = watcher
            .inspect_err(|error| {
                tracing::info!(directory = %directory.display(), %error, "the directory cannot be watched; it is polled");
            })
            .ok();
        self.directory = Some(identity);
    }
}

fn identity(directory: &Path) -> io::Result<Identity> {
    let real = directory.canonicalize()?;
    let metadata = fs::metadata(&real)?;
    Ok((real, metadata.dev(), metadata.ino(), metadata.created().ok()))
}

fn watch(directory: &Path, real: &Path, signal: &Arc<Signal>) -> notify::Result<RecommendedWatcher> {
    let (shown, root, signal) = (directory.to_owned(), real.to_owned(), Arc::clone(signal));
    let handler = move |event: notify::Result<Event>| {
        // An error is a change too: whatever was missed is seen by looking.
        let renamed = match event {
            Ok(Event { kind: EventKind::Access(_), .. }) => return,
            Ok(event) => renamed_to(event),
            Err(_) => None,
        };
        signal.change(renamed.and_then(|path| Some(shown.join(path.strip_prefix(&root).ok()?))));
    };
    // A link may lead to the root of the file system.
    let mut watcher = RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(false))?;
    watcher.watch(real, RecursiveMode::Recursive)?;
    Ok(watcher)
}

fn renamed_to(mut event: Event) -> Option<PathBuf> {
    match event.kind {
        EventKind::Modify(ModifyKind::Name(RenameMode::To)) => event.paths.pop(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn wait_for(signal: &Signal, mut is_it: impl FnMut(HashSet<PathBuf>) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            signal.wait_until(deadline);
            assert!(signal.is_changed(), "nothing was told");
            if is_it(signal.take()) {
                return;
            }
        }
    }

    #[test]
    fn writes_and_renames_are_told_by_the_name_that_the_directory_was_given() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        fs::create_dir(&real).unwrap();
        let linked = folder.path().join("linked");
        std::os::unix::fs::symlink(&real, &linked).unwrap();
        let (signal, mut watch) = (Arc::new(Signal::default()), Watch::default());
        watch.ensure(&linked, &signal);
        assert!(watch.watcher.is_some());
        fs::write(real.join("x.part"), "x").unwrap();
        wait_for(&signal, |renamed| renamed.is_empty());
        fs::rename(real.join("x.part"), real.join("x.onnx")).unwrap();
        wait_for(&signal, |renamed| renamed.contains(&linked.join("x.onnx")));
    }

    #[test]
    fn reading_wakes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x"), "x").unwrap();
        let (signal, mut watch) = (Arc::new(Signal::default()), Watch::default());
        watch.ensure(folder.path(), &signal);
        fs::read(folder.path().join("x")).unwrap();
        // That nothing comes can only be waited for so long.
        signal.wait_until(Instant::now() + Duration::from_millis(200));
        assert!(!signal.is_changed());
    }

    #[test]
    fn a_directory_that_came_back_is_watched_again() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("models");
        let (signal, mut watch) = (Arc::new(Signal::default()), Watch::default());
        fs::create_dir(&directory).unwrap();
        watch.ensure(&directory, &signal);
        fs::remove_dir(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        watch.ensure(&directory, &signal);
        signal.take();
        fs::write(folder.path().join("x"), "x").unwrap();
        fs::rename(folder.path().join("x"), directory.join("x")).unwrap();
        wait_for(&signal, |renamed| renamed.contains(&directory.join("x")));
    }
}
