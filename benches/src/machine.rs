//! What it is measured on.

use std::fs;

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

/// One line: cores, the processor's name and memory, and how much else is running. On a busy machine a program's share
/// of the cores grows with its threads, so that ratios say little.
pub fn describe() -> String {
    let value = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let processor = value("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = value("/proc/meminfo", "MemTotal");
    let kibibytes = memory.and_then(|text| text.strip_suffix("kB")?.trim().parse::<f64>().ok()).unwrap_or(0.0);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let gibibytes = kibibytes / f64::from(1 << 20);
    format!("{} cores ({processor}), {gibibytes:.0} GiB of memory, a load of {load} at the start", cores())
}
