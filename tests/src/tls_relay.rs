//! TLS in front of a [`Server`].

use crate::repository;
use crate::scratch::Scratch;
use crate::server::Server;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A certificate of 127.0.0.1 that nobody trusts unless told to, and its key: files of PEM.
pub fn certificate(scratch: &Scratch) -> (PathBuf, PathBuf) {
    let (certificate, key) = (scratch.join("certificate.pem"), scratch.join("key.pem"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]);
    openssl.args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.arg("-out").arg(&certificate).arg("-keyout").arg(&key).stderr(Stdio::null());
    let status = openssl.status().unwrap_or_else(|e| panic!("openssl: {e}; install OpenSSL's program"));
    assert!(status.success(), "{openssl:?} failed");
    (certificate, key)
}

/// Ends when it is dropped.
#[derive(Debug)]
pub struct TlsRelay {
    relay: Child,
    port: u16,
    certificate: PathBuf,
}

impl TlsRelay {
    pub fn start(scratch: &Scratch, server: &Server) -> Self {
        let (certificate, key) = certificate(scratch);
        let mut python = Command::new("python3");
        python.arg(repository::root().join("tests/faults/tls_relay.py")).arg(&certificate).arg(&key);
        python.arg(server.address().port().to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut relay = python.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(relay.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { relay, port: line.trim().parse().unwrap(), certificate }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }

    pub fn certificate(&self) -> &Path {
        &self.certificate
    }
}

impl Drop for TlsRelay {
    fn drop(&mut self) {
        let _ = self.relay.kill();
        let _ = self.relay.wait();
    }
}
