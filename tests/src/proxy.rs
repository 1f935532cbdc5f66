//! A TCP proxy on loopback that disturbs what it carries: plain threads, four for each connection.
//!
//! ```text
//! client ◄─► read ─► queue (each piece with the time at which it is due) ─► write ◄─► broker     the same for the way back
//! ```

mod connection;

use connection::Connection;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToBroker,
    ToClient,
}

#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

/// What the proxy and its threads share.
#[derive(Debug, Default)]
struct State(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Nobody is let through before it is known, or after the proxy is gone.
    broker: Option<SocketAddr>,
    is_closed: bool,
    to_broker: Weather,
    to_client: Weather,
    connections: Vec<Weak<Connection>>,
}

/// What happens to bytes that go one way.
#[derive(Debug, Default, Clone, Copy)]
struct Weather {
    latency: Duration,
    is_lost: bool,
}

impl Proxy {
    #[expect(clippy::new_without_default, reason = "listening is no default")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&proxy.state);
        thread::spawn(move || accept(&listener, &state));
        proxy
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where connections made from now on lead.
    pub fn forward_to(&self, broker: SocketAddr) {
        self.state.lock().broker = Some(broker);
    }

    /// What is read from now on arrives so much later. It costs no throughput.
    pub fn delay(&self, way: Way, latency: Duration) {
        self.state.lock().weather(way).latency = latency;
    }

    /// What is sent this way vanishes, and connections stay. One that lost bytes carries nothing that way any more, even
    /// after [`Self::calm`]: what came behind the hole would be another message than was sent.
    pub fn lose(&self, way: Way) {
        self.state.lock().weather(way).is_lost = true;
    }

    /// Neither delays nor loses anything.
    pub fn calm(&self) {
        let mut state = self.state.lock();
        *state.weather(Way::ToBroker) = Weather::default();
        *state.weather(Way::ToClient) = Weather::default();
    }

    /// Both ends of every connection get a reset. New ones are let through. Says how many there were.
    pub fn reset(&self) -> usize {
        let connections = std::mem::take(&mut self.state.lock().connections);
        let connections: Vec<_> = connections.iter().filter_map(Weak::upgrade).collect();
        for connection in &connections {
            connection.reset();
        }
        connections.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.lock().is_closed = true;
        // The thread that waits for connections sees this one, and ends.
        let _ = TcpStream::connect(self.address);
        self.reset();
    }
}

impl State {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    fn weather(&mut self, way: Way) -> &mut Weather {
        match way {
            Way::ToBroker => &mut self.to_broker,
            Way::ToClient => &mut self.to_client,
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        let mut inner = state.lock();
        if inner.is_closed {
            return;
        }
        let broker = inner.broker.and_then(|address| TcpStream::connect(address).ok());
        let Some(broker) = broker else {
            connection::reset_on_close(&client);
            continue;
        };
        let connection = Arc::new(Connection::new(client, broker));
        inner.connections.retain(|other| other.strong_count() > 0);
        inner.connections.push(Arc::downgrade(&connection));
        drop(inner);
        connection::carry(&connection, Way::ToBroker, state);
        connection::carry(&connection, Way::ToClient, state);
    }
}
