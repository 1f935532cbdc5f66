//! A broker, a folder, and processes of the program.

use crate::Failure;
use framefleet_contract::identity::JobId;
use framefleet_contract::outcome::{Outcome, State};
use framefleet_queue::client::Client;
use framefleet_queue::topics::{Layout, apply};
use framefleet_queue::{Connection, Publisher};
use framefleet_tests::kafka::Broker;
use framefleet_tests::repository;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Where everything lies that is measured.
pub struct Place {
    pub folder: tempfile::TempDir,
    broker: Broker,
    pub model: String,
    fleets: Cell<u32>,
}

/// Topics of their own and results of their own.
pub struct Fleet<'a> {
    place: &'a Place,
    pub connection: Connection,
    pub results: PathBuf,
    pub client: Client,
    prefix: String,
}

/// A worker that ends with this.
pub struct Worker {
    process: Child,
    pub log: PathBuf,
}

/// Nothing that is measured takes longer.
const PATIENCE: Duration = Duration::from_mins(30);
const LOOK: Duration = Duration::from_millis(2);

impl Place {
    pub fn new(model: &Path) -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?;
        let models = folder.path().join("models");
        fs::create_dir(&models)?;
        let name = model.file_name().ok_or("the model is no file")?;
        fs::copy(model, models.join(name))?;
        let model = model.file_stem().ok_or("the model has no name")?.to_string_lossy().into_owned();
        Ok(Self { folder, broker: Broker::start(), model, fleets: Cell::new(0) })
    }

    pub fn models(&self) -> PathBuf {
        self.folder.path().join("models")
    }

    pub fn fleet(&self, partitions: u32) -> Result<Fleet<'_>, Failure> {
        let number = self.fleets.get();
        self.fleets.set(number + 1);
        let prefix = format!("bench-{number}");
        let connection = Connection::new(&self.broker.bootstrap(), &prefix, BTreeMap::new())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(apply(&connection, &Layout { partitions, ..Layout::default() }))?;
        let client = Client::new(connection.clone())?;
        let results = self.folder.path().join(format!("results-{number}"));
        Ok(Fleet { place: self, connection, results, client, prefix })
    }

    /// Seconds of processors that the broker has used.
    pub fn broker_cpu_s(&self) -> f64 {
        cpu_s(self.broker.process_id())
    }

    /// The program, on these cores.
    pub fn program(&self, cores: Option<&str>) -> Command {
        let program = repository::framefleet();
        let mut command = match cores {
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cores]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(self.folder.path()).stdin(Stdio::null()).env_remove("FRAMEFLEET_LOG");
        command
    }

    /// Hard-linked files would be one file: copies.
    pub fn copies(&self, videos: &[PathBuf], count: usize) -> Result<Vec<PathBuf>, Failure> {
        let folder = self.folder.path().join("copies");
        fs::create_dir_all(&folder)?;
        let mut copies = Vec::new();
        for (number, video) in videos.iter().cycle().take(count).enumerate() {
            let name = video.file_name().ok_or("a video is no file")?.to_string_lossy().into_owned();
            let copy = folder.join(format!("{number:03}-{name}"));
            fs::copy(video, &copy)?;
            copies.push(copy);
        }
        Ok(copies)
    }
}

impl Fleet<'_> {
    /// A worker, which is ready when this comes back.
    pub fn worker(&self, name: &str, cores: Option<&str>, arguments: &[&str]) -> Result<Worker, Failure> {
        let log = self.place.folder.path().join(format!("{}-{name}.log", self.prefix));
        let mut command = self.command(cores, &["worker"]);
        command.arg("--models").arg(self.place.models()).arg("--out").arg(&self.results).args(arguments);
        let process = command.stderr(fs::File::create(&log)?).stdout(Stdio::null()).spawn()?;
        let mut worker = Worker { process, log };
        let mut has_ended = false;
        until("a worker is ready", || {
            has_ended = worker.process.try_wait().is_ok_and(|status| status.is_some());
            has_ended || fs::read_to_string(&worker.log).is_ok_and(|log| log.contains(" ready"))
        })?;
        if has_ended { Err(fs::read_to_string(&worker.log)?.into()) } else { Ok(worker) }
    }

    /// The program, told about this fleet.
    pub fn command(&self, cores: Option<&str>, arguments: &[&str]) -> Command {
        let mut command = self.place.program(cores);
        command.args(arguments).args(["--prefix", &self.prefix, "--brokers", self.connection.brokers()]);
        command
    }

    pub fn publisher(&self) -> Result<Publisher, Failure> {
        Ok(Publisher::new(&self.connection)?)
    }

    /// Waits for the outcomes of these jobs, all successes, and gives when the last one was there.
    pub fn succeeded(&self, jobs: &[JobId]) -> Result<SystemTime, Failure> {
        let outcome = |job: &JobId| self.results.join("jobs").join(job.as_str()).join("outcome.json");
        until("all jobs have ended", || jobs.iter().all(|job| outcome(job).exists()))?;
        let mut last = SystemTime::UNIX_EPOCH;
        for job in jobs {
            let outcome = outcome(job);
            let ended: Outcome = serde_json::from_slice(&fs::read(&outcome)?)?;
            if ended.state != State::Succeeded {
                return Err(format!("{job}: {:?}", ended.error).into());
            }
            last = last.max(fs::metadata(&outcome)?.modified()?);
        }
        Ok(last)
    }
}

impl Worker {
    /// Resident memory, MB.
    pub fn memory_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok()).unwrap_or(0.0) * 1.024e-3
    }

    /// Ends it as a cluster does. A killed one would stay in its groups until its session is over.
    pub fn leave(mut self) -> Result<(), Failure> {
        let status = Command::new("kill").arg(self.process.id().to_string()).status()?;
        if status.success() && self.process.wait()?.success() { Ok(()) } else { Err("a worker did not leave".into()) }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// User and system time of a process, by the kernel's clock of 100 ticks a second.
fn cpu_s(process: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split(' ').collect()).unwrap_or_default();
    let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(12) + ticks(13)) / 100.0
}

/// Waits until something is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), Failure> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("still not so: {what}").into());
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}
