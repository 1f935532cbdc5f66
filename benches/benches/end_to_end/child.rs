//! A program run to its end, with its peak memory seen from outside.

use crate::Failure;
use std::fs;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Peak memory is looked up this often: the kernel keeps the maximum, so only what comes after the last look is missed.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Ended {
    pub stdout: String,
    pub spawned: SystemTime,
    /// From the spawn to the exit.
    pub seconds: f64,
    /// The greatest resident set, as the kernel counts it: shared libraries are in it.
    pub peak_bytes: u64,
}

/// A run of a whole pipeline, ours or another.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// By the program's own clock, without loading.
    pub frames_per_second: f64,
    /// From the process's start to its end.
    pub process_frames_per_second: f64,
    pub peak_mb: f64,
    /// From the process's start.
    pub first_detection_s: Option<f64>,
}

/// Fails when the program does, with what it said.
pub fn run(command: &mut Command) -> Result<Ended, Failure> {
    let mut stdout = tempfile::tempfile()?;
    let mut stderr = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let (spawned, start) = (SystemTime::now(), Instant::now());
    let mut child = command.spawn().map_err(|error| format!("{command:?} does not start: {error}"))?;
    let mut peak_bytes = 0;
    let status = loop {
        peak_bytes = peak_bytes.max(high_water(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        sleep(LOOK);
    };
    let seconds = start.elapsed().as_secs_f64();
    let text = |file: &mut fs::File| -> Result<String, Failure> {
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let (stdout, stderr) = (text(&mut stdout)?, text(&mut stderr)?);
    if !status.success() {
        return Err(format!("{command:?} ended with {status}: {stdout}{stderr}").into());
    }
    Ok(Ended { stdout, spawned, seconds, peak_bytes })
}

/// `None` once the process has ended.
fn high_water(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
