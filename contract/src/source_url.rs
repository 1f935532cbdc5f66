//! The URL of a source. It may carry a password or a signature, so it is shown to nobody by accident.

use crate::identity::Sha256;
use http::Uri;
use std::fmt::{self, Write};

/// An absolute `http` or `https` URL without a fragment.
///
/// `Debug` and `Display` give what may be seen by anybody: no user, no password, and no value of the query, since that is
/// where presigned URLs have their signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl(Uri);

/// Says nothing of the text itself, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a URL that can be read ({0}); give one such as https://host/video.mp4")]
pub struct InvalidSourceUrl(&'static str);

/// In the place of what is not shown.
const HIDDEN: &str = "***";
/// Longer ones are refused by most servers.
const MOST_BYTES: usize = 16 << 10;

impl SourceUrl {
    /// Spaces and letters beyond ASCII are taken as they are typed, and percent-encoded.
    pub fn new(text: &str) -> Result<Self, InvalidSourceUrl> {
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        if text.len() > MOST_BYTES {
            return Err(InvalidSourceUrl("it has more than 16 KiB"));
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidSourceUrl("it has control characters"));
        }
        let uri: Uri = percent_encoded(text).parse().map_err(|_| InvalidSourceUrl("it has parts that no URL has"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(InvalidSourceUrl("it does not begin with http:// or https://"));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(InvalidSourceUrl("it names no host"));
        }
        // A '/' in a password that is not percent-encoded ends the host, and what is behind it is no path.
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let port = host_and_port.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'));
        if port.is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(InvalidSourceUrl("its port is no number from 0 to 65535"));
        }
        Ok(Self(uri))
    }

    /// The whole URL, for whoever opens the connection or keeps it for a worker.
    pub fn expose(&self) -> String {
        self.0.to_string()
    }

    pub fn scheme(&self) -> &str {
        self.0.scheme_str().unwrap_or_default()
    }

    /// The name or the address of the host, an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    pub fn port(&self) -> u16 {
        self.0.port_u16().unwrap_or(if self.scheme() == "https" { 443 } else { 80 })
    }

    /// `user:password`, as it is written.
    pub fn user_info(&self) -> Option<&str> {
        Some(self.0.authority()?.as_str().rsplit_once('@')?.0)
    }

    /// Percent-encoded, beginning with a slash.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The last part of the path, percent-encoded: a file's name, mostly.
    pub fn name(&self) -> &str {
        self.path().rsplit('/').next().unwrap_or_default()
    }

    /// Of the whole URL.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(self.expose().as_bytes())
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.0.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(f, "{}://{host}{}", self.scheme(), self.path())?;
        let Some(query) = self.0.query() else { return Ok(()) };
        for (i, part) in query.split('&').enumerate() {
            f.write_char(if i == 0 { '?' } else { '&' })?;
            match part.split_once('=') {
                Some((name, _)) => write!(f, "{name}={HIDDEN}")?,
                None => f.write_str(HIDDEN)?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceUrl({self})")
    }
}

/// What anybody may see of what a client calls a source: a path as it is, a URL without its credentials, of any scheme.
pub fn shown(source: &str) -> String {
    SourceUrl::new(source).map_or_else(|_| without_credentials(source), |url| url.to_string())
}

/// A text of any kind, in which every URL is without its credentials. A URL is taken to end at a quote, a bracket or a
/// control character: rather too much of the text is hidden than too little.
pub fn without_credentials(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at);
        let scheme = before.rfind(|c: char| !is_of_scheme(c)).map_or(before, |end| &before[end..]);
        let scheme = scheme.trim_start_matches(|c: char| !is_of_scheme(c));
        let end = url.find(|c: char| c.is_control() || "\"'<>\\".contains(c)).unwrap_or(url.len());
        shown.push_str(&before[..before.len() - scheme.len()]);
        let url = &rest[at - scheme.len()..at + end];
        shown.push_str(&SourceUrl::new(url).map_or_else(|_| hidden(url), |url| url.to_string()));
        rest = &rest[at + end..];
    }
    shown + rest
}

fn is_of_scheme(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')
}

/// What is no URL that we read may have a password all the same, with whatever characters.
fn hidden(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let (place, query) = rest.split_once(['?', '#']).map_or((rest, ""), |(place, _)| (place, "?***"));
    match place.rsplit_once('@') {
        Some((_, place)) => format!("{scheme}://{HIDDEN}@{place}{query}"),
        None if query.contains('@') || rest.contains('@') => format!("{scheme}://{HIDDEN}"),
        None => format!("{scheme}://{place}{query}"),
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes whatever is written");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        SourceUrl::new(text).unwrap().to_string()
    }

    #[test]
    fn what_is_shown_has_no_credentials() {
        assert_eq!(shown("https://u:p@h/v.mp4"), "https://h/v.mp4");
        assert_eq!(shown("https://u@h:8443/a/v.mp4?X-Sig=abc&x=1"), "https://h:8443/a/v.mp4?X-Sig=***&x=***");
        assert_eq!(shown("http://h?token"), "http://h/?***");
        assert_eq!(shown("http://h/v.mp4?a=b=c&&d#secret"), "http://h/v.mp4?a=***&***&***");
        assert_eq!(shown("http://u:p%40x@[::1]:80/v"), "http://[::1]:80/v");
        let debug = format!("{:?}", SourceUrl::new("https://u:p@h/v?sig=s").unwrap());
        assert_eq!(debug, "SourceUrl(https://h/v?sig=***)");
    }

    #[test]
    fn the_whole_url_is_kept_for_who_needs_it() {
        let url = SourceUrl::new("https://u:p@h:1/a b/ü.mp4?sig=s#t=1").unwrap();
        assert_eq!(url.expose(), "https://u:p@h:1/a%20b/%C3%BC.mp4?sig=s");
        assert_eq!((url.user_info(), url.port(), url.name()), (Some("u:p"), 1, "%C3%BC.mp4"));
        assert_ne!(url.sha256(), SourceUrl::new("https://u:q@h:1/a b/ü.mp4?sig=s").unwrap().sha256());
    }

    #[test]
    fn what_is_shown_of_a_source_has_no_credentials_whatever_it_is() {
        assert_eq!(super::shown("/videos/a b@c.mp4"), "/videos/a b@c.mp4");
        assert_eq!(super::shown("https://u:p@h/a b.mp4?sig=1"), "https://h/a%20b.mp4?sig=***");
        assert_eq!(super::shown("rtsp://u:p@cam/1?t=2"), "rtsp://***@cam/1?***");
        assert_eq!(super::shown("ftp://u:a?b@h/v"), "ftp://***");
        assert_eq!(super::shown("ftp://h/v"), "ftp://h/v");
    }

    #[test]
    fn urls_in_a_text_are_shown_without_credentials() {
        let text = r#"{"source":"HTTPS://u:p@h/v?sig=s","x":"rtsp://u:p@c/é"} <ftp://h> :// a"#;
        let shown = r#"{"source":"https://h/v?sig=***","x":"rtsp://***@c/é"} <ftp://h> :// a"#;
        assert_eq!(without_credentials(text), shown);
        assert_eq!(without_credentials("é://u:p@h"), "é://***@h");
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for text in ["ftp://u:secret@h/v", "http://", "https:///v", "v.mp4", "http://h/\u{7}secret", "http://se cret/v"]
        {
            let message = SourceUrl::new(text).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
