//! A worker of the fleet: a real process that can be killed, stopped and asked.

use super::Fleet;
use crate::keeper;
use crate::repository;
use crate::wait;
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// `framefleet worker`, to be completed and started.
#[derive(Debug)]
pub struct WorkerCall {
    /// What the program is started by: it takes a command line.
    through: Vec<String>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    log: PathBuf,
}

#[derive(Debug)]
pub struct Worker {
    process: Child,
    log: PathBuf,
    has_ended: bool,
}

/// A lost worker's partitions are given to others after this long.
pub const SESSION: Duration = Duration::from_secs(3);

impl WorkerCall {
    pub(super) fn new(fleet: &Fleet, brokers: &str, number: u32) -> Self {
        let log = fleet.scratch.join(&format!("worker-{number}.log"));
        let mut this = Self { through: Vec::new(), arguments: Vec::new(), environment: Vec::new(), log };
        this.arguments.push("worker".into());
        let folder = |flag: &str, path: PathBuf| [flag.into(), path.into_os_string()];
        this.arguments.extend(folder("--out", fleet.results_of_workers()));
        this.arguments.extend(folder("--models", fleet.scratch.join("models")));
        let session = format!("session.timeout.ms={}", SESSION.as_millis());
        this.with(&["--brokers", brokers, "--prefix", fleet.topics().prefix()])
            .with(&["--threads", "1", "--slots", "2", "--segment-seconds", "1", "--min-free", "0"])
            .with(&["--kafka", &session, "--kafka", "heartbeat.interval.ms=500", "--listen", "127.0.0.1:0"])
            .env("FRAMEFLEET_LOG", std::env::var("FRAMEFLEET_LOG").unwrap_or_else(|_| "info".to_owned()))
    }

    /// Later ones win over earlier ones where a flag can be given once.
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        for argument in arguments {
            // The program takes most flags once.
            let known = argument.starts_with("--") && *argument != "--kafka";
            if let Some(place) = self.arguments.iter().position(|given| known && given == argument) {
                self.arguments.drain(place..place + 2);
            }
            self.arguments.push(argument.into());
        }
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), value.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn envs<T: AsRef<OsStr>>(self, variables: impl IntoIterator<Item = (&'static str, T)>) -> Self {
        variables.into_iter().fold(self, |call, (name, value)| call.env(name, value))
    }

    /// In another one's namespaces, such as a [`crate::disk::Disk`]'s.
    #[must_use]
    pub fn through(mut self, prefix: Vec<String>) -> Self {
        self.through = prefix;
        self
    }

    /// Starts it, and does not wait. It goes with the test's process, however that ends.
    pub fn start(self) -> Worker {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let words = self.through.iter().map(String::as_str).chain(["setpriv", "--pdeathsig", "KILL"]);
        let words: Vec<&str> = words.collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(repository::framefleet()).args(self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).envs(self.environment);
        Worker { process: keeper::spawn(command), log: self.log, has_ended: false }
    }

    /// Starts it, and waits until it has its partitions.
    pub fn started(self) -> Worker {
        let mut worker = self.start();
        worker.wait_until_ready();
        worker
    }
}

impl Worker {
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub fn wait_until_ready(&mut self) {
        wait::calmly("the worker has joined its groups", || {
            assert!(!self.has_ended(), "the worker ended: {}", self.log());
            self.says("fleet: ready")
        });
    }

    /// `kill -9`
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        self.process.wait().unwrap();
        self.has_ended = true;
    }

    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// It does nothing, and its sessions go on without it, until [`Self::resume`].
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn has_ended(&mut self) -> bool {
        self.has_ended = self.has_ended || self.process.try_wait().unwrap().is_some();
        self.has_ended
    }

    /// Its exit status, or `None` where a signal ended it.
    pub fn wait_for_end(&mut self) -> Option<i32> {
        wait::calmly("the worker has ended", || self.has_ended());
        let status = self.process.wait().unwrap();
        println!("{}: {status}", self.log.display());
        status.code()
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    pub fn says(&self, words: &str) -> bool {
        self.log().contains(words)
    }

    /// Asks one of its endpoints, such as `/readyz`: the status, and the answer.
    pub fn ask(&self, path: &str) -> (u16, String) {
        let log = self.log();
        let address = log.split_once("metrics at http://").unwrap().1.split('/').next().unwrap();
        let mut connection = TcpStream::connect(address).unwrap();
        write!(connection, "GET {path} HTTP/1.1\r\nHost: worker\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Segments that it has published itself.
    pub fn published(&self) -> u64 {
        let metrics = self.ask("/metrics").1;
        let line = metrics.lines().find_map(|line| line.strip_prefix("framefleet_segments_published_total "));
        line.unwrap().parse().unwrap()
    }

    pub fn is_ready(&self) -> bool {
        self.ask("/readyz").0 == 200
    }

    /// Most memory that it ever had at once, MiB.
    pub fn peak_memory_mib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process_id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        const LINES: usize = 40;
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("--- {}\n{}", self.log.display(), lines[lines.len().saturating_sub(LINES)..].join("\n"));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
