//! What somebody asks to have looked at: from where it may come, and what it is.

use super::spelling::{self, Spelling};
use super::{Roots, Video};
use crate::error::{JobError, Result};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::request::{FileSource, Request, Source};
use framefleet_contract::source_url::SourceUrl;
use framefleet_fetch::{AddressRules, FetchError, Fetcher};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use std::ffi::OsStr;
use std::time::Duration;

/// Where videos may come from: folders, and the addresses of servers.
#[derive(Debug, Clone)]
pub struct Places {
    roots: Roots,
    /// Without a URL among the sources, its failure is nobody's concern.
    fetcher: std::result::Result<Fetcher, FetchError>,
    limits: Limits,
}

/// A source that was looked at and may be read.
#[derive(Debug, Clone)]
pub struct Given {
    pub source: Source,
    /// With its credentials, for [`JobFolder::put_source_url`], if it is one.
    pub url: Option<SourceUrl>,
}

impl Places {
    pub fn new(roots: Roots, addresses: AddressRules, limits: Limits) -> Self {
        Self { roots, fetcher: Fetcher::new(addresses), limits }
    }

    /// Identifies the video that a path or a URL names.
    pub fn identify(&self, text: &OsStr) -> Result<Given> {
        let url = match spelling::read(text)? {
            Spelling::Path(path) => return Ok(self.roots.identify(&path)?.into()),
            Spelling::FileUrl(path) => {
                return match self.roots.identify(&path) {
                    Err(outside @ JobError::OutsideRoots { .. }) => {
                        Err(JobError::FileUrl { path, reason: outside.to_string() })
                    }
                    identified => Ok(identified?.into()),
                };
            }
            Spelling::Url(url) => url,
        };
        let source = self.fetcher()?.identify(&url, self.limits.read_bytes, patience(self.limits))?;
        Ok(Given { source: Source::Url(source), url: Some(url) })
    }

    /// The URL that a text is, with its credentials, if it is one. Nothing is asked of its server.
    pub fn url_of(text: &OsStr) -> Result<Option<SourceUrl>> {
        Ok(if let Spelling::Url(url) = spelling::read(text)? { Some(url) } else { None })
    }

    /// The video of an accepted request, whoever accepted it.
    pub fn open(&self, request: &Request, folder: &JobFolder) -> Result<Video> {
        let patience = patience(self.limits);
        Ok(match &request.source {
            Source::File(file) => Video { origin: Origin::from(&file.path), file: Some(file.clone()), patience },
            Source::Url(source) => {
                let url = folder.source_url(source)?;
                Video { origin: Origin::url(self.fetcher()?, &url, source), file: None, patience }
            }
        })
    }

    fn fetcher(&self) -> Result<&Fetcher> {
        Ok(self.fetcher.as_ref().map_err(FetchError::clone)?)
    }
}

impl From<FileSource> for Given {
    fn from(file: FileSource) -> Self {
        Self { source: Source::File(file), url: None }
    }
}

fn patience(limits: Limits) -> Duration {
    Duration::try_from_secs_f64(limits.stall_s).unwrap_or(Duration::MAX)
}
