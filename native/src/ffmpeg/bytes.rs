//! The bytes of a source that is open: of a file of this machine, or of one behind a URL.

use super::MediaError;
use super::limits::Limits;
use super::origin::Origin;
use framefleet_fetch::{FetchError, RemoteFile};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub(super) enum Bytes {
    /// With what it was when it was opened.
    Local(File, Metadata),
    Remote(Mutex<RemoteFile>),
}

/// Why bytes cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The operating system's error number.
    Failed(i32),
    Fetch(FetchError),
}

impl Bytes {
    pub(super) fn open(origin: &Origin, limits: Limits) -> Result<Self, MediaError> {
        let bytes = match origin {
            Origin::File(path) => Self::open_file(path)?,
            Origin::Url(remote) => Self::Remote(Mutex::new(remote.open())),
        };
        if bytes.len() > limits.read_bytes {
            let reason = format!("it has {} bytes", bytes.len());
            return Err(MediaError::BytesLimit { path: origin.shown().to_owned(), reason, limit: limits.read_bytes });
        }
        Ok(bytes)
    }

    /// Opens a regular file. Whatever took its place since it was looked at, this does not wait for it: a named pipe
    /// would have to be written to, and a device could do something.
    fn open_file(path: &Path) -> Result<Self, MediaError> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
        let file = options.open(path).map_err(|e| unreadable(path, &e))?;
        let opened = file.metadata().map_err(|e| unreadable(path, &e))?;
        if !opened.is_file() {
            return Err(MediaError::PathDenied { path: path.to_owned(), reason: "it is no regular file".to_owned() });
        }
        Ok(Self::Local(file, opened))
    }

    /// When it was opened.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Local(_, opened) => opened.len(),
            Self::Remote(remote) => remote.lock().unwrap_or_else(PoisonError::into_inner).size(),
        }
    }

    /// Some bytes at a position, `None` where a signal came first. What comes over a network comes within `time`.
    pub(super) fn read_at(&self, buffer: &mut [u8], position: u64, time: Duration) -> Result<Option<usize>, ReadError> {
        match self {
            Self::Local(file, _) => match file.read_at(buffer, position) {
                Ok(read) => Ok(Some(read)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
                Err(e) => Err(ReadError::Failed(e.raw_os_error().unwrap_or(libc::EIO))),
            },
            Self::Remote(remote) => {
                let mut remote = remote.lock().unwrap_or_else(PoisonError::into_inner);
                remote.read_at(buffer, position, time).map(Some).map_err(ReadError::Fetch)
            }
        }
    }

    /// Fails if it is no longer what it was when it was opened.
    pub(super) fn check_unchanged(&self, path: &Path, time: Duration) -> Result<(), MediaError> {
        let (file, opened) = match self {
            Self::Local(file, opened) => (file, opened),
            Self::Remote(remote) => {
                let mut remote = remote.lock().unwrap_or_else(PoisonError::into_inner);
                return remote.check_unchanged(time).map_err(MediaError::from);
            }
        };
        let now = file.metadata().map_err(|e| unreadable(path, &e))?;
        let difference = if now.len() != opened.len() {
            format!("{} bytes, was {}", now.len(), opened.len())
        } else if (now.mtime(), now.mtime_nsec()) != (opened.mtime(), opened.mtime_nsec()) {
            "written to while it was read".to_owned()
        } else {
            return Ok(());
        };
        Err(MediaError::Changed { path: path.to_owned(), difference })
    }
}

fn unreadable(path: &Path, error: &io::Error) -> MediaError {
    MediaError::Unreadable { path: path.to_owned(), reason: error.to_string() }
}
