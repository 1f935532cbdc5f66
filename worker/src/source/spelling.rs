//! Tells whether what somebody typed is a path or a URL.

use crate::error::{JobError, Result};
use framefleet_contract::source_url::SourceUrl;
use std::ffi::OsStr;
use std::path::PathBuf;

#[derive(Debug, PartialEq, Eq)]
pub enum Spelling {
    Path(PathBuf),
    Url(SourceUrl),
    /// What a `file:` URL names.
    FileUrl(PathBuf),
}

/// Of FFmpeg, curl and browsers: names of no file, even without two slashes. Some reach other files or hosts.
const SCHEMES: &[&str] = &[
    "amqp",
    "android_content",
    "async",
    "bluray",
    "cache",
    "concat",
    "concatf",
    "crypto",
    "data",
    "dict",
    "dvd",
    "fd",
    "ffrtmpcrypt",
    "ffrtmphttp",
    "ftp",
    "ftps",
    "gopher",
    "gophers",
    "hls",
    "httpproxy",
    "icecast",
    "imap",
    "imaps",
    "ipfs",
    "ipns",
    "jar",
    "javascript",
    "ldap",
    "ldaps",
    "md5",
    "mms",
    "mmsh",
    "mmst",
    "mqtt",
    "pipe",
    "pop3",
    "prompeg",
    "rist",
    "rtmp",
    "rtmpe",
    "rtmps",
    "rtmpt",
    "rtmpte",
    "rtmpts",
    "rtp",
    "rtsp",
    "rtsps",
    "sap",
    "sctp",
    "sftp",
    "smb",
    "smtp",
    "srt",
    "srtp",
    "subfile",
    "tcp",
    "tee",
    "telnet",
    "tftp",
    "tls",
    "udp",
    "udplite",
    "unix",
    "zmq",
];

/// A URL begins with a scheme and `//`, or with a scheme that everybody knows. `./a:b` is a path, whatever `a` is.
pub fn read(text: &OsStr) -> Result<Spelling> {
    let path = || Ok(Spelling::Path(text.into()));
    let Some(text) = text.to_str() else { return path() };
    let Some((before, rest)) = text.split_once(':') else { return path() };
    let before = before.to_ascii_lowercase();
    // `subfile,,start,0,end,9,,:name` and `crypto+http://host`.
    let scheme = before.split([',', '+']).next().unwrap_or_default();
    let is_known = SCHEMES.contains(&scheme) || matches!(scheme, "http" | "https" | "file");
    let is_url = is_known || (is_scheme(&before) && rest.starts_with("//"));
    if !is_url {
        return path();
    }
    match before.as_str() {
        "http" | "https" => Ok(Spelling::Url(SourceUrl::new(text)?)),
        "file" => file_url(rest).map(Spelling::FileUrl),
        _ => Err(JobError::UrlScheme(scheme.chars().take(32).collect())),
    }
}

fn is_scheme(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(allowed)
}

/// `///path`, `//localhost/path` or `/path` (RFC 8089).
fn file_url(rest: &str) -> Result<PathBuf> {
    let path = rest.strip_prefix("//localhost").or_else(|| rest.strip_prefix("//")).unwrap_or(rest);
    let refused = |reason: &str| JobError::FileUrl { path: path.into(), reason: reason.to_owned() };
    if !path.starts_with('/') {
        return Err(refused("of another host, or no whole path"));
    }
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8();
    Ok(PathBuf::from(decoded.map_err(|_| refused("it is not UTF-8"))?.into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::ErrorCode;

    fn spelling(text: &str) -> Result<Spelling> {
        read(OsStr::new(text))
    }

    #[test]
    fn a_path_stays_one_with_a_colon_in_it_too() {
        for text in [
            "v.mp4",
            "/a/v.mp4",
            "./http://h/v",
            "./concat:a",
            "2024-01-01T10:00:00.mp4",
            "a:b",
            "camera 1: north.mp4",
            ":x",
            "/a://b",
            "-",
        ] {
            assert_eq!(spelling(text).unwrap(), Spelling::Path(text.into()), "{text}");
        }
    }

    #[test]
    fn a_url_is_known_by_its_scheme() {
        for text in ["http://h/v.mp4", "HTTPS://h/v.mp4"] {
            assert_eq!(spelling(text).unwrap(), Spelling::Url(SourceUrl::new(text).unwrap()), "{text}");
        }
        for text in ["file:///a/b%20c", "file:/a/b c", "FILE://localhost/a/b%20c"] {
            assert_eq!(spelling(text).unwrap(), Spelling::FileUrl("/a/b c".into()), "{text}");
        }
        assert_eq!(spelling("http:h/v.mp4").unwrap_err().code(), ErrorCode::BadRequest);
    }

    #[test]
    fn other_schemes_are_denied_with_slashes_and_known_ones_without() {
        for text in [
            "concat:a|b",
            "CONCAT:a|b",
            "concat:/etc/passwd|/etc/shadow",
            "subfile,,start,0,end,9,,:/etc/passwd",
            "data:video/mp4;base64,AAAA",
            "gopher://h/",
            "gopher:h",
            "crypto+http://h/v",
            "pipe:0",
            "fd:",
            "ftp://h/v",
            "rtsp://u:secret@h/v",
            "unknown://h",
            "s3://bucket/v",
            "file://host/a",
            "file:a",
            "async:http://h/v",
        ] {
            let error = spelling(text).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UrlSchemeDenied, "{text}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
