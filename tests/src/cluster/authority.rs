//! Whom the control plane trusts: a certificate authority of its own, the key by which it signs the tokens of service
//! accounts, and a token for the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

/// Of somebody who may do everything. Only this machine can reach a server that takes it.
pub const ADMIN_TOKEN: &str = "token-of-the-test";
const NEW_KEY: [&str; 6] = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

impl Authority {
    pub fn new(folder: &Path) -> Self {
        let this = Self { folder: folder.to_owned() };
        let usual = ["-nodes", "-days", "2"];
        let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        let [ca, ca_key, cert, key, signing] =
            ["ca.pem", "ca.key", "server.pem", "server.key", "signing.key"].map(file);
        let authority = ["-subj", "/CN=framefleet-test-authority", "-addext", "keyUsage=critical,keyCertSign"];
        openssl(&[&NEW_KEY[..], &usual, &authority, &["-out", &ca, "-keyout", &ca_key]].concat());
        let names = ["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE"];
        let signed = ["-subj", "/CN=kube-apiserver", "-CA", &ca, "-CAkey", &ca_key, "-out", &cert, "-keyout", &key];
        openssl(&[&NEW_KEY[..], &usual, &names, &signed].concat());
        openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &signing]);
        fs::write(folder.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,admin,system:masters\n")).unwrap();
        this
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    pub fn signing_key(&self, flag: &str) -> String {
        format!("{flag}={}", self.folder.join("signing.key").display())
    }

    /// For the API server.
    pub fn flags(&self) -> [String; 6] {
        let file = |flag: &str, name: &str| format!("{flag}={}", self.folder.join(name).display());
        [
            file("--tls-cert-file", "server.pem"),
            file("--tls-private-key-file", "server.key"),
            file("--token-auth-file", "tokens.csv"),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            self.signing_key("--service-account-key-file"),
            self.signing_key("--service-account-signing-key-file"),
        ]
    }
}

fn openssl(arguments: &[&str]) {
    let mut openssl = Command::new("openssl");
    openssl.args(arguments);
    let output = openssl.output().unwrap_or_else(|e| panic!("openssl: {e}; install OpenSSL's program"));
    assert!(output.status.success(), "{openssl:?}: {output:?}");
}
