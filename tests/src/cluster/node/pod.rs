//! The life of a pod on a node, told by the one thread that leads it.

use super::address;
use super::agent::{Agent, Watched};
use super::container::{self, Prepared};
use super::environment::Sources;
use super::probes::{Health, Probes};
use super::reports::{Reports, is_answer};
use super::status::Status;
use crate::cluster::objects::{Objects, block_on};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;
use kube::api::{DeleteParams, Preconditions};
use rustix::process::{Pid, Signal, kill_process};
use std::net::Ipv4Addr;
use std::process::Child;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at a process.
const TICK: Duration = Duration::from_millis(30);
/// Before the API server is asked again for what it did not do.
pub const PATIENCE: Duration = Duration::from_millis(200);
/// Images that begin so cannot be had.
const MISSING: &str = "missing/";
/// Of the kubelet's pauses between two starts, from 10 seconds to 5 minutes, a tenth.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a pod's life here ends before its container has.
enum Leave {
    /// Somebody deletes it, and waits for the node.
    Deleted,
    /// The object or the node is gone, and nobody waits.
    Gone,
}

struct Life<'a> {
    agent: &'a Agent,
    watched: &'a Watched,
    pod: Arc<Pod>,
    address: Ipv4Addr,
    status: Status,
    reports: Reports,
}

pub fn run(agent: &Agent, watched: &Watched) {
    let pod = watched.latest();
    if matches!(phase(&pod), Some("Succeeded" | "Failed")) {
        return;
    }
    let address = address::next();
    let status = Status::new(&spec(&pod).containers[0], address);
    let pods: Objects<Pod> = agent.admin().objects(&namespace(&pod));
    let reports = Reports::of(pods.api().clone(), pod.name_any(), pod.uid().expect("it is told of, so it has one"));
    let mut life = Life { agent, watched, pod, address, status, reports };
    let left = life.live();
    watched.say_it_ended();
    life.reports.flush(|| life.is_gone());
    if let Err(Leave::Deleted) = left {
        life.delete();
    }
}

impl Life<'_> {
    fn live(&mut self) -> Result<(), Leave> {
        self.report();
        self.have_image()?;
        let container = self.prepare()?;
        loop {
            let exit_code = self.run_once(&container)?;
            let again = match spec(&self.pod).restart_policy.as_deref() {
                Some("Never") => false,
                Some("OnFailure") => exit_code != 0,
                _ => true,
            };
            if !again {
                self.status.finish();
                self.report();
                return Ok(());
            }
            self.pause(exit_code)?;
        }
    }

    fn have_image(&mut self) -> Result<(), Leave> {
        let image = self.container().image.clone().unwrap_or_default();
        let mut reason = "ErrImagePull";
        while image.starts_with(MISSING) {
            if self.status.wait(reason, format!("failed to pull {image}: not found")) {
                self.report();
            }
            self.stay(FIRST_PAUSE)?;
            reason = "ImagePullBackOff";
        }
        Ok(())
    }

    /// Tries until everything is there that it needs.
    fn prepare(&mut self) -> Result<Prepared, Leave> {
        loop {
            let sources = Sources { admin: self.agent.admin(), pod: &self.pod, address: self.address };
            match container::prepare(self.agent, &sources) {
                Ok(prepared) => return Ok(prepared),
                Err(not_yet) => {
                    if self.status.wait(not_yet.reason, not_yet.message) {
                        self.report();
                    }
                    self.stay(PATIENCE)?;
                }
            }
        }
    }

    fn run_once(&mut self, container: &Prepared) -> Result<i32, Leave> {
        let mut process = container.start();
        self.watched.set_process(Some(process.id()));
        self.status.run();
        let ended = self.watch_over(&mut process);
        // Whatever it has started goes with it.
        let exit_code = container::kill(&mut process);
        self.watched.set_process(None);
        ended?;
        self.status.end(exit_code);
        if self.is_deleted() {
            self.status.finish();
            self.report();
            return Err(Leave::Deleted);
        }
        Ok(exit_code)
    }

    /// Until it has ended, by itself or because it was told to, or will not end.
    fn watch_over(&mut self, process: &mut Child) -> Result<(), Leave> {
        let mut probes = Probes::begin(&spec(&self.pod).containers[0], &mut self.status);
        self.report();
        while process.try_wait().unwrap().is_none() {
            if self.is_gone() {
                return Err(Leave::Gone);
            }
            let health = probes.ask(self.address, &mut self.status);
            if self.is_deleted() || health == Health::Lost {
                return self.terminate(process);
            }
            if health == Health::Changed {
                self.report();
            }
            thread::park_timeout(TICK);
        }
        Ok(())
    }

    /// Whoever has not ended within the grace period is killed.
    fn terminate(&self, process: &mut Child) -> Result<(), Leave> {
        let grace = self.watched.latest().metadata.deletion_grace_period_seconds;
        let grace = grace.or(spec(&self.pod).termination_grace_period_seconds).unwrap_or(30);
        let _ = kill_process(Pid::from_child(process), Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(grace as u64);
        while process.try_wait().unwrap().is_none() && Instant::now() < deadline {
            if self.is_gone() {
                return Err(Leave::Gone);
            }
            thread::park_timeout(TICK);
        }
        Ok(())
    }

    fn pause(&mut self, exit_code: i32) -> Result<(), Leave> {
        self.status.restart();
        let pause = FIRST_PAUSE.saturating_mul(1 << self.status.restarts().min(5)).min(LONGEST_PAUSE);
        self.status.wait("CrashLoopBackOff", format!("exit code {exit_code}: back-off {pause:?}"));
        self.report();
        self.stay(pause)
    }

    /// A while, unless there is a reason to leave.
    fn stay(&self, long: Duration) -> Result<(), Leave> {
        let until = Instant::now() + long;
        while Instant::now() < until {
            if self.is_gone() {
                return Err(Leave::Gone);
            }
            if self.is_deleted() {
                return Err(Leave::Deleted);
            }
            thread::park_timeout(TICK);
        }
        Ok(())
    }

    fn report(&self) {
        self.reports.say(&self.status.patch());
    }

    /// Says that nothing of it is left here.
    fn delete(&self) {
        let pods: Objects<Pod> = self.agent.admin().objects(&namespace(&self.pod));
        let mine = Preconditions { uid: self.pod.uid(), ..Preconditions::default() };
        let now = DeleteParams { preconditions: Some(mine), ..DeleteParams::default().grace_period(0) };
        while !self.is_gone() {
            match block_on(pods.api().delete(&self.pod.name_any(), &now)) {
                Err(e) if !is_answer(&e) => thread::park_timeout(PATIENCE),
                _ => return,
            }
        }
    }

    fn container(&self) -> &Container {
        &spec(&self.pod).containers[0]
    }

    fn is_gone(&self) -> bool {
        self.watched.is_gone() || self.agent.is_stopped()
    }

    fn is_deleted(&self) -> bool {
        self.watched.latest().metadata.deletion_timestamp.is_some()
    }
}

fn namespace(pod: &Pod) -> String {
    pod.namespace().expect("a pod is in one")
}

fn spec(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().expect("a pod has one")
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}
