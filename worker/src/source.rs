//! The video that a job is to analyse: that it may be read, which one it is, and that it stays the same.

mod given;
mod spelling;

pub use given::{Given, Places};

use crate::error::{JobError, Result};
use framefleet_contract::request::FileSource;
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::origin::Origin;
use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The folders in which videos may lie. Without any, they may lie anywhere.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// Absolute, links resolved.
    folders: Vec<PathBuf>,
}

impl Roots {
    /// Each must be a folder that is there.
    pub fn new(folders: &[PathBuf]) -> Result<Self> {
        let resolve = |folder: &PathBuf| match folder.canonicalize() {
            Ok(resolved) if resolved.is_dir() => Ok(resolved),
            Ok(_) => Err(JobError::BadRequest(format!("--root {} is no folder; give one", folder.display()))),
            Err(e) => {
                Err(JobError::BadRequest(format!("--root {}: {e}; give a folder that is there", folder.display())))
            }
        };
        Ok(Self { folders: folders.iter().map(resolve).collect::<Result<_>>()? })
    }

    /// Identifies the video at `path`, if it lies inside, wherever links lead. From then on the resolved path is used.
    pub fn identify(&self, path: &Path) -> Result<FileSource> {
        let resolved = path.canonicalize().map_err(|e| unreadable(path, e))?;
        if !self.folders.is_empty() && !self.folders.iter().any(|folder| resolved.starts_with(folder)) {
            return Err(JobError::OutsideRoots { path: path.to_owned(), resolved });
        }
        let source = identify(path)?;
        // The link may have been turned meanwhile.
        if source.path != resolved {
            return Err(JobError::OutsideRoots { path: path.to_owned(), resolved: source.path });
        }
        Ok(source)
    }
}

/// Identifies the video at `path`, which must be a regular file: a FIFO or a device would never end.
pub fn identify(path: &Path) -> Result<FileSource> {
    let metadata = fs::metadata(path).map_err(|e| unreadable(path, e))?;
    refuse_unprintable(path)?;
    if let Some(what) = what_else(&metadata) {
        return Err(JobError::SourceNotAFile { path: path.to_owned(), what });
    }
    FileSource::identify(path).map_err(|e| unreadable(path, e))
}

/// The video of a job, which can be read as often as it is needed.
#[derive(Debug, Clone)]
pub struct Video {
    origin: Origin,
    /// As it was when the job was accepted, if it is a file.
    file: Option<FileSource>,
    patience: Duration,
}

impl Video {
    /// Where it is read from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Fails if it is no longer what it was when the job was accepted.
    pub fn check_unchanged(&self) -> Result<()> {
        match &self.origin {
            Origin::Url(remote) => Ok(remote.check_unchanged(self.patience)?),
            Origin::File(_) => self.file.as_ref().map_or(Ok(()), check_unchanged),
        }
    }
}

/// Fails if the file's size or time of change is no longer what it was when the job was accepted.
fn check_unchanged(source: &FileSource) -> Result<()> {
    // It was there when the job was accepted: what keeps it from being read now may pass.
    let now = identify(&source.path).map_err(|e| match e {
        JobError::SourceNotFound { .. } | JobError::SourceUnreadable { .. } => {
            MediaError::Unreadable { path: source.path.clone(), reason: e.to_string() }.into()
        }
        other => other,
    })?;
    let difference = if now.size != source.size {
        format!("{} bytes, was {}", now.size, source.size)
    } else if now != *source {
        "same size, other content or time of change".to_owned()
    } else {
        return Ok(());
    };
    Err(JobError::SourceChanged { path: source.path.clone(), difference })
}

/// Requests, plans and FFmpeg hold paths as text.
fn refuse_unprintable(path: &Path) -> Result<()> {
    let resolved = path.canonicalize().map_err(|e| unreadable(path, e))?;
    if resolved.to_str().is_some() {
        return Ok(());
    }
    let reason = std::io::Error::other("its path is not UTF-8; rename it");
    Err(JobError::SourceUnreadable { path: path.to_owned(), reason })
}

fn unreadable(path: &Path, error: std::io::Error) -> JobError {
    let path = path.to_owned();
    match error.kind() {
        ErrorKind::NotFound => JobError::SourceNotFound { path },
        _ => JobError::SourceUnreadable { path, reason: error },
    }
}

fn what_else(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    match () {
        () if kind.is_dir() => Some("a folder"),
        () if kind.is_fifo() => Some("a named pipe"),
        () if kind.is_socket() => Some("a socket"),
        () if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = identify(folder.path()).unwrap_err().to_string();
        assert!(message.contains("a folder"), "{message}");
        let message = identify(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(message.contains("a device"), "{message}");
        let missing = identify(&folder.path().join("x.mp4")).unwrap_err();
        assert!(matches!(missing, JobError::SourceNotFound { .. }));
    }

    #[test]
    fn what_lies_outside_the_roots_is_refused_whatever_leads_there() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("videos"), folder.path().join("videos-of-others"));
        for place in [&inside, &outside] {
            fs::create_dir(place).unwrap();
            fs::write(place.join("v.mp4"), b"one").unwrap();
        }
        std::os::unix::fs::symlink(outside.join("v.mp4"), inside.join("link.mp4")).unwrap();
        std::os::unix::fs::symlink(inside.join("v.mp4"), outside.join("link.mp4")).unwrap();
        let roots = Roots::new(std::slice::from_ref(&inside)).unwrap();
        roots.identify(&inside.join("v.mp4")).unwrap();
        roots.identify(&outside.join("link.mp4")).unwrap();
        for denied in [outside.join("v.mp4"), inside.join("link.mp4"), inside.join("../videos-of-others/v.mp4")] {
            let error = roots.identify(&denied).unwrap_err();
            assert!(matches!(error, JobError::OutsideRoots { .. }), "{}: {error}", denied.display());
        }
        Roots::default().identify(&outside.join("v.mp4")).unwrap();
        assert!(Roots::new(&[folder.path().join("nowhere")]).is_err());
    }

    #[test]
    fn a_name_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"b\xff.mp4"));
        fs::write(&path, b"x").unwrap();
        let message = identify(&path).unwrap_err().to_string();
        assert!(message.contains("not UTF-8"), "{message}");
    }

    #[test]
    fn a_file_that_went_away_may_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.mp4");
        fs::write(&path, b"one").unwrap();
        let source = identify(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let error = check_unchanged(&source).unwrap_err();
        assert_eq!(error.disposition(), framefleet_contract::Disposition::Retry);
    }

    #[test]
    fn a_file_that_grew_is_not_the_planned_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.mp4");
        fs::write(&path, b"one").unwrap();
        let source = identify(&path).unwrap();
        check_unchanged(&source).unwrap();
        fs::write(&path, b"three").unwrap();
        let message = check_unchanged(&source).unwrap_err().to_string();
        assert!(message.contains("5 bytes, was 3"), "{message}");
    }
}
