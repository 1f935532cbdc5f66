//! Where a video is read from.

use framefleet_contract::request::UrlSource;
use framefleet_contract::source_url::SourceUrl;
use framefleet_fetch::{FetchError, Fetcher, RemoteFile};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file, or what an HTTP server gives. FFmpeg opens neither: it gets bytes from this program.
#[derive(Debug, Clone)]
pub enum Origin {
    File(PathBuf),
    Url(Box<RemoteOrigin>),
}

/// A certain version of what is at a URL.
#[derive(Debug, Clone)]
pub struct RemoteOrigin {
    fetcher: Fetcher,
    url: SourceUrl,
    source: UrlSource,
    shown: PathBuf,
}

impl Origin {
    /// The source must be that of the URL.
    pub fn url(fetcher: &Fetcher, url: &SourceUrl, source: &UrlSource) -> Self {
        let (fetcher, url, source) = (fetcher.clone(), url.clone(), source.clone());
        let shown = url.to_string().into();
        Self::Url(Box::new(RemoteOrigin { fetcher, url, source, shown }))
    }

    /// The path, or the URL as anybody may see it.
    pub fn shown(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::Url(remote) => &remote.shown,
        }
    }

    /// What FFmpeg is told that the file is called: it judges by the ending, too. Of a URL, the last part of its path.
    pub(super) fn file_name(&self) -> Option<&str> {
        match self {
            Self::File(path) => path.to_str(),
            Self::Url(remote) => Some(remote.url.name()),
        }
    }
}

impl RemoteOrigin {
    /// Fails if there is another version now. Waits so long for an answer.
    pub fn check_unchanged(&self, time: Duration) -> Result<(), FetchError> {
        self.fetcher.check_unchanged(&self.url, &self.source.version, time)
    }

    pub(super) fn open(&self) -> RemoteFile {
        self.fetcher.open(&self.url, &self.source.version)
    }
}

impl From<&Path> for Origin {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Origin {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Self> for Origin {
    fn from(origin: &Self) -> Self {
        origin.clone()
    }
}
