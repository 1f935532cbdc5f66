//! One connection through the proxy.

use super::{State, Way};
use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

const PIECE_BYTES: usize = 64 << 10;
/// Pieces under way: 64 MiB, which is a second of what loopback gives a broker.
const PIECES: usize = 1024;
/// Between two looks of a write that its reader keeps waiting.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes, and when they are due.
type Piece = (Instant, Vec<u8>);

/// Both sockets are closed when the last of its threads is gone.
#[derive(Debug)]
pub struct Connection {
    client: TcpStream,
    broker: TcpStream,
    is_reset: AtomicBool,
}

impl Connection {
    pub fn new(client: TcpStream, broker: TcpStream) -> Self {
        for socket in [&client, &broker] {
            socket.set_nodelay(true).unwrap();
            socket.set_write_timeout(Some(PATIENCE)).unwrap();
        }
        Self { client, broker, is_reset: AtomicBool::new(false) }
    }

    /// A reset goes out when both sockets are closed. Reading ends here, without a word to the other side.
    pub fn reset(&self) {
        self.is_reset.store(true, Ordering::SeqCst);
        for socket in [&self.client, &self.broker] {
            reset_on_close(socket);
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    fn is_reset(&self) -> bool {
        self.is_reset.load(Ordering::SeqCst)
    }

    fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        match way {
            Way::ToBroker => (&self.client, &self.broker),
            Way::ToClient => (&self.broker, &self.client),
        }
    }
}

/// Closing it then sends a reset instead of an orderly end.
pub fn reset_on_close(socket: &TcpStream) {
    let _ = set_socket_linger(socket, Some(Duration::ZERO));
}

/// Starts the two threads of one way.
pub fn carry(connection: &Arc<Connection>, way: Way, state: &Arc<State>) {
    let (queue, pieces) = mpsc::sync_channel(PIECES);
    let (reading, writing) = (Arc::clone(connection), Arc::clone(connection));
    let state = Arc::clone(state);
    thread::spawn(move || read(&reading, way, &state, &queue));
    thread::spawn(move || write(&writing, way, &pieces));
}

fn read(connection: &Connection, way: Way, state: &State, queue: &SyncSender<Piece>) {
    let (mut from, _) = connection.ends(way);
    let mut buffer = vec![0; PIECE_BYTES];
    let mut has_hole = false;
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let weather = *state.lock().weather(way);
        has_hole |= weather.is_lost;
        let due = Instant::now() + weather.latency;
        if !has_hole && queue.send((due, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}

fn write(connection: &Connection, way: Way, pieces: &Receiver<Piece>) {
    let (from, to) = connection.ends(way);
    for (due, bytes) in pieces {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if !write_all(connection, to, &bytes) {
            let _ = from.shutdown(Shutdown::Read);
            return;
        }
    }
    if !connection.is_reset() {
        let _ = to.shutdown(Shutdown::Write);
    }
}

/// False where the connection is gone. A reader that is slow, or stopped, is waited for.
fn write_all(connection: &Connection, mut to: &TcpStream, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() && !connection.is_reset() {
        match to.write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(_) => return false,
        }
    }
    bytes.is_empty()
}
