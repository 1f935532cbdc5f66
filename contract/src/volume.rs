//! Publishing by put-if-absent: the only way in which a durable file comes to be.
//!
//! A file is written under a temporary name in the folder it will live in, fsynced, hard-linked to its final name, and
//! the folder is fsynced. `link(2)` never replaces anything, so whoever comes second finds the file there, whole, and
//! can neither damage nor overwrite it. A process may be killed between any two of these steps: what it leaves is a
//! temporary file, which [`Volume::sweep`] removes once it is a day old.

use crate::error_code::ErrorCode;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// What every temporary file's name begins with.
const TEMPORARY_PREFIX: &str = ".tmp-";
/// A temporary file that was not written to for this long belongs to no living process.
const TEMPORARY_LIFETIME: Duration = Duration::from_hours(24);

/// Permissions, before the umask takes from them.
const FOR_ALL: u32 = 0o666;
const FOR_OWNER: u32 = 0o600;

/// A folder of results on which publishing was seen to work.
#[derive(Debug, Clone)]
pub struct Volume {
    root: PathBuf,
}

/// Whose file is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Ours.
    Published,
    /// Somebody else's, who was first. Read it back: it is the truth.
    AlreadyThere,
}

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("no space left on the volume of {path}; free some, or choose another folder with --out, and run again")]
    Full { path: PathBuf, source: io::Error },
    #[error("{path} cannot be written ({source}); choose another folder with --out, or make it writable")]
    ReadOnly { path: PathBuf, source: io::Error },
    #[error(
        "the volume of {path} has no hard links ({source}), which publishing rests on; choose another one with --out"
    )]
    Unsupported { path: PathBuf, source: io::Error },
    #[error("cannot {action} {path}: {source}; check the path and its disk")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl VolumeError {
    fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { path, source },
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Self::ReadOnly { path, source },
            _ => Self::Io { action, path, source },
        }
    }

    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Full { .. } => ErrorCode::VolumeFull,
            Self::ReadOnly { .. } => ErrorCode::VolumeReadOnly,
            Self::Unsupported { .. } => ErrorCode::VolumeUnsupported,
            Self::Io { .. } => ErrorCode::VolumeIo,
        }
    }
}

impl Volume {
    /// Creates the folder where it is missing, and tries out on it everything that publishing needs.
    pub fn open(root: &Path) -> Result<Self, VolumeError> {
        fs::create_dir_all(root).map_err(|e| VolumeError::new("create", root, e))?;
        let root = root.canonicalize().map_err(|e| VolumeError::new("resolve", root, e))?;
        let volume = Self { root };
        sweep_files(&volume.root)?;
        volume.check()?;
        Ok(volume)
    }

    /// A folder that need not be there yet, for whoever reads: nothing is created or tried out.
    pub fn assume(root: &Path) -> Result<Self, VolumeError> {
        let root = std::path::absolute(root).map_err(|e| VolumeError::new("resolve", root, e))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Publishes `bytes` under `path`, which is relative to the root.
    pub fn put(&self, path: &Path, bytes: &[u8]) -> Result<Put, VolumeError> {
        self.put_as(FOR_ALL, path, bytes)
    }

    /// The same for what nobody but its owner may read.
    pub fn put_secret(&self, path: &Path, bytes: &[u8]) -> Result<Put, VolumeError> {
        self.put_as(FOR_OWNER, path, bytes)
    }

    fn put_as(&self, mode: u32, path: &Path, bytes: &[u8]) -> Result<Put, VolumeError> {
        let mut staged = self.stage_as(mode, path)?;
        staged.file.write_all(bytes).map_err(|e| VolumeError::new("write", &staged.target, e))?;
        staged.publish()
    }

    /// Creates a folder that lasts. `path` is relative to the root.
    pub fn create_folder(&self, path: &Path) -> Result<(), VolumeError> {
        create_folders(&self.root, &self.root.join(path))
    }

    /// Begins a file that will be published under `path`, which is relative to the root.
    pub fn stage(&self, path: &Path) -> Result<Staged, VolumeError> {
        self.stage_as(FOR_ALL, path)
    }

    fn stage_as(&self, mode: u32, path: &Path) -> Result<Staged, VolumeError> {
        let target = self.root.join(path);
        let folder = target.parent().unwrap_or(&self.root).to_owned();
        create_folders(&self.root, &folder)?;
        let file = temporary_in(&folder, mode)?;
        Ok(Staged { file, target, folder })
    }

    /// Whether something is published under `path`, which is relative to the root.
    pub fn has(&self, path: &Path) -> Result<bool, VolumeError> {
        let path = self.root.join(path);
        path.try_exists().map_err(|e| read_error(&path, e))
    }

    /// The share of the file system that is free for this process, 0 to 1.
    pub fn free_share(&self) -> Result<f64, VolumeError> {
        let found = rustix::fs::statvfs(&self.root).map_err(|e| read_error(&self.root, e.into()))?;
        Ok(found.f_bavail as f64 / found.f_blocks.max(1) as f64)
    }

    /// Removes the temporary files and folders in `folder` itself that no living process can own.
    pub fn sweep_one(&self, folder: &Path) -> Result<(), VolumeError> {
        sweep_files(&self.root.join(folder)).map(|_| ())
    }

    /// Removes the temporary files in `folder` and below that no living process can own.
    pub fn sweep(&self, folder: &Path) -> Result<(), VolumeError> {
        for folder in sweep_files(&self.root.join(folder))? {
            self.sweep(&folder)?;
        }
        Ok(())
    }

    /// Tries out everything that publishing needs. Hard links are what a FAT or an object-store mount lacks; fsync is what
    /// some FUSE mounts refuse.
    pub fn check(&self) -> Result<(), VolumeError> {
        let mut file = temporary_in(&self.root, FOR_ALL)?;
        let path = file.path().to_owned();
        file.write_all(b"probe").map_err(|e| VolumeError::new("write", &path, e))?;
        file.as_file().sync_all().map_err(|e| VolumeError::new("fsync", &path, e))?;
        let link = path.with_extension("link");
        link_if_absent(&path, &link).map_err(|source| match source.kind() {
            // The file itself could be made in this folder, so that it is the link alone which is not permitted.
            ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::TooManyLinks => {
                VolumeError::Unsupported { path: self.root.clone(), source }
            }
            _ => VolumeError::new("link", &path, source),
        })?;
        remove_if_there(&link)?;
        sync_folder(&self.root)
    }
}

/// A file under its temporary name. Dropped without [`Staged::publish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Staged {
    file: NamedTempFile,
    target: PathBuf,
    folder: PathBuf,
}

impl Staged {
    /// Where a foreign library may write the content. It is fsynced by name when it is published.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Another handle to the content, for a writer that keeps what it writes to.
    pub fn handle(&self) -> Result<File, VolumeError> {
        self.file.as_file().try_clone().map_err(|e| VolumeError::new("open", &self.target, e))
    }

    /// Makes the content durable and gives it its name, unless the name is taken.
    pub fn publish(self) -> Result<Put, VolumeError> {
        let temporary = self.file.path();
        self.file.as_file().sync_all().map_err(|e| VolumeError::new("fsync", &self.target, e))?;
        let put = link_if_absent(temporary, &self.target).map_err(|e| VolumeError::new("link", &self.target, e))?;
        sync_folder(&self.folder)?;
        Ok(put)
    }
}

impl Write for Staged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The error of a write into a [`Staged`] file, as this module's own.
pub fn write_error(path: &Path, source: io::Error) -> VolumeError {
    VolumeError::new("write", path, source)
}

/// The error of reading a published file, as this module's own.
pub fn read_error(path: &Path, source: io::Error) -> VolumeError {
    VolumeError::Io { action: "read", path: path.to_owned(), source }
}

/// Removes a file that may be gone already.
pub fn remove_if_there(path: &Path) -> Result<(), VolumeError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(VolumeError::new("remove", path, e)),
        _ => Ok(()),
    }
}

/// A name beside `path` under which it is removed, and swept if that is cut off.
pub(crate) fn doomed_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Processes in containers may all have the same number.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    path.with_file_name(format!("{TEMPORARY_PREFIX}{}-{}-{name}", std::process::id(), now.as_nanos()))
}

fn temporary_in(folder: &Path, mode: u32) -> Result<NamedTempFile, VolumeError> {
    tempfile::Builder::new()
        .prefix(TEMPORARY_PREFIX)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)
        .map_err(|e| VolumeError::new("create a file in", folder, e))
}

fn link_if_absent(file: &Path, name: &Path) -> io::Result<Put> {
    match fs::hard_link(file, name) {
        Ok(()) => Ok(Put::Published),
        // Over NFS a link may succeed and its answer be lost: only the file itself says whose it is.
        Err(_) if is_same_file(file, name) => Ok(Put::Published),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(Put::AlreadyThere),
        Err(e) => Err(e),
    }
}

/// Creates the folders from `root` down to `folder`, each made durable in its parent.
fn create_folders(root: &Path, folder: &Path) -> Result<(), VolumeError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| parent.starts_with(root)) {
        create_folders(root, parent)?;
    }
    match fs::create_dir(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(VolumeError::new("create", folder, e)),
        _ => {}
    }
    sync_folder(folder.parent().unwrap_or(root)).inspect_err(|_| {
        // Whoever finds the folder takes it for durable. If something is in it by now, somebody else has seen to that.
        let _ = fs::remove_dir(folder);
    })
}

/// Removes old temporary files in one folder, and gives the folders in it.
fn sweep_files(folder: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(VolumeError::new("list", folder, e)),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| VolumeError::new("list", folder, e))?;
        let temporary = entry.file_name().to_string_lossy().starts_with(TEMPORARY_PREFIX);
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if temporary && is_older_than(&entry.path(), TEMPORARY_LIFETIME) {
                fs::remove_dir_all(entry.path()).map_err(|e| VolumeError::new("remove", &entry.path(), e))?;
            } else {
                folders.push(entry.path());
            }
        } else if temporary && is_older_than(&entry.path(), TEMPORARY_LIFETIME) {
            remove_if_there(&entry.path())?;
        }
    }
    Ok(folders)
}

fn sync_folder(folder: &Path) -> Result<(), VolumeError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(|e| VolumeError::new("fsync", folder, e))
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    match (fs::symlink_metadata(a), fs::symlink_metadata(b)) {
        (Ok(a), Ok(b)) => a.dev() == b.dev() && a.ino() == b.ino(),
        _ => false,
    }
}

fn is_older_than(path: &Path, age: Duration) -> bool {
    let modified = fs::symlink_metadata(path).and_then(|m| m.modified());
    modified.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|since| since > age))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> (tempfile::TempDir, Volume) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        (folder, volume)
    }

    fn names_in(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn whoever_is_second_changes_nothing() {
        let (_folder, volume) = volume();
        let path = Path::new("jobs/a/outcome.json");
        assert_eq!(volume.put(path, b"first").unwrap(), Put::Published);
        assert_eq!(volume.put(path, b"second").unwrap(), Put::AlreadyThere);
        assert_eq!(fs::read(volume.root().join(path)).unwrap(), b"first");
    }

    #[test]
    fn a_secret_is_its_owners_alone() {
        let (_folder, volume) = volume();
        volume.put_secret(Path::new("secret"), b"x").unwrap();
        let metadata = fs::metadata(volume.root().join("secret")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn nothing_but_the_published_file_is_left() {
        let (_folder, volume) = volume();
        volume.put(Path::new("a"), b"x").unwrap();
        volume.put(Path::new("a"), b"y").unwrap();
        drop(volume.stage(Path::new("b")).unwrap());
        assert_eq!(names_in(volume.root()), ["a"]);
    }

    #[test]
    fn of_many_writers_exactly_one_publishes() {
        let (_folder, volume) = volume();
        let puts: Vec<Put> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8u8)
                .map(|i| {
                    let volume = &volume;
                    scope.spawn(move || volume.put(Path::new("x/y"), &[i; 4096]).unwrap())
                })
                .collect();
            writers.into_iter().map(|w| w.join().unwrap()).collect()
        });
        assert_eq!(puts.iter().filter(|put| **put == Put::Published).count(), 1);
        let bytes = fs::read(volume.root().join("x/y")).unwrap();
        assert!(bytes.len() == 4096 && bytes.iter().all(|b| *b == bytes[0]));
    }

    #[test]
    fn sweeping_takes_old_temporary_files_only() {
        let (folder, volume) = volume();
        let old = SystemTime::now() - Duration::from_hours(25);
        fs::create_dir(folder.path().join("below")).unwrap();
        for (name, is_old) in [(".tmp-old", true), (".tmp-new", false), ("result", true), ("below/.tmp-old", true)] {
            let file = File::create(folder.path().join(name)).unwrap();
            if is_old {
                file.set_modified(old).unwrap();
            }
        }
        volume.sweep(Path::new("")).unwrap();
        let mut left = names_in(folder.path());
        left.sort();
        assert_eq!(left, [".tmp-new", "below", "result"]);
        assert_eq!(names_in(&folder.path().join("below")), [""; 0]);
    }

    #[test]
    fn a_root_below_a_file_is_an_error_with_a_code() {
        let (folder, _volume) = volume();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        assert_eq!(Volume::open(&file.join("out")).unwrap_err().code(), ErrorCode::VolumeIo);
    }

    #[test]
    fn a_full_device_is_a_full_volume() {
        let error = VolumeError::new("write", Path::new("x"), io::Error::from_raw_os_error(28));
        assert_eq!(error.code(), ErrorCode::VolumeFull);
    }
}
