//! A real Kafka broker of a test's own: one node, on loopback, its data in a temporary folder.
//!
//! It goes when it is dropped, and with the test's process however that ends.

mod jars;

use crate::keeper::{self, PassingFolder};
use crate::ports::free_address;
use crate::proxy::Proxy;
use crate::wait;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::{Metadata, MetadataTopic};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// How a broker differs from the usual one.
#[derive(Debug, Default, Clone, Copy)]
pub struct Setup<'a> {
    /// Lines of `server.properties`, such as `("log.retention.ms", "1000")`. They win over the usual ones.
    pub properties: &'a [(&'a str, &'a str)],
    /// Whoever comes to the broker by this proxy is told the proxy's address, and stays on it.
    pub proxy: Option<&'a Proxy>,
}

#[derive(Debug)]
pub struct Broker {
    process: Child,
    folder: PassingFolder,
    address: SocketAddr,
}

impl Broker {
    pub fn start() -> Self {
        Self::start_with(Setup::default())
    }

    pub fn start_with(setup: Setup) -> Self {
        let folder = PassingFolder::new();
        let [address, proxied, controller] = [(); 3].map(|()| free_address());
        fs::write(folder.path().join("server.properties"), {
            let mut lines = include_str!("../kafka/server.properties").to_owned();
            let mut add = |key: &str, value: &str| lines.extend(["\n", key, "=", value]);
            add("listeners", &format!("DIRECT://{address},PROXIED://{proxied},CONTROLLER://{controller}"));
            let advertised = setup.proxy.map_or(proxied, Proxy::address);
            add("advertised.listeners", &format!("DIRECT://{address},PROXIED://{advertised}"));
            add("controller.quorum.voters", &format!("1@{controller}"));
            add("log.dirs", folder.path().join("data").to_str().unwrap());
            setup.properties.iter().for_each(|(key, value)| add(key, value));
            lines
        })
        .unwrap();
        format_data(folder.path());
        if let Some(proxy) = setup.proxy {
            proxy.forward_to(proxied);
        }
        let process = keeper::spawn(broker(folder.path()));
        let mut broker = Self { process, folder, address };
        broker.wait_until_ready();
        broker
    }

    /// One for all tests of a program that do not disturb it: each has topics of its own. It stays until the program ends.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// What a client takes as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Topics do not come into being by being used.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().unwrap();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let created = runtime.block_on(admin.create_topics([&topic], &options)).unwrap();
        assert_eq!(created, [Ok(name.to_owned())]);
    }

    /// As if its machine had lost power, but for what the operating system still writes to the disk.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// It keeps its connections and does nothing, until [`Self::resume`].
    pub fn stop(&mut self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&mut self) {
        self.signal(Signal::CONT);
    }

    /// Again with the same addresses and data, after it was killed or not.
    pub fn restart(&mut self) {
        self.kill();
        self.process = keeper::spawn(broker(self.folder.path()));
        self.wait_until_ready();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn wait_until_ready(&mut self) {
        let client: BaseConsumer = self.client().create().unwrap();
        wait::until("the broker answers", || {
            if let Some(status) = self.process.try_wait().unwrap() {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
                panic!("the broker ended with {status}: {log}");
            }
            client.fetch_metadata(None, Duration::from_secs(1)).is_ok_and(|metadata| is_ready(&metadata))
        });
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
        config
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// It knows of itself as a broker that takes part, and leads what it had led before.
fn is_ready(metadata: &Metadata) -> bool {
    let mut partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    !metadata.brokers().is_empty() && partitions.all(|partition| partition.leader() >= 0)
}

fn format_data(folder: &Path) {
    let mut format = java(folder);
    format.args(["kafka.tools.StorageTool", "format", "--cluster-id", "framefleet-test-broker", "--config"]);
    let output = format.arg(folder.join("server.properties")).output().unwrap();
    assert!(output.status.success(), "{format:?}: {output:?}");
}

fn broker(folder: &Path) -> Command {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut broker = java(folder);
    broker.arg("kafka.Kafka").arg(folder.join("server.properties"));
    broker.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    broker
}

/// Ends with the thread that starts it.
fn java(folder: &Path) -> Command {
    let jars = jars::folder();
    let mut java = Command::new("setpriv");
    java.args(["--pdeathsig", "KILL", "java"]).current_dir(folder);
    java.arg(concat!("@", env!("CARGO_MANIFEST_DIR"), "/kafka/java.options"));
    java.arg(format!("-XX:SharedArchiveFile={}", jars.join("classes.jsa").display()));
    java.arg("-cp").arg(jars.join("*"));
    java
}
