//! Sends one request.

use crate::address::{AddressRules, DeniedAddress};
use crate::answer::validator;
use crate::error::FetchError;
use crate::resolver::CheckedResolver;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use framefleet_contract::request::Version;
use framefleet_contract::source_url::SourceUrl;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{Response, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::resolver::{DefaultResolver, Resolver};
use ureq::unversioned::transport::{Connector, RustlsConnector, TcpConnector};
use ureq::{Agent, Body};

/// Reads over HTTP from addresses that are allowed. A clone shares the connections, which are kept for the next request.
#[derive(Clone)]
pub struct Fetcher {
    agent: Agent,
}

/// Names a file of certificates that are trusted instead of the public ones, as for OpenSSL's programs.
const CERTIFICATES: &str = "SSL_CERT_FILE";

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    Denied(DeniedAddress),
    TimedOut,
    Failed(String),
}

/// A request for bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub url: &'a SourceUrl,
    /// Whose credentials are sent, if it has the same origin.
    pub credentials_of: &'a SourceUrl,
    pub range: &'a Range<u64>,
    pub known: Option<&'a Version>,
}

impl Fetcher {
    /// # Errors
    /// `SSL_CERT_FILE` names no certificates.
    pub fn new(rules: AddressRules) -> Result<Self, FetchError> {
        Ok(Self::with_resolver(rules, DefaultResolver::default(), trusted()?))
    }

    fn with_resolver(rules: AddressRules, inner: impl Resolver, trusted: RootCerts) -> Self {
        // No proxy of the environment, which would resolve names by itself; no redirect that was not looked at.
        let config = Config::builder()
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("framefleet/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(trusted).build())
            .build();
        let connector = ().chain(TcpConnector::default()).chain(RustlsConnector::default());
        Self { agent: Agent::with_parts(config, connector, CheckedResolver { inner, rules }) }
    }

    /// All of it, the body too, comes within `time`, or not at all.
    pub(crate) fn send(&self, ask: Ask<'_>, time: Duration) -> Result<Response<Body>, NoAnswer> {
        let without_user = without_user_info(ask.url);
        let range = format!("bytes={}-{}", ask.range.start, ask.range.end - 1);
        let mut request = self.agent.get(without_user).header(header::RANGE, range);
        request = request.header(header::ACCEPT_ENCODING, "identity");
        if let Some(validator) = ask.known.and_then(validator) {
            request = request.header(header::IF_RANGE, validator);
        }
        if let Some(user_info) = ask.credentials_of.user_info().filter(|_| same_origin(ask.url, ask.credentials_of)) {
            let credentials = BASE64_STANDARD.encode(basic(user_info));
            request = request.header(header::AUTHORIZATION, format!("Basic {credentials}"));
        }
        request.config().timeout_global(Some(time)).build().call().map_err(NoAnswer::from)
    }
}

impl From<ureq::Error> for NoAnswer {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::TimedOut,
            ureq::Error::Other(inner) => match inner.downcast::<DeniedAddress>() {
                Ok(denied) => Self::Denied(*denied),
                Err(other) => Self::Failed(other.to_string()),
            },
            // Of all errors these alone repeat the URL.
            ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => {
                Self::Failed("the URL is of no use".to_owned())
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<std::io::Error> for NoAnswer {
    fn from(error: std::io::Error) -> Self {
        ureq::Error::from(error).into()
    }
}

fn trusted() -> Result<RootCerts, FetchError> {
    let Some(path) = std::env::var_os(CERTIFICATES).filter(|path| !path.is_empty()) else {
        return Ok(RootCerts::WebPki);
    };
    let failed = |reason: String| FetchError::Certificates { reason };
    let pem = std::fs::read(path).map_err(|e| failed(e.to_string()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|e| failed(e.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() { Err(failed("it has none".to_owned())) } else { Ok(certificates.into()) }
}

fn same_origin(a: &SourceUrl, b: &SourceUrl) -> bool {
    (a.scheme(), a.port()) == (b.scheme(), b.port()) && a.host().eq_ignore_ascii_case(b.host())
}

fn without_user_info(url: &SourceUrl) -> String {
    let whole = url.expose();
    match url.user_info() {
        Some(user_info) => whole.replacen(&format!("//{user_info}@"), "//", 1),
        None => whole,
    }
}

/// `user:password` as it is sent (RFC 7617, 2).
fn basic(user_info: &str) -> Vec<u8> {
    let (user, password) = user_info.split_once(':').unwrap_or((user_info, ""));
    percent_decode_str(user).chain([b':']).chain(percent_decode_str(password)).collect()
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use ureq::http::Uri;
    use ureq::unversioned::resolver::ResolvedSocketAddrs;
    use ureq::unversioned::transport::NextTimeout;

    /// Gives one address after the other, as a name server that means harm does.
    #[derive(Debug)]
    struct Rebinding {
        addresses: Vec<SocketAddr>,
        asked: AtomicUsize,
    }

    impl Resolver for Rebinding {
        fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
            let turn = self.asked.fetch_add(1, Ordering::Relaxed);
            let mut addresses = self.empty();
            addresses.push(self.addresses[turn.min(self.addresses.len() - 1)]);
            Ok(addresses)
        }
    }

    fn answered(fetcher: &Fetcher, text: &str) -> Result<u16, NoAnswer> {
        let url = SourceUrl::new(text).unwrap();
        let ask = Ask { url: &url, credentials_of: &url, range: &(0..1), known: None };
        fetcher.send(ask, Duration::from_secs(10)).map(|response| response.status().as_u16())
    }

    /// Answers as many requests, each on a connection of its own, and gives what they were.
    fn server(requests: usize) -> (SocketAddr, std::thread::JoinHandle<Vec<String>>) {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = move || {
            let answer = |connection: std::io::Result<std::net::TcpStream>| {
                let mut connection = connection.unwrap();
                let mut head = vec![0; 4096];
                let read = connection.read(&mut head).unwrap();
                connection.write_all(b"HTTP/1.1 404 None\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
                String::from_utf8_lossy(&head[..read]).into_owned()
            };
            listener.incoming().take(requests).map(answer).collect()
        };
        (address, std::thread::spawn(serve))
    }

    fn fetcher(addresses: Vec<SocketAddr>, allowed: &str) -> Fetcher {
        let rules = AddressRules::new(vec![allowed.parse().unwrap()]);
        Fetcher::with_resolver(rules, Rebinding { addresses, asked: AtomicUsize::new(0) }, RootCerts::WebPki)
    }

    #[test]
    fn a_name_is_resolved_once_for_each_connection_and_goes_where_it_was_checked() {
        let (good, requests) = server(1);
        // Were the name resolved again to connect, the second address, where nobody listens, would be it.
        let fetcher = fetcher(vec![good, "127.0.0.9:1".parse().unwrap()], "127.0.0.0/8");
        assert_eq!(answered(&fetcher, "http://rebinding.example/v").unwrap(), 404);
        assert_eq!(requests.join().unwrap().len(), 1);
    }

    #[test]
    fn a_name_that_resolves_to_another_address_the_second_time_is_denied_then() {
        let (good, requests) = server(1);
        let fetcher = fetcher(vec![good, "169.254.169.254:80".parse().unwrap()], "127.0.0.0/8");
        assert_eq!(answered(&fetcher, "http://rebinding.example/v").unwrap(), 404);
        assert!(matches!(answered(&fetcher, "http://rebinding.example/v"), Err(NoAnswer::Denied(_))));
        requests.join().unwrap();
    }

    #[test]
    fn hosts_that_are_addresses_in_disguise_are_denied() {
        let fetcher = Fetcher::with_resolver(AddressRules::default(), DefaultResolver::default(), RootCerts::WebPki);
        for host in [
            "127.0.0.1",
            "localhost",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "127.1",
            "0",
            "2852039166",
            "0xa9fea9fe",
            "169.254.169.254",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "[fe80::1]",
            "[fd00::1]",
            "0.0.0.0",
            "224.0.0.1",
            "100.64.0.1",
        ] {
            let answer = answered(&fetcher, &format!("http://{host}:9/v"));
            assert!(matches!(answer, Err(NoAnswer::Denied(_))), "{host}: {answer:?}");
        }
    }

    #[test]
    fn credentials_go_to_the_host_that_they_are_for_alone() {
        let (address, requests) = server(2);
        let fetcher = fetcher(vec![address], "127.0.0.0/8");
        let own = SourceUrl::new("http://us%65r:p%40ss@h/v").unwrap();
        let other = SourceUrl::new("http://other/v").unwrap();
        for url in [&own, &other] {
            let ask = Ask { url, credentials_of: &own, range: &(0..1), known: None };
            fetcher.send(ask, Duration::from_secs(10)).unwrap();
        }
        let requests = requests.join().unwrap();
        let sent = format!("authorization: Basic {}", BASE64_STANDARD.encode("user:p@ss"));
        let has = |request: &String| request.to_ascii_lowercase().contains(&sent.to_ascii_lowercase());
        assert!(has(&requests[0]) && !requests[1].to_ascii_lowercase().contains("authorization"), "{requests:?}");
        assert!(requests.iter().all(|request| request.contains("identity")), "{requests:?}");
    }
}
