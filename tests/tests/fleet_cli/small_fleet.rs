//! A fleet of one worker with topics of its own, and calls of the program as a user of it makes them.

#![allow(dead_code, reason = "each program of tests needs another part of it")]

use framefleet_contract::identity::JobId;
use framefleet_contract::message::submission::Submission;
use framefleet_queue::Connection;
use framefleet_queue::client::Client;
use framefleet_tests::{Broker, Ended, Scratch, repository, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a test has for itself: topics with a prefix, and a folder with the results.
pub struct SmallFleet {
    pub scratch: Scratch,
    prefix: &'static str,
}

/// A worker that ends with the test.
pub struct WorkerProcess {
    process: Child,
    log: PathBuf,
}

impl SmallFleet {
    pub fn new(prefix: &'static str) -> Self {
        let fleet = Self { scratch: Scratch::new(), prefix };
        let applied = fleet.call(&["topics", "apply", "--partitions", "4"]);
        assert_eq!(applied.status, Some(0), "{applied}");
        fleet
    }

    /// A program that finds the fleet, in the test's folder.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.scratch.path()).env_remove("FRAMEFLEET_LOG").stdin(Stdio::null());
        command.env("FRAMEFLEET_BROKERS", Broker::shared().bootstrap());
        command.env("FRAMEFLEET_PREFIX", self.prefix).env("FRAMEFLEET_RESULTS", self.results());
        command
    }

    /// Calls `framefleet` with these arguments.
    pub fn call(&self, arguments: &[&str]) -> Ended {
        let mut command = self.command(repository::framefleet());
        let output = command.args(arguments).output().unwrap();
        Ended::new(format!("framefleet {}", arguments.join(" ")), output)
    }

    /// Sends a request without asking what there is.
    pub fn submit_unseen(&self, id: &str, source: &str) {
        let connection = Connection::new(&Broker::shared().bootstrap(), self.prefix, BTreeMap::new()).unwrap();
        let submission = Submission::new(JobId::new(id).unwrap(), source);
        Client::new(connection).unwrap().submit(&submission).unwrap().wait().unwrap();
    }

    /// What a call prints that ends well and says nothing on stderr, but how long it waits.
    pub fn said(&self, arguments: &[&str]) -> String {
        let ended = self.call(arguments);
        let is_patient = ended.stderr.lines().all(|line| line.contains(" have ended; waiting for "));
        assert!(ended.status == Some(0) && is_patient, "{ended}");
        ended.stdout
    }

    /// The lines of JSON of such a call.
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        self.said(&arguments).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The state of a job, empty where it is not known.
    pub fn state(&self, job: &str) -> String {
        let jobs = self.json(&["jobs"]);
        let found = jobs.iter().find(|found| found["job_id"] == job);
        found.map(|job| job["state"].as_str().unwrap().to_owned()).unwrap_or_default()
    }

    /// Starts a worker, and comes back when it takes work.
    pub fn worker(&self) -> WorkerProcess {
        self.worker_with(&[])
    }

    pub fn worker_with(&self, arguments: &[&str]) -> WorkerProcess {
        let log = self.scratch.join("worker.log");
        let mut command = self.command("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(repository::framefleet());
        command.args([
            "worker",
            "--listen",
            "127.0.0.1:0",
            "--segment-seconds",
            "2",
            "--grace-seconds",
            "5",
            "--models",
        ]);
        command.arg(repository::root().join("models/catalog")).args(arguments);
        command.stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut worker = WorkerProcess { process: command.spawn().unwrap(), log };
        wait::until("the worker takes work", || {
            assert_eq!(worker.process.try_wait().unwrap(), None, "{}", worker.said());
            worker.said().contains("ready")
        });
        worker
    }

    pub fn results(&self) -> PathBuf {
        self.scratch.join("results")
    }

    pub fn job_folder(&self, job: &str) -> PathBuf {
        self.results().join("jobs").join(job)
    }
}

impl WorkerProcess {
    /// Everything that it has logged.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Where it answers questions about itself: `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        let said = self.said();
        let after = said.split_once("http://").expect("it says where it listens").1;
        after.split('/').next().unwrap().to_owned()
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// As Ctrl-C does.
pub fn interrupt(process: &Child) {
    kill_process(Pid::from_child(process), Signal::INT).unwrap();
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
