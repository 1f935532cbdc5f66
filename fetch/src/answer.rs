//! What a server's answer to a request for a range comes to.

use framefleet_contract::request::Version;
use std::ops::Range;
use ureq::http::{HeaderMap, StatusCode, header};

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head<'a> {
    pub status: StatusCode,
    pub headers: &'a HeaderMap,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The body is these bytes of a file of this version.
    Part {
        range: Range<u64>,
        version: Version,
    },
    /// The file has no bytes at all.
    Empty(Version),
    Redirect(String),
    NotFound,
    /// The server will not give it, whenever it is asked.
    Refused(String),
    /// It cannot be told how much the server would send.
    Endless,
    Changed(String),
    /// It may be given another time.
    Passing(String),
}

impl Head<'_> {
    /// `known` is the version that was seen first, `asked` the range, whose end may be behind that of the file.
    pub(crate) fn meaning(&self, asked: &Range<u64>, known: Option<&Version>) -> Meaning {
        let status = self.status.as_u16();
        match status {
            206 => self.part(asked, known),
            200 => self.whole(known),
            301 | 302 | 303 | 307 | 308 => match self.text(header::LOCATION) {
                Some(location) => Meaning::Redirect(location),
                None => Meaning::Refused(format!("its server redirects ({status}) to nowhere")),
            },
            404 | 410 => Meaning::NotFound,
            401 | 403 | 407 => Meaning::Refused(format!(
                "its server wants other credentials ({status}), or those of the URL have expired"
            )),
            416 => self.out_of_range(known),
            408 | 425 | 429 | 500..=599 => Meaning::Passing(format!("its server answers {}", self.status)),
            _ => Meaning::Refused(format!("its server answers {}", self.status)),
        }
    }

    fn part(&self, asked: &Range<u64>, known: Option<&Version>) -> Meaning {
        let encoding =
            self.text(header::CONTENT_ENCODING).filter(|encoding| !encoding.eq_ignore_ascii_case("identity"));
        if let Some(encoding) = encoding {
            return Meaning::Refused(format!(
                "its server sends it in another form ({encoding}), in which no place of it can be found"
            ));
        }
        let Some(said) = self.text(header::CONTENT_RANGE) else {
            return Meaning::Refused("its server sends a part without saying which".to_owned());
        };
        let Some((range, total)) = content_range(&said) else {
            return Meaning::Refused(format!("its server sends a part that makes no sense ({said})"));
        };
        let Some(size) = total else { return Meaning::Endless };
        let version = self.version(size);
        if let Some(difference) = known.and_then(|known| difference(known, &version)) {
            return Meaning::Changed(difference);
        }
        if range != Some(asked.start..asked.end.min(size)) {
            return Meaning::Refused(format!(
                "its server sends another part ({said}) than bytes {}-{}",
                asked.start,
                asked.end - 1
            ));
        }
        Meaning::Part { range: asked.start..asked.end.min(size), version }
    }

    /// With `If-Range`, a file that has changed is sent as a whole.
    fn whole(&self, known: Option<&Version>) -> Meaning {
        let size = self.text(header::CONTENT_LENGTH).and_then(|size| size.parse().ok());
        let Some(size) = size else { return Meaning::Endless };
        match known.and_then(|known| difference(known, &self.version(size))) {
            Some(difference) => Meaning::Changed(difference),
            None => Meaning::Refused(
                "its server gives no parts of a file (no range requests), which videos are read by; copy the file here"
                    .to_owned(),
            ),
        }
    }

    fn out_of_range(&self, known: Option<&Version>) -> Meaning {
        let total = self.text(header::CONTENT_RANGE).and_then(|said| said.strip_prefix("bytes */")?.parse().ok());
        match (total, known) {
            (Some(0), None) => Meaning::Empty(self.version(0)),
            (Some(0), Some(known)) if known.size == 0 => Meaning::Empty(self.version(0)),
            (Some(size), Some(known)) if size != known.size => Meaning::Changed(sizes(size, known.size)),
            _ => Meaning::Refused(format!("its server answers {}", self.status)),
        }
    }

    fn version(&self, size: u64) -> Version {
        let etag = self.text(header::ETAG).filter(|etag| etag.starts_with('"'));
        Version { size, etag, last_modified: self.text(header::LAST_MODIFIED) }
    }

    fn text(&self, name: header::HeaderName) -> Option<String> {
        Some(self.headers.get(name)?.to_str().ok()?.trim().to_owned())
    }
}

/// What `If-Range` asks with: a strong entity tag, or else the date.
pub(crate) fn validator(version: &Version) -> Option<&str> {
    version.etag.as_deref().or(version.last_modified.as_deref())
}

/// A strong tag tells alone whether the bytes are the same: servers behind one name may disagree about the date.
pub(crate) fn difference(known: &Version, now: &Version) -> Option<String> {
    if now.size != known.size {
        return Some(sizes(now.size, known.size));
    }
    let same = match (&known.etag, &now.etag) {
        (Some(known), Some(now)) => known == now,
        (None, None) => known.last_modified == now.last_modified,
        _ => false,
    };
    (!same).then(|| "same size, another ETag or time of change".to_owned())
}

fn sizes(now: u64, known: u64) -> String {
    format!("{now} bytes, was {known}")
}

/// `bytes 0-9/100` or `bytes 0-9/*` (RFC 9110, 14.4): the range, and the total where it is known. The range is absent
/// where it has no bytes.
fn content_range(text: &str) -> Option<(Option<Range<u64>>, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let range = last.checked_add(1).filter(|end| *end > first).map(|end| first..end);
    let total = if total == "*" { None } else { Some(total.trim().parse().ok()?) };
    Some((range, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::HeaderValue;

    fn version() -> Version {
        Version { size: 100, etag: Some("\"e\"".into()), last_modified: None }
    }

    fn meaning(status: u16, headers: &[(&'static str, &str)], known: Option<&Version>) -> Meaning {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        Head { status: StatusCode::from_u16(status).unwrap(), headers: &map }.meaning(&(10..20), known)
    }

    #[test]
    fn a_part_is_taken_only_if_it_is_the_one_that_was_asked_for() {
        let etag = ("etag", "\"e\"");
        let part = Meaning::Part { range: 10..20, version: version() };
        assert_eq!(meaning(206, &[("content-range", "bytes 10-19/100"), etag], Some(&version())), part);
        let short = Version { size: 15, ..version() };
        let at_end = Meaning::Part { range: 10..15, version: short };
        assert_eq!(meaning(206, &[("content-range", "bytes 10-14/15"), etag], None), at_end);
        for wrong in [
            "bytes 0-9/100",
            "bytes 10-18/100",
            "bytes 10-20/100",
            "bytes 19-10/100",
            "items 10-19/100",
            "bytes 10-19",
            "bytes x-19/100",
            "bytes 10-18446744073709551615/100",
        ] {
            assert!(matches!(meaning(206, &[("content-range", wrong), etag], None), Meaning::Refused(_)), "{wrong}");
        }
        assert!(matches!(meaning(206, &[], None), Meaning::Refused(_)));
        assert_eq!(meaning(206, &[("content-range", "bytes 10-19/*")], None), Meaning::Endless);
    }

    #[test]
    fn another_version_is_a_change_whatever_tells_it() {
        let known = version();
        let is_change = |status, headers: &[(&'static str, &str)], known| {
            matches!(meaning(status, headers, Some(known)), Meaning::Changed(_))
        };
        assert!(is_change(206, &[("content-range", "bytes 10-19/100"), ("etag", "\"f\"")], &known));
        assert!(is_change(206, &[("content-range", "bytes 10-19/100"), ("etag", "W/\"e\"")], &known));
        assert!(is_change(206, &[("content-range", "bytes 10-19/99"), ("etag", "\"e\"")], &known));
        assert!(is_change(200, &[("content-length", "100"), ("etag", "\"f\"")], &known));
        assert!(is_change(416, &[("content-range", "bytes */5")], &known));
        let dated = Version { etag: None, last_modified: Some("Mon".into()), ..known };
        assert!(is_change(206, &[("content-range", "bytes 10-19/100"), ("last-modified", "Tue")], &dated));
        assert!(!is_change(206, &[("content-range", "bytes 10-19/100"), ("last-modified", "Mon")], &dated));
    }

    #[test]
    fn a_server_without_ranges_is_refused_and_one_without_a_length_is_endless() {
        assert!(matches!(meaning(200, &[("content-length", "100")], None), Meaning::Refused(_)));
        assert_eq!(meaning(200, &[], None), Meaning::Endless);
        let compressed = [("content-range", "bytes 10-19/100"), ("content-encoding", "gzip")];
        assert!(matches!(meaning(206, &compressed, None), Meaning::Refused(_)));
    }

    #[test]
    fn a_status_says_whether_it_may_be_given_another_time() {
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(matches!(meaning(status, &[], None), Meaning::Passing(_)), "{status}");
        }
        for status in [400, 401, 403, 405, 407, 416, 451, 302] {
            assert!(matches!(meaning(status, &[], None), Meaning::Refused(_)), "{status}");
        }
        assert_eq!(meaning(404, &[], None), Meaning::NotFound);
        assert_eq!(meaning(302, &[("location", "/x")], None), Meaning::Redirect("/x".into()));
        assert!(matches!(meaning(416, &[("content-range", "bytes */0")], None), Meaning::Empty(_)));
    }
}
