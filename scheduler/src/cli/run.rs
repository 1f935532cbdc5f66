//! `framefleet-scheduler run`: sizes pools until it is told to end.

use super::{DONE, FAILED, MISTAKE, print_error};
use crate::cluster::{Cluster, Scope};
use crate::health::{self, Answers};
use crate::lease::Candidate;
use crate::metrics;
use crate::reconcile::Scheduler;
use clap::Args;
use kube::{Client, Config};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// Sizes the pools of some namespaces until SIGTERM or SIGINT.
///
/// Reaches the API server as kubectl does: by its service account in a cluster, otherwise by KUBECONFIG. Several can run: one
/// leads, and another takes over when it is gone.
#[derive(Debug, Args)]
pub struct Run {
    /// A namespace whose pools are sized; can be given several times. Its own when left out
    #[arg(long, value_name = "NAME", conflicts_with = "all_namespaces", value_parser = name)]
    namespace: Vec<String>,

    /// Size the pools of all namespaces, which needs rights in all of them
    #[arg(long)]
    all_namespaces: bool,

    /// Where the lease is by which one of several schedulers leads. Its own namespace when left out
    #[arg(long, value_name = "NAME", value_parser = name)]
    lease_namespace: Option<String>,

    /// The name of that lease: schedulers of one name never size the same pools at once
    #[arg(long, value_name = "NAME", default_value = "framefleet-scheduler", value_parser = name)]
    lease: String,

    /// Look at everything anew after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, value_parser = period)]
    period: f64,

    /// Answer /livez, /readyz and /metrics at this address
    #[arg(long, value_name = "ADDRESS:PORT", env = "FRAMEFLEET_LISTEN")]
    listen: Option<SocketAddr>,
}

/// As the API server takes it for namespaces and leases.
fn name(text: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name =
        (1..=63).contains(&text.len()) && text.chars().all(is_inner) && !text.starts_with('-') && !text.ends_with('-');
    let refused =
        || "a name has at most 63 lower case letters, digits and hyphens, and no hyphen at its ends".to_owned();
    is_name.then(|| text.to_owned()).ok_or_else(refused)
}

/// A cycle that has not ended after so long hangs.
const HANGS_AFTER: Duration = Duration::from_mins(3);
/// For giving the lease back.
const GOODBYE: Duration = Duration::from_secs(3);
/// One question to the API server, but for watches, takes no longer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

impl Run {
    pub fn execute(&self) -> u8 {
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                print_error("INTERNAL", &error.to_string());
                return FAILED;
            }
        };
        runtime.block_on(self.run())
    }

    async fn run(&self) -> u8 {
        let recorder = match PrometheusBuilder::new()
            .set_buckets(&metrics::BUCKETS_S)
            .and_then(PrometheusBuilder::install_recorder)
        {
            Ok(recorder) => recorder,
            Err(error) => {
                print_error("INTERNAL", &format!("metrics cannot be recorded: {error}"));
                return FAILED;
            }
        };
        metrics::describe();
        let mut config = match Config::infer().await {
            Ok(config) => config,
            Err(error) => {
                let advice = "run it in a cluster with a service account, or set KUBECONFIG";
                print_error("KUBERNETES_UNKNOWN", &format!("no API server is configured: {error}; {advice}"));
                return MISTAKE;
            }
        };
        config.connect_timeout = Some(CONNECT_PATIENCE);
        let own = config.default_namespace.clone();
        let client = match Client::try_from(config) {
            Ok(client) => client,
            Err(error) => {
                print_error("KUBERNETES_UNKNOWN", &format!("the API server's address or keys are refused: {error}"));
                return MISTAKE;
            }
        };
        let identity = identity();
        let lease_namespace = self.lease_namespace.clone().unwrap_or_else(|| own.clone());
        let candidate = Candidate::new(client.clone(), &lease_namespace, &self.lease, &identity);
        let leadership = candidate.leadership();
        let cluster = Cluster::watch(&client, &self.scope(own));
        let watches = cluster.health();
        let last = Arc::new(Mutex::new(Instant::now()));
        if let Some(address) = self.listen {
            let (live, ready) = (last.clone(), leadership.clone());
            let answers = Answers {
                live: Arc::new(move || {
                    let since = live.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
                    if since < HANGS_AFTER { Ok(()) } else { Err(format!("no cycle for {} s", since.as_secs())) }
                }),
                // One that waits for its turn is as ready as can be.
                ready: Arc::new(move || match watches.unknown() {
                    Some(reason) if !ready.is_held() => Err(reason),
                    _ => Ok(()),
                }),
                metrics: recorder.clone(),
            };
            match health::serve(address, answers).await {
                Ok(bound) => tracing::info!("health and metrics at http://{bound}/"),
                Err(error) => {
                    print_error("BAD_REQUEST", &format!("--listen {address}: {error}; choose another address"));
                    return MISTAKE;
                }
            }
        }
        let scheduler = Scheduler::new(client.clone(), cluster, leadership, &identity);
        let upkeep = async {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                recorder.run_upkeep();
            }
        };
        let ended = move |at| *last.lock().unwrap_or_else(PoisonError::into_inner) = at;
        tokio::select! {
            () = candidate.run() => {}
            () = scheduler.run(Duration::from_secs_f64(self.period), ended) => {}
            () = upkeep => {}
            () = told_to_end() => {}
        }
        let release = Candidate::release(client, &lease_namespace, &self.lease, &identity);
        if !matches!(tokio::time::timeout(GOODBYE, release).await, Ok(Ok(()))) {
            tracing::info!("the lease is not given back: another scheduler takes it when it has run out");
        }
        DONE
    }

    fn scope(&self, own: String) -> Scope {
        if self.all_namespaces {
            return Scope::All;
        }
        let mut namespaces = self.namespace.clone();
        namespaces.sort();
        namespaces.dedup();
        Scope::Some(if namespaces.is_empty() { vec![own] } else { namespaces })
    }
}

/// Unlike any other's, also of a process that had the same number on the same host before.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "scheduler".to_owned());
    format!("{host}-{}-{:x}", std::process::id(), jiff::Timestamp::now().as_microsecond() & 0xff_ffff)
}

async fn told_to_end() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn period(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.1..=300.0).contains(&value) => Ok(value),
        _ => Err("take a number from 0.1 to 300".to_owned()),
    }
}
