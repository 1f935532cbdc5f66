//! The broker and the proxy that tests of the fleet stand on do what they say.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::kafka::Setup;
use framefleet_tests::proxy::Way;
use framefleet_tests::{Broker, Proxy, wait};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const TIMED_OUT: Result<(), RDKafkaErrorCode> = Err(RDKafkaErrorCode::MessageTimedOut);

#[test]
fn what_is_produced_is_consumed() {
    let broker = Broker::shared();
    broker.create_topic("round-trip", 1);
    let client = Client::new(broker.bootstrap(), "round-trip");
    let sent = ["one", "two", "three"];
    for text in sent {
        assert_eq!(client.produce(text), Ok(()));
    }
    assert_eq!(client.consume_until("three"), sent);
}

#[test]
fn a_topic_does_not_come_into_being_by_being_used() {
    let client = Client::new(Broker::shared().bootstrap(), "misspelt");
    assert!(client.produce("lost").is_err());
}

#[test]
fn properties_are_the_brokers() {
    let broker = Broker::start_with(Setup { properties: &[("message.max.bytes", "2000")], ..Setup::default() });
    broker.create_topic("small", 1);
    let client = Client::new(broker.bootstrap(), "small");
    assert_eq!(client.produce("fits"), Ok(()));
    assert_eq!(client.produce(&"x".repeat(3000)), Err(RDKafkaErrorCode::MessageSizeTooLarge));
}

#[test]
fn what_was_acknowledged_outlives_a_kill() {
    let mut broker = Broker::start();
    broker.create_topic("kept", 1);
    let client = Client::new(broker.bootstrap(), "kept");
    assert_eq!(client.produce("before"), Ok(()));
    broker.kill();
    assert_eq!(client.produce("while it is down"), TIMED_OUT);
    broker.restart();
    assert_eq!(client.produce("after"), Ok(()));
    assert_eq!(client.consume_until("after"), ["before", "after"]);
}

#[test]
fn a_stopped_broker_answers_when_it_is_resumed() {
    let mut broker = Broker::start();
    broker.create_topic("stopped", 1);
    let client = Client::new(broker.bootstrap(), "stopped");
    assert_eq!(client.produce("before"), Ok(()));
    broker.stop();
    assert_eq!(client.produce("meanwhile"), TIMED_OUT);
    broker.resume();
    wait::until("it answers again", || client.produce("after").is_ok());
}

#[test]
fn what_is_lost_one_way_times_out_and_passes_again_in_calm() {
    for way in [Way::ToBroker, Way::ToClient] {
        let (proxy, _broker, client) = behind_proxy();
        assert_eq!(client.produce("before"), Ok(()));
        proxy.lose(way);
        assert_eq!(client.produce("lost"), TIMED_OUT, "{way:?}");
        proxy.calm();
        wait::until("forwarding again", || client.produce("after").is_ok());
        // Without an answer nobody knows whether it was stored.
        let stored = client.consume_until("after");
        let expected: &[&str] = if way == Way::ToBroker { &["before", "after"] } else { &["before", "lost", "after"] };
        assert_eq!(stored, expected, "{way:?}");
    }
}

#[test]
fn a_reset_is_survived_and_latency_is_felt() {
    let (proxy, _broker, client) = behind_proxy();
    assert_eq!(client.produce("before"), Ok(()));
    assert!(proxy.reset() > 0, "the client is not on the proxy");
    assert_eq!(client.produce("after"), Ok(()));

    let latency = Duration::from_millis(150);
    for way in [Way::ToBroker, Way::ToClient] {
        proxy.delay(way, latency);
    }
    let started = Instant::now();
    assert_eq!(client.produce("late"), Ok(()));
    assert!(started.elapsed() >= 2 * latency, "only {:?}", started.elapsed());
    proxy.calm();
    assert_eq!(client.consume_until("late"), ["before", "after", "late"]);
}

#[test]
fn a_reset_is_one_on_both_ends_and_the_way_is_free_again() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::new();
    proxy.forward_to(server.local_addr().unwrap());
    for _ in 0..2 {
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(b"here").unwrap();
        let (mut accepted, _) = server.accept().unwrap();
        let mut said = [0; 4];
        accepted.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"here");

        assert_eq!(proxy.reset(), 1);
        for mut end in [client, accepted] {
            let error = end.read(&mut said).map_err(|e| e.kind());
            assert_eq!(error, Err(ErrorKind::ConnectionReset));
        }
    }
}

#[test]
fn a_broker_and_its_data_go_with_the_process_that_is_killed() {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_broker_holder")).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let said = lines.map(Result::unwrap).find_map(|line| line.split_once("broker ").map(|(_, id)| id.to_owned()));
    let id = said.expect("it started a broker");
    let process = Path::new("/proc").join(&id);
    let folder = folder_of(&process);
    assert!(process.exists() && folder.join("data").exists());
    // It must not end by itself because its data is gone.
    assert!(Command::new("kill").args(["-STOP", &id]).status().unwrap().success());

    holder.kill().unwrap();
    holder.wait().unwrap();
    wait::until("the broker is gone", || !process.exists());
    wait::until("its data is gone", || !folder.exists());
}

/// Of the broker's settings, the last of its arguments.
fn folder_of(process: &Path) -> PathBuf {
    let arguments = String::from_utf8(fs::read(process.join("cmdline")).unwrap()).unwrap();
    let settings = arguments.trim_end_matches('\0').rsplit('\0').next().unwrap();
    Path::new(settings).parent().unwrap().to_owned()
}

fn behind_proxy() -> (Proxy, Broker, Client) {
    let proxy = Proxy::new();
    let broker = Broker::start_with(Setup { proxy: Some(&proxy), ..Setup::default() });
    broker.create_topic("proxied", 1);
    let client = Client::new(proxy.address().to_string(), "proxied");
    (proxy, broker, client)
}

/// Of one topic with one partition.
struct Client {
    config: ClientConfig,
    producer: FutureProducer,
    topic: &'static str,
}

impl Client {
    fn new(bootstrap: String, topic: &'static str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("socket.timeout.ms", "1000");
        config.set("reconnect.backoff.ms", "20").set("reconnect.backoff.max.ms", "100");
        let producer = config.clone().set("message.timeout.ms", "3000").set("linger.ms", "0").create();
        Self { config, producer: producer.unwrap(), topic }
    }

    fn produce(&self, text: &str) -> Result<(), RDKafkaErrorCode> {
        let record = FutureRecord::<(), _>::to(self.topic).payload(text).partition(0);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let sent = runtime.block_on(self.producer.send(record, Duration::ZERO));
        sent.map(drop).map_err(|(e, _)| match e {
            KafkaError::MessageProduction(code) => code,
            other => other.rdkafka_error_code().unwrap(),
        })
    }

    /// All messages up to this one. What is repeated one behind the other is there once: a producer that was not answered
    /// sends again.
    fn consume_until(&self, last: &str) -> Vec<String> {
        let consumer: BaseConsumer = self.config.clone().set("group.id", "nobody-joins-it").create().unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(self.topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        let mut texts = Vec::new();
        wait::until("all messages came", || {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                texts.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            }
            texts.last().is_some_and(|text| text == last)
        });
        texts.dedup();
        texts
    }
}
