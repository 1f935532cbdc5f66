//! Whether memory grows with reloads: each replaces the version that serves, with sessions made and freed.

use crate::place::{Bench, NAME};
use crate::{Failure, print_row};
use std::fs;

/// The last may have so many times the memory of the tenth.
const GOAL: f64 = 1.05;

pub fn measure(bench: &Bench, reloads: u32) -> Result<(), Failure> {
    let followed = bench.follow()?;
    let mut tenth = 0.0;
    let mut last = 0.0;
    for number in 1..=reloads {
        let model = bench.version(number);
        followed.rename(&model)?;
        followed.wait_for(&model)?;
        if number > 1 {
            followed.settle()?;
        }
        let mut lease = followed.directory.current(NAME).ok_or("it served just now")?.lease()?;
        let thresholds = Bench::thresholds(&lease);
        lease.detect(&bench.picture.picture(), &thresholds)?;
        drop(lease);
        last = resident_mb()?;
        if number == 10 {
            tenth = last;
        }
    }
    let measured = format!("{tenth:.0}, {last:.0}: {:.2}", last / tenth);
    let name = format!("memory after 10 and after {reloads} reloads, MB, and their ratio");
    print_row(&name, &measured, Some(("at most 1.05", last <= GOAL * tenth)));
    Ok(())
}

fn resident_mb() -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    Ok(value.ok_or("no VmRSS")?.trim().parse::<f64>()? * 1024.0 / 1e6)
}
