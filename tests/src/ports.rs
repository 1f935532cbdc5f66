//! Ports for servers that come back to the same one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// Nobody listens there. It is below the ports that the system gives to whoever asks for any: such a client could get a
/// server's own while that is down.
pub fn free_address() -> SocketAddr {
    const PORTS: std::ops::Range<u32> = 10_000..30_000;
    /// Programs that run at the same time begin apart.
    const PORTS_OF_A_PROGRAM: u32 = 32;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let place = std::process::id() * PORTS_OF_A_PROGRAM + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + place % (PORTS.end - PORTS.start);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port as u16));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
