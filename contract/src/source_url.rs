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
    fn what_is_no_url_is_refused_without_being_repeated() {
        for text in ["ftp://u:secret@h/v", "http://", "https:///v", "v.mp4", "http://h/\u{7}secret", "http://se cret/v"]
        {
            let message = SourceUrl::new(text).unwrap_err().to_string();
            assert!(!message.contains("secret"), "{message}");
        }
    }
}
