//! `framefleet worker`: works for a fleet.

use super::device_flags::DeviceFlags;
use super::kafka::KafkaFlags;
use super::limits::LimitFlags;
use super::{DONE, FAILED, print_error, status_before_job};
use crate::error::{JobError, Result};
use crate::fleet::{self, Roles, Settings};
use crate::interrupt::Stop;
use clap::{Args, ValueEnum};
use framefleet_contract::message::submission::is_queue;
use framefleet_contract::retention::Keep;
use framefleet_contract::{Disposition, ErrorCode};
use framefleet_native::process::end_process;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Works for a fleet: takes jobs and segments from Kafka until it is told to leave.
///
/// SIGTERM or SIGINT: takes nothing more, finishes what fits into --grace-seconds, hands back the rest, commits and
/// leaves. A second signal ends it at once. Nothing is lost either way.
#[derive(Debug, Args)]
pub struct Worker {
    /// What it does: plan (probe and cut videos), detect (run the model), finish (track, and end jobs)
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["plan", "detect", "finish"])]
    roles: Vec<Role>,

    /// The queues whose segments it detects, with their weights: each gets work in proportion, and none starves
    #[arg(long, value_name = "NAME=WEIGHT,...", value_delimiter = ',', default_value = "high=16,normal=4,low=1",
          value_parser = queue)]
    queues: Vec<(String, u32)>,

    /// Where results go, the same for all workers. Needs a file system with hard links
    #[arg(long, value_name = "DIR", env = "FRAMEFLEET_RESULTS", default_value = "runs")]
    out: PathBuf,

    /// The model directory, for the role plan: NAME.onnx, or NAME/VERSION/model.onnx
    #[arg(long, value_name = "DIR", env = "FRAMEFLEET_MODELS", default_value = "models/catalog")]
    models: PathBuf,

    #[command(flatten)]
    device: DeviceFlags,

    /// Inference threads; all cores when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: Option<u32>,

    /// Segments that it works on at once, which share the inference threads; enough to keep them busy when left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    slots: Option<u32>,

    /// Cut long videos into segments of at least this many seconds. Changes no result
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    segment_seconds: f64,

    /// Leave when the whole group has had no work for so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    leave_when_empty: Option<f64>,

    /// Leave when this worker has had no work for so many seconds, whatever others have. Nothing is handed over: others get
    /// its partitions
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "leave_when_empty")]
    leave_when_idle: Option<f64>,

    /// When told to leave, finish what fits into so many seconds. Kubernetes' grace period, 30 s by default, must be 10 s longer
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = seconds)]
    grace_seconds: f64,

    /// Answer /livez, /readyz, /startupz and /metrics at this address
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRAMEFLEET_LISTEN")]
    listen: Option<SocketAddr>,

    /// Take no work while less of the results' volume is free, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = percent)]
    min_free: f64,

    /// Remove jobs that ended longer ago than this: 30d, 12h
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    keep_for: Option<Duration>,

    /// Remove the oldest jobs that have ended, beyond so many
    #[arg(long, value_name = "N")]
    keep_last: Option<usize>,

    #[command(flatten)]
    kafka: KafkaFlags,

    // Last, since its heading holds for all that follow.
    #[command(flatten)]
    limits: LimitFlags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Plan,
    Detect,
    Finish,
}

impl Worker {
    pub fn execute(&self) -> u8 {
        let status = self.work();
        // Threads of libraries may still run, and what these take apart at the end of a process is not theirs alone.
        end_process(status.into())
    }

    fn work(&self) -> u8 {
        match self.prepare().and_then(|(settings, stop)| fleet::run(&settings, &stop)) {
            Ok(()) => DONE,
            Err(error) => {
                print_error(error.code(), &error.to_string());
                match error.disposition() {
                    Disposition::Retry if error.code() != ErrorCode::DeviceLost => FAILED,
                    _ => status_before_job(&error),
                }
            }
        }
    }

    fn prepare(&self) -> Result<(Settings, Stop)> {
        if !self.limits.has_roots() {
            tracing::warn!(
                "no --root is given: whoever may submit jobs may have any video analysed that can be read here"
            );
        }
        if self.roles().plan && !self.models.is_dir() {
            let place = self.models.display();
            return Err(JobError::BadRequest(format!(
                "--models {place}: there is no such folder; make it, or name another"
            )));
        }
        let stop = Stop::on_signals().map_err(|e| JobError::BadRequest(format!("signals cannot be handled: {e}")))?;
        let metrics = crate::metrics::recorder()
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|e| JobError::BadRequest(format!("metrics cannot be recorded: {e}")))?;
        crate::metrics::describe();
        crate::metrics::describe_fleet();
        framefleet_models::metrics::describe();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.threads.map_or(cores, |threads| threads as usize);
        let settings = Settings {
            connection: self.kafka.connection()?,
            roles: self.roles(),
            queues: self.queues()?,
            results: self.out.clone(),
            models: self.models.clone(),
            places: self.limits.places()?,
            limits: self.limits.limits(),
            device: self.device.device,
            gpu: self.device.gpu(),
            threads,
            slots: self.slots.map_or_else(|| slots_for(threads), |slots| slots as usize),
            segment_seconds: self.segment_seconds,
            grace: Duration::from_secs_f64(self.grace_seconds),
            leave_when_empty: self.leave_when_empty.map(Duration::from_secs_f64),
            leave_when_idle: self.leave_when_idle.map(Duration::from_secs_f64),
            listen: self.listen,
            least_free: self.min_free / 100.0,
            keep: Keep { age: self.keep_for, count: self.keep_last },
            metrics,
        };
        Ok((settings, stop))
    }

    fn roles(&self) -> Roles {
        let has = |role| self.roles.contains(&role);
        Roles { plan: has(Role::Plan), detect: has(Role::Detect), finish: has(Role::Finish) }
    }

    fn queues(&self) -> Result<BTreeMap<String, u32>> {
        let queues: BTreeMap<String, u32> = self.queues.iter().cloned().collect();
        if queues.len() != self.queues.len() {
            return Err(JobError::BadRequest("--queues names a queue twice; give each its weight once".to_owned()));
        }
        Ok(queues)
    }
}

/// A decoder keeps about two inference threads busy, and one segment more than that fills the gaps between segments.
fn slots_for(threads: usize) -> usize {
    threads.div_ceil(2) + 1
}

fn queue(text: &str) -> std::result::Result<(String, u32), String> {
    let (name, weight) = text.split_once('=').unwrap_or((text, "1"));
    match weight.parse() {
        Ok(weight @ 1..=1_000_000) if is_queue(name) => Ok((name.to_owned(), weight)),
        _ => Err("take NAME=WEIGHT, with a weight from 1 to 1000000".to_owned()),
    }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1e9).contains(&value) => Ok(value),
        _ => Err("take a number of at least 0".to_owned()),
    }
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..100.0).contains(&value) => Ok(value),
        _ => Err("take a number from 0 to below 100".to_owned()),
    }
}
