//! Which video a job is about, and how to tell that it is still the same one without reading all of it.

use crate::identity::Sha256;
use crate::source_url::SourceUrl;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A video. Which of the two it is, its fields tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "neither the fields of a file (path, size, ...) nor those of a URL (url, ...)")]
pub enum Source {
    File(FileSource),
    Url(UrlSource),
}

/// A video file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Absolute, links resolved.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Microseconds since 1970.
    pub modified_us: i64,
    /// Of the first and the last MiB, one after the other; of the whole file where it is shorter than two.
    pub ends_sha256: Sha256,
}

/// A video that an HTTP server gives. Its whole URL lies beside the request, in
/// [`SOURCE_URL`](crate::job_folder::SOURCE_URL).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UrlSource {
    /// For people: without user, password, and values of the query.
    pub url: String,
    /// Of the whole URL.
    pub url_sha256: Sha256,
    pub version: Version,
    /// As that of a file.
    pub ends_sha256: Sha256,
}

/// What a server says of the bytes that it has at a URL: other bytes have another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Bytes.
    pub size: u64,
    /// With its quotes. Only a strong one tells every change (RFC 9110, 8.8.1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// As the server writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_modified: Option<String>,
}

impl Source {
    /// The file's name for people.
    pub fn name(&self) -> String {
        match self {
            Self::File(file) => file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy().into_owned(),
            Self::Url(source) => {
                let path = source.url.split('?').next().unwrap_or_default();
                path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default().to_owned()
            }
        }
    }

    /// The path, or the URL without what nobody is to see.
    pub fn shown(&self) -> &Path {
        match self {
            Self::File(file) => &file.path,
            Self::Url(source) => Path::new(&source.url),
        }
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::File(file) => file.size,
            Self::Url(source) => source.version.size,
        }
    }
}

impl From<FileSource> for Source {
    fn from(file: FileSource) -> Self {
        Self::File(file)
    }
}

impl UrlSource {
    pub fn new(url: &SourceUrl, version: Version, ends_sha256: Sha256) -> Self {
        Self { url: url.to_string(), url_sha256: url.sha256(), version, ends_sha256 }
    }
}

/// Bytes of either end of a video that identify it.
pub const END_BYTES: u64 = 1 << 20;
/// Linux's on every machine but Alpha, MIPS, PA-RISC and SPARC.
const O_NONBLOCK: i32 = 0o4000;

impl FileSource {
    /// Identifies the regular file at `path`.
    pub fn identify(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        // What took the file's place since it was looked at may be a named pipe, which opens when somebody writes to it.
        let mut file = File::options().read(true).custom_flags(O_NONBLOCK).open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let modified = metadata.modified()?;
        let modified_us = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        };
        let size = metadata.len();
        let mut ends = Vec::new();
        file.by_ref().take(END_BYTES).read_to_end(&mut ends)?;
        if size > END_BYTES {
            file.seek(SeekFrom::Start(size - END_BYTES.min(size - END_BYTES)))?;
            file.take(END_BYTES).read_to_end(&mut ends)?;
        }
        Ok(Self { path, size, modified_us, ends_sha256: Sha256::of(&ends) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source_of(bytes: &[u8]) -> FileSource {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.mp4");
        std::fs::write(&path, bytes).unwrap();
        FileSource::identify(&path).unwrap()
    }

    #[test]
    fn a_change_in_the_last_mib_is_seen() {
        let mut bytes = vec![7; 3 << 20];
        let before = source_of(&bytes);
        *bytes.last_mut().unwrap() = 8;
        assert_ne!(before.ends_sha256, source_of(&bytes).ends_sha256);
    }

    #[test]
    fn the_ends_of_a_file_shorter_than_two_mib_are_the_whole_file() {
        let bytes: Vec<u8> = (0..END_BYTES as usize + 1000).map(|i| (i % 251) as u8).collect();
        assert_eq!(source_of(&bytes).ends_sha256, Sha256::of(&bytes));
    }

    #[test]
    fn a_device_is_not_waited_for() {
        assert!(FileSource::identify(Path::new("/dev/null")).is_err());
    }
}
