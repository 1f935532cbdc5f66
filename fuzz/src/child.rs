//! The process that looks at hostile files, and may not survive it.
//!
//! It says on stdout, a line each, `begin <index>` and `end <index> <peak KiB> <packets> <frames> <code or ok>`: whoever
//! watches knows which file killed it.

use crate::clips::Clip;
use crate::look;
use crate::memory;
use crate::mutate::mutant;
use std::fs;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;

/// Looks at the mutants of `range`. Each is written to `scratch` first.
pub fn run(clips: &[Clip], seed: u64, range: Range<u64>, scratch: &Path) -> io::Result<()> {
    memory::limit()?;
    let mut out = io::stdout().lock();
    for index in range {
        let mutant = mutant(clips, seed, index);
        fs::write(scratch, &mutant.bytes)?;
        writeln!(out, "begin {index}")?;
        out.flush()?;
        memory::reset_peak();
        let before = memory::resident_kib();
        let seen = look::look_at(scratch);
        let peak = memory::peak_kib().saturating_sub(before);
        let end = seen.refused.as_ref().map_or("ok", |error| error.code().as_str());
        writeln!(out, "end {index} {peak} {} {} {end}", seen.packets, seen.frames)?;
        out.flush()?;
    }
    writeln!(out, "left {}", memory::resident_kib())?;
    out.flush()
}
