//! The one file that FFmpeg reads: as long as it was when it was opened, and only so much of it as is allowed.

use super::MediaError;
use super::bytes::{Bytes, ReadError};
use super::limits::Limits;
use super::origin::Origin;
use super::pulse::{Pulse, Work};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
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
    bytes: Bytes,
    /// As it is shown.
    path: PathBuf,
    limits: Limits,
    /// Why it was not read further.
    refused: Mutex<Option<Refusal>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    Bytes,
    Late,
    Failed(ReadError),
}

impl SourceFile {
    pub(super) fn open(origin: &Origin, limits: Limits) -> Result<Self, MediaError> {
        let path = origin.shown();
        let bytes = Bytes::open(origin, limits)?;
        let pulse = Pulse::new(Work::Read, path, limits.stall_s);
        let watch = Watch { pulse, bytes, path: path.to_owned(), limits, refused: Mutex::new(None) };
        Ok(Self { watch: Arc::new(watch), position: 0, read: 0 })
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        self.watch.clone()
    }
}

impl Read for SourceFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.watch.pulse.is_late() {
            return self.watch.refuse(Refusal::Late);
        }
        // What is added to the file while it is read is not part of it.
        let left = self.watch.len().saturating_sub(self.position);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if self.read.saturating_add(wanted as u64) > self.watch.limits.pass_bytes() {
            return self.watch.refuse(Refusal::Bytes);
        }
        let read = self.watch.read_at(&mut buffer[..wanted], self.position)?;
        self.position += read as u64;
        self.read += read as u64;
        Ok(read)
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
        self.bytes.len()
    }

    /// Why FFmpeg got no more bytes, where that was not the end of the file.
    pub(super) fn refusal(&self) -> Option<MediaError> {
        let refusal = self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let (path, limit) = (self.path.clone(), self.limits.read_bytes);
        Some(match refusal {
            Refusal::Bytes => {
                let reason = format!("a pass over its {} bytes reads more and more of them", self.len());
                MediaError::BytesLimit { path, reason, limit }
            }
            Refusal::Late => self.pulse.error(),
            Refusal::Failed(ReadError::Failed(errno)) => {
                MediaError::Unreadable { path, reason: io::Error::from_raw_os_error(errno).to_string() }
            }
            Refusal::Failed(ReadError::Fetch(error)) => error.into(),
        })
    }

    /// Fails if the file is no longer what it was when it was opened.
    pub(super) fn check_unchanged(&self) -> Result<(), MediaError> {
        self.bytes.check_unchanged(&self.path, self.pulse.time_left())
    }

    /// Reads at a position, for those who look at the file before FFmpeg does. Why it fails, [`Watch::refusal`] tells.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            if self.pulse.is_late() {
                return self.refuse(Refusal::Late);
            }
            match self.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => done += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match self.bytes.read_at(buffer, position, self.pulse.time_left()) {
            Ok(read) => read.ok_or_else(|| io::ErrorKind::Interrupted.into()),
            Err(error) => self.refuse(Refusal::Failed(error)),
        }
    }

    fn refuse<T>(&self, refusal: Refusal) -> io::Result<T> {
        let error = match &refusal {
            Refusal::Bytes => io::ErrorKind::FileTooLarge.into(),
            Refusal::Late => io::ErrorKind::TimedOut.into(),
            Refusal::Failed(ReadError::Failed(errno)) => io::Error::from_raw_os_error(*errno),
            Refusal::Failed(ReadError::Fetch(_)) => io::Error::from_raw_os_error(libc::EIO),
        };
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        Err(error)
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
        let mut file = SourceFile::open(&Origin::File(path), limits).unwrap();
        let mut pass = || {
            file.seek(SeekFrom::Start(0)).unwrap();
            io::copy(&mut file, &mut io::sink())
        };
        assert_eq!((pass().unwrap(), pass().unwrap()), (size, size));
        assert!((0..100).any(|_| pass().is_err()));
        assert!(matches!(file.watch().refusal(), Some(MediaError::BytesLimit { .. })));
    }
}
