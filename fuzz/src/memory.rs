//! How much memory this process has, and how much it may have.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::fs;
use std::io;

/// Address space beyond which an allocation fails. FFmpeg reports that; Rust aborts.
const ADDRESS_SPACE: u64 = 6 << 30;

pub fn limit() -> io::Result<()> {
    let limit = Rlimit { current: Some(ADDRESS_SPACE), maximum: Some(ADDRESS_SPACE) };
    setrlimit(Resource::As, limit)?;
    // Cores of thousands of children would fill the disk.
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// Begins a new measurement of the peak.
pub fn reset_peak() {
    // proc(5): 5 resets the peak of the resident set size. Where it cannot be, the peak is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Greatest resident set size since [`reset_peak`], KiB.
pub fn peak_kib() -> u64 {
    status("VmHWM:")
}

/// Resident set size, KiB.
pub fn resident_kib() -> u64 {
    status("VmRSS:")
}

fn status(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
