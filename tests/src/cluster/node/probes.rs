//! Probes: asking a pod how it is, as often as it says.

use super::status::Status;
use k8s_openapi::api::core::v1::{Container, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Of one start of a container.
#[derive(Debug)]
pub struct Probes {
    startup: Option<Asking>,
    readiness: Option<Asking>,
    liveness: Option<Asking>,
}

#[derive(Debug, PartialEq, Clone, Copy)]
pub enum Health {
    AsBefore,
    Changed,
    /// It is to be started again.
    Lost,
}

impl Probes {
    /// Without probes, it is ready as soon as it runs.
    pub fn begin(container: &Container, status: &mut Status) -> Self {
        let begin = |probe: &Option<_>| probe.as_ref().map(|probe| Asking::begin(probe, container));
        let startup = begin(&container.startup_probe);
        let [readiness, liveness] = [&container.readiness_probe, &container.liveness_probe].map(begin);
        if startup.is_none() {
            status.set_started();
            status.set_ready(readiness.is_none());
        }
        Self { startup, readiness, liveness }
    }

    pub fn ask(&mut self, address: Ipv4Addr, status: &mut Status) -> Health {
        if !status.has_started() {
            return match self.startup.as_mut().and_then(|startup| startup.ask(address)) {
                None => Health::AsBefore,
                Some(false) => Health::Lost,
                Some(true) => {
                    status.set_started();
                    status.set_ready(self.readiness.is_none());
                    Health::Changed
                }
            };
        }
        if self.liveness.as_mut().and_then(|liveness| liveness.ask(address)) == Some(false) {
            return Health::Lost;
        }
        let ready = self.readiness.as_mut().and_then(|readiness| readiness.ask(address));
        let is_new = ready.is_some_and(|ready| status.set_ready(ready));
        if is_new { Health::Changed } else { Health::AsBefore }
    }
}

#[derive(Debug)]
struct Asking {
    probe: Probe,
    port: u16,
    due: Instant,
    /// Answers of the same kind, one after the other.
    good: i32,
    bad: i32,
}

impl Asking {
    fn begin(probe: &Probe, container: &Container) -> Self {
        let port =
            probe.http_get.as_ref().map(|get| &get.port).or(probe.tcp_socket.as_ref().map(|socket| &socket.port));
        let port = port_of(port.expect("the test node asks by HTTP, or connects"), container);
        let due = Instant::now() + seconds(probe.initial_delay_seconds, 0);
        Self { probe: probe.clone(), port, due, good: 0, bad: 0 }
    }

    /// Asks if it is time to. `None` while that says nothing yet, otherwise whether the pod is well.
    fn ask(&mut self, address: Ipv4Addr) -> Option<bool> {
        if Instant::now() < self.due {
            return None;
        }
        self.due = Instant::now() + seconds(self.probe.period_seconds, 10);
        if self.is_well(address).is_some() {
            (self.good, self.bad) = (self.good + 1, 0);
            (self.good >= self.probe.success_threshold.unwrap_or(1)).then_some(true)
        } else {
            (self.good, self.bad) = (0, self.bad + 1);
            (self.bad >= self.probe.failure_threshold.unwrap_or(3)).then_some(false)
        }
    }

    fn is_well(&self, address: Ipv4Addr) -> Option<()> {
        let patience = seconds(self.probe.timeout_seconds, 1);
        let address = SocketAddr::from((address, self.port));
        let mut connection = TcpStream::connect_timeout(&address, patience).ok()?;
        let Some(get) = &self.probe.http_get else { return Some(()) };
        connection.set_read_timeout(Some(patience)).ok()?;
        let path = get.path.as_deref().unwrap_or("/");
        write!(connection, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").ok()?;
        let mut begin = [0; "HTTP/1.1 200".len()];
        connection.read_exact(&mut begin).ok()?;
        let status: u16 = std::str::from_utf8(&begin).ok()?.rsplit(' ').next()?.parse().ok()?;
        (200..400).contains(&status).then_some(())
    }
}

fn seconds(said: Option<i32>, otherwise: u32) -> Duration {
    Duration::from_secs(said.map_or(otherwise, |said| said as u32).into())
}

fn port_of(port: &IntOrString, container: &Container) -> u16 {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.unwrap_or_else(|| panic!("no port {name}")).container_port
        }
    };
    number as u16
}
