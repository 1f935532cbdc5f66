//! A file behind a URL: follows its redirects, asks again where an answer may come later, and notices another version.

use crate::answer::{Head, Meaning};
use crate::client::{Ask, Fetcher, NoAnswer};
use crate::error::FetchError;
use crate::redirect;
use framefleet_contract::request::Version;
use framefleet_contract::source_url::SourceUrl;
use std::io::Read;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};
use ureq::Body;
use ureq::http::Response;

const MOST_REDIRECTS: usize = 5;
/// Between two attempts: a server that restarts is back after some of them.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600), Duration::from_millis(3200)];

/// No limit is meant to be longer, and instants cannot be added to without bounds.
const LONGEST: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(crate) struct Remote {
    fetcher: Fetcher,
    url: SourceUrl,
    /// Where the last answer came from, if that was behind a redirect.
    redirected: Option<SourceUrl>,
}

/// Bytes of a file of this version.
#[derive(Debug)]
pub(crate) struct Part {
    pub bytes: Vec<u8>,
    pub version: Version,
}

/// Why there is no part.
enum Failure {
    Final(FetchError),
    /// It may be there the next time.
    Passing(String),
}

impl Remote {
    pub(crate) fn new(fetcher: &Fetcher, url: &SourceUrl) -> Self {
        Self { fetcher: fetcher.clone(), url: url.clone(), redirected: None }
    }

    pub(crate) fn shown(&self) -> String {
        self.url.to_string()
    }

    /// The bytes of the range, or as many as there are up to the end of the file, within `time`. Fails where they are of
    /// another version than `known`.
    pub(crate) fn get(
        &mut self,
        range: &Range<u64>,
        known: Option<&Version>,
        time: Duration,
    ) -> Result<Part, FetchError> {
        let until = Instant::now() + time.min(LONGEST);
        let mut pauses = PAUSES.iter();
        loop {
            let reason = match self.attempt(range, known, until) {
                Ok(part) => return Ok(part),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(reason)) => reason,
            };
            let left = until.saturating_duration_since(Instant::now());
            match pauses.next().filter(|pause| **pause < left) {
                Some(pause) => thread::sleep(*pause),
                None => return Err(FetchError::Unreadable { url: self.shown(), reason }),
            }
        }
    }

    fn attempt(&mut self, range: &Range<u64>, known: Option<&Version>, until: Instant) -> Result<Part, Failure> {
        let mut url = self.redirected.clone().unwrap_or_else(|| self.url.clone());
        for _ in 0..=MOST_REDIRECTS {
            let ask = Ask { url: &url, credentials_of: &self.url, range, known };
            let time = until.saturating_duration_since(Instant::now());
            let response = self.fetcher.send(ask, time).map_err(|e| self.no_answer(e, url != self.url))?;
            let head = Head { status: response.status(), headers: response.headers() };
            let meaning = head.meaning(range, known);
            // The place behind a redirect may be good for some minutes only.
            if matches!(meaning, Meaning::NotFound | Meaning::Refused(_)) && self.redirected.take().is_some() {
                return Err(Failure::Passing("its server answers no longer where it redirected to".to_owned()));
            }
            let part = match meaning {
                Meaning::Redirect(location) => {
                    url = self.follow(&url, &location)?;
                    continue;
                }
                Meaning::Part { range, version } => self.read(response, &range, version)?,
                Meaning::Empty(version) => Part { bytes: Vec::new(), version },
                meaning => return Err(self.failure(meaning, response.status().as_u16())),
            };
            self.redirected = (url != self.url).then_some(url);
            return Ok(part);
        }
        let reason = format!("more than {MOST_REDIRECTS} times");
        Err(Failure::Final(FetchError::RedirectDenied { url: self.shown(), reason }))
    }

    fn follow(&self, from: &SourceUrl, location: &str) -> Result<SourceUrl, Failure> {
        redirect::target(from, location).map_err(|_| {
            let scheme = location.split_once(':').map_or("", |(scheme, _)| scheme);
            let known = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            let is_scheme = scheme.len() < 16 && scheme.chars().all(|c| c.is_ascii_alphanumeric());
            let reason = match scheme {
                "" => "to what is no URL".to_owned(),
                _ if known || !is_scheme => "to what is no URL".to_owned(),
                scheme => format!("to a {scheme}: URL, and http and https are allowed"),
            };
            Failure::Final(FetchError::RedirectDenied { url: self.shown(), reason })
        })
    }

    /// Exactly the bytes of the range. A body that goes on behind them is not read further.
    fn read(&self, response: Response<Body>, range: &Range<u64>, version: Version) -> Result<Part, Failure> {
        let length = range.end - range.start;
        let mut bytes = Vec::with_capacity(length as usize);
        let mut body = response.into_body().into_reader().take(length + 1);
        body.read_to_end(&mut bytes).map_err(|e| self.no_answer(e.into(), false))?;
        match (bytes.len() as u64).cmp(&length) {
            std::cmp::Ordering::Equal => Ok(Part { bytes, version }),
            std::cmp::Ordering::Less => Err(Failure::Passing("the answer ended early".to_owned())),
            std::cmp::Ordering::Greater => {
                let reason = format!("its server sends more than the {length} bytes that it was asked for");
                Err(Failure::Final(FetchError::BytesLimit { url: self.shown(), reason }))
            }
        }
    }

    fn no_answer(&self, why: NoAnswer, is_redirected: bool) -> Failure {
        let url = self.shown();
        match why {
            NoAnswer::Denied(denied) if is_redirected => {
                let reason = format!("to where {denied}; --allow-address allows it");
                Failure::Final(FetchError::RedirectDenied { url, reason })
            }
            NoAnswer::Denied(denied) => Failure::Final(FetchError::AddressDenied { url, denied }),
            NoAnswer::TimedOut => Failure::Final(FetchError::TimedOut { url }),
            NoAnswer::Failed(reason) => Failure::Passing(reason),
        }
    }

    fn failure(&self, meaning: Meaning, status: u16) -> Failure {
        let url = self.shown();
        Failure::Final(match meaning {
            Meaning::Passing(reason) => return Failure::Passing(reason),
            Meaning::NotFound => FetchError::NotFound { url, status },
            Meaning::Changed(difference) => FetchError::Changed { url, difference },
            Meaning::Refused(reason) => FetchError::Refused { url, reason },
            Meaning::Endless | Meaning::Part { .. } | Meaning::Empty(_) | Meaning::Redirect(_) => {
                let reason = "its server does not say how many bytes it has, which may be without end".to_owned();
                FetchError::BytesLimit { url, reason }
            }
        })
    }
}
