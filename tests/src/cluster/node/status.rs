//! What a node says of a pod.

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

#[derive(Debug)]
pub struct Status {
    container: String,
    image: String,
    address: Ipv4Addr,
    since: Time,
    state: State,
    /// How it ended the last time.
    last: Option<State>,
    restarts: u32,
    has_started: bool,
    ready: bool,
    ready_since: Time,
    /// There is nothing more to come.
    is_final: bool,
}

#[derive(Debug, Clone)]
enum State {
    Waiting { reason: &'static str, message: String },
    Running { since: Time },
    Terminated { exit_code: i32, since: Time, at: Time },
}

impl Status {
    pub fn new(container: &Container, address: Ipv4Addr) -> Self {
        Self {
            container: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            address,
            since: now(),
            state: State::Waiting { reason: "ContainerCreating", message: String::new() },
            last: None,
            restarts: 0,
            has_started: false,
            ready: false,
            ready_since: now(),
            is_final: false,
        }
    }

    /// Says whether that is new.
    pub fn wait(&mut self, reason: &'static str, message: String) -> bool {
        let is_known = matches!(&self.state, State::Waiting { reason: known, .. } if *known == reason);
        self.state = State::Waiting { reason, message };
        !is_known
    }

    pub fn run(&mut self) {
        self.state = State::Running { since: now() };
        self.has_started = false;
    }

    pub fn end(&mut self, exit_code: i32) {
        let since = match &self.state {
            State::Running { since } => since.clone(),
            _ => now(),
        };
        self.state = State::Terminated { exit_code, since, at: now() };
        self.has_started = false;
        self.set_ready(false);
    }

    pub fn restart(&mut self) {
        self.restarts += 1;
        self.last = Some(self.state.clone());
    }

    pub fn finish(&mut self) {
        self.is_final = true;
    }

    pub fn restarts(&self) -> u32 {
        self.restarts
    }

    pub fn has_started(&self) -> bool {
        self.has_started
    }

    pub fn set_started(&mut self) {
        self.has_started = true;
    }

    /// Says whether that is new.
    pub fn set_ready(&mut self, ready: bool) -> bool {
        let is_new = self.ready != ready;
        if is_new {
            self.ready = ready;
            self.ready_since = now();
        }
        is_new
    }

    /// A patch of the pod's status.
    pub fn patch(&self) -> Value {
        let address = self.address.to_string();
        let mut container = json!({
            "name": self.container, "image": self.image, "imageID": "", "restartCount": self.restarts,
            "ready": self.ready, "started": self.has_started, "state": self.state.json(),
        });
        if let Some(last) = &self.last {
            container["lastState"] = last.json();
        }
        json!({
            "phase": self.phase(), "startTime": self.since, "hostIP": "127.0.0.1", "podIP": address,
            "podIPs": [{"ip": address}], "containerStatuses": [container], "conditions": self.conditions(),
        })
    }

    fn phase(&self) -> &'static str {
        match &self.state {
            State::Terminated { exit_code: 0, .. } if self.is_final => "Succeeded",
            State::Terminated { .. } if self.is_final => "Failed",
            State::Waiting { .. } if self.restarts == 0 => "Pending",
            _ => "Running",
        }
    }

    /// Those that others set are left as they are.
    fn conditions(&self) -> Value {
        let reason = match (self.ready, self.is_final) {
            (true, _) => "",
            (false, true) => "PodCompleted",
            (false, false) => "ContainersNotReady",
        };
        let ready = |kind: &str| {
            let status = if self.ready { "True" } else { "False" };
            json!({"type": kind, "status": status, "reason": reason, "lastTransitionTime": self.ready_since})
        };
        let initialized = json!({"type": "Initialized", "status": "True", "lastTransitionTime": self.since});
        json!([initialized, ready("ContainersReady"), ready("Ready")])
    }
}

impl State {
    fn json(&self) -> Value {
        match self {
            Self::Waiting { reason, message } => json!({"waiting": {"reason": reason, "message": message}}),
            Self::Running { since } => json!({"running": {"startedAt": since}}),
            Self::Terminated { exit_code, since, at } => {
                let reason = if *exit_code == 0 { "Completed" } else { "Error" };
                json!({"terminated": {
                    "exitCode": exit_code, "reason": reason, "startedAt": since, "finishedAt": at,
                }})
            }
        }
    }
}

fn now() -> Time {
    Time(Timestamp::now())
}
