//! The one file that FFmpeg reads: as long as it was when it was opened, and only so much of it as is allowed.

use super::MediaError;
use super::limits::Limits;
use super::pulse::{Pulse, Work};
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What FFmpeg reads from.
#[derive(Debug)]
pub(super) struct SourceFile {
    watch: Arc<Watch>,
    position: u64,
    read: u64,
}

/// What is known of the file outside of FFmpeg.
#[derive(Debug)]
pub(super) struct Watch {
    pub pulse: Arc<Pulse>,
    file: File,
    path: PathBuf,
    /// When it was opened.
    opened: Metadata,
    limits: Limits,
    /// Why it was not read further.
    refused: Mutex<Option<Refusal>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Bytes,
    Late,
    /// The operating system's error number.
    Failed(i32),
}

impl SourceFile {
    /// Opens a regular file. Whatever took its place since it was looked at, this does not wait for it: a named pipe
    /// would have to be written to, and a device could do something.
    pub(super) fn open(path: &Path, limits: Limits) -> Result<Self, MediaError> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
        let unreadable = |e: io::Error| MediaError::Unreadable { path: path.to_owned(), reason: e.to_string() };
        let file = options.open(path).map_err(unreadable)?;
        let opened = file.metadata().map_err(unreadable)?;
        if !opened.is_file() {
            return Err(MediaError::PathDenied { path: path.to_owned(), reason: "it is no regular file".to_owned() });
        }
        if opened.len() > limits.read_bytes {
            let reason = format!("it has {} bytes", opened.len());
            return Err(MediaError::BytesLimit { path: path.to_owned(), reason, limit: limits.read_bytes });
        }
        let pulse = Pulse::new(Work::Read, path, limits.stall_s);
        let watch = Watch { pulse, file, path: path.to_owned(), opened, limits, refused: Mutex::new(None) };
        Ok(Self { watch: Arc::new(watch), position: 0, read: 0 })
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }

    fn refuse<T>(&self, refusal: Refusal) -> io::Result<T> {
        *self.watch.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        Err(match refusal {
            Refusal::Bytes => io::ErrorKind::FileTooLarge.into(),
            Refusal::Late => io::ErrorKind::TimedOut.into(),
            Refusal::Failed(errno) => io::Error::from_raw_os_error(errno),
        })
    }
}

impl Read for SourceFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.pulse.is_late() {
            return self.refuse(Refusal::Late);
        }
        // What is added to the file while it is read is not part of it.
        let left = self.watch.len().saturating_sub(self.position);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if self.read.saturating_add(wanted as u64) > self.watch.limits.pass_bytes() {
            return self.refuse(Refusal::Bytes);
        }
        match self.watch.file.read_at(&mut buffer[..wanted], self.position) {
            Ok(read) => {
                self.position += read as u64;
                self.read += read as u64;
                Ok(read)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => self.refuse(Refusal::Failed(e.raw_os_error().unwrap_or(libc::EIO))),
        }
    }
}

impl Seek for SourceFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.watch.len().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl Watch {
    /// Bytes, when it was opened.
    pub(super) fn len(&self) -> u64 {
        self.opened.len()
    }

    /// Why FFmpeg got no more bytes, where that was not the end of the file.
    pub(super) fn refusal(&self) -> Option<MediaError> {
        let refusal = (*self.refused.lock().unwrap_or_else(PoisonError::into_inner))?;
        let (path, limit) = (self.path.clone(), self.limits.read_bytes);
        Some(match refusal {
            Refusal::Bytes => {
                let reason = format!("a pass over its {} bytes reads more and more of them", self.len());
                MediaError::BytesLimit { path, reason, limit }
            }
            Refusal::Late => self.pulse.error(),
            Refusal::Failed(errno) => {
                MediaError::Unreadable { path, reason: io::Error::from_raw_os_error(errno).to_string() }
            }
        })
    }

    /// Fails if the file is no longer what it was when it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), MediaError> {
        let unreadable = |e: io::Error| MediaError::Unreadable { path: self.path.clone(), reason: e.to_string() };
        let now = self.file.metadata().map_err(unreadable)?;
        let difference = if now.len() != self.len() {
            format!("{} bytes, was {}", now.len(), self.len())
        } else if (now.mtime(), now.mtime_nsec()) != (self.opened.mtime(), self.opened.mtime_nsec()) {
            "written to while it was read".to_owned()
        } else {
            return Ok(());
        };
        Err(MediaError::Changed { path: self.path.clone(), difference })
    }

    /// Reads at a position, for those who look at the file before FFmpeg does.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        if self.pulse.is_late() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.file.read_exact_at(buffer, position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_allowed_size_can_be_read_twice_but_not_for_ever() {
        let path = std::env::current_exe().unwrap();
        let size = std::fs::metadata(&path).unwrap().len();
        let limits = Limits { read_bytes: size, probe_bytes: 4096, ..Limits::default() };
        let mut file = SourceFile::open(&path, limits).unwrap();
        let mut pass = || {
            file.seek(SeekFrom::Start(0)).unwrap();
            io::copy(&mut file, &mut io::sink())
        };
        assert_eq!((pass().unwrap(), pass().unwrap()), (size, size));
        assert!((0..100).any(|_| pass().is_err()));
        assert!(matches!(file.watch().refusal(), Some(MediaError::BytesLimit { .. })));
    }
}
