//! A broker that lets in who comes by TLS, with a user's name and password.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::JobId;
use framefleet_tests::kafka::Setup;
use framefleet_tests::tls_relay::certificate;
use framefleet_tests::{Broker, Ended, Fleet, Footage, Oracle, Proxy, repository};
use std::fs;
use std::path::Path;
use std::process::Command;

const PASSWORD: &str = "open-sesame-42";
const PASSWORD_VARIABLE: &str = "FRAMEFLEET_KAFKA_SASL_PASSWORD";

/// The fleet by the direct way, and the way for others.
struct Secured {
    fleet: Fleet,
    proxy: Proxy,
    _broker: Broker,
}

impl Secured {
    fn new() -> Self {
        let (proxy, scratch) = (Proxy::new(), framefleet_tests::Scratch::new());
        let (certificate, key) = certificate(&scratch);
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        let store = scratch.file("store.pem", (read(&key) + &read(&certificate)).as_bytes());
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let users = format!("{module} required user_fleet=\"{PASSWORD}\";");
        let properties = [
            ("listener.security.protocol.map", "DIRECT:PLAINTEXT,PROXIED:SASL_SSL,CONTROLLER:PLAINTEXT"),
            ("listener.name.proxied.ssl.keystore.type", "PEM"),
            ("listener.name.proxied.ssl.keystore.location", store.to_str().unwrap()),
            ("listener.name.proxied.sasl.enabled.mechanisms", "PLAIN"),
            ("listener.name.proxied.plain.sasl.jaas.config", &users),
        ];
        let broker = Broker::start_with(Setup { properties: &properties, proxy: Some(&proxy) });
        let fleet = Fleet::on(&broker);
        fleet.scratch().file("certificate.pem", read(&certificate).as_bytes());
        fleet.scratch().file("password", PASSWORD.as_bytes());
        Self { fleet, proxy, _broker: broker }
    }

    /// How the broker is found, and everything that is no secret.
    fn way(&self) -> Vec<String> {
        let trusted = self.fleet.scratch().join("certificate.pem");
        let settings = format!(
            "security.protocol=SASL_SSL\nsasl.mechanisms=PLAIN\nsasl.username=fleet\nssl.ca.location={}\n",
            trusted.display()
        );
        let settings = self.fleet.scratch().file("kafka.properties", settings.as_bytes());
        let address = self.proxy.address().to_string();
        ["--brokers", &address, "--prefix", self.fleet.topics().prefix(), "--kafka-config", settings.to_str().unwrap()]
            .map(str::to_owned)
            .into()
    }

    fn call(&self, arguments: &[&str], password: Option<&str>) -> Ended {
        let mut command = Command::new(repository::framefleet());
        command.args(arguments).args(self.way()).env_remove(PASSWORD_VARIABLE);
        if let Some(password) = password {
            command.env(PASSWORD_VARIABLE, password);
        }
        Ended::new(format!("{arguments:?}"), command.output().unwrap())
    }
}

#[test]
fn a_fleet_works_by_tls_with_a_password_that_nobody_sees() {
    let secured = Secured::new();
    let fleet = &secured.fleet;
    let way = secured.way();
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    let everything = fleet.worker().env("FRAMEFLEET_LOG", "debug").env(PASSWORD_VARIABLE, PASSWORD);
    let worker = everything.with(&["--kafka", "debug=security"]).with(&way).started();
    let video = Footage::tiny().path.to_str().unwrap();
    let file = format!("sasl.password=@{}", fleet.scratch().join("password").display());
    let submitted = secured.call(
        &[
            "submit",
            video,
            "--job-id",
            "secured",
            "--model",
            "cells",
            "--wait",
            "--kafka",
            &file,
            "--confidence",
            "0",
            "--iou",
            "1",
        ],
        None,
    );
    assert!(submitted.status == Some(0) && submitted.stdout.ends_with("secured succeeded\n"), "{submitted}");
    Oracle::of(fleet).succeeded([&JobId::new("secured").unwrap()], Footage::tiny()).check();
    let jobs = secured.call(&["jobs"], Some(PASSWORD));
    assert!(jobs.status == Some(0) && jobs.stdout.contains("secured"), "{jobs}");
    assert!(worker.says("librdkafka: "), "{}", worker.log());
    for said in [worker.log(), submitted.stderr, jobs.stderr] {
        assert!(!said.contains(PASSWORD), "{said}");
    }
}

#[test]
fn whoever_is_not_let_in_is_told_why() {
    let secured = Secured::new();
    let refused = |arguments: &[&str], password, why: &str| {
        let ended = secured.call(arguments, Some(password));
        let said = ended.error(2, "KAFKA_UNAVAILABLE");
        assert!(said.contains(why) && !said.contains(password), "{ended}");
    };
    for command in [&["jobs"], &["topics", "apply"][..]] {
        refused(command, "open-barley-42", "Authentication failed");
    }
    refused(&["jobs", "--kafka", "ssl.ca.location="], PASSWORD, "certificate verify failed");
    refused(&["jobs", "--kafka", "security.protocol=PLAINTEXT"], PASSWORD, "security.protocol");
    let nowhere = secured.call(&["jobs", "--kafka", "ssl.ca.location=/nowhere"], Some(PASSWORD));
    nowhere.error(2, "BAD_REQUEST");
}
