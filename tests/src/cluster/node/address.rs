//! Addresses of pods.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU16, Ordering};

/// One that no other pod of this program has, and none of a program that runs at the same time, as a rule.
pub fn next() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // 127.0.x.y is left to what listens on this machine anyway.
    let program = 1 + std::process::id() % 254;
    Ipv4Addr::new(127, program as u8, high, low)
}
