//! Fuzzes the readers of our Parquet files with libFuzzer: `./dev fuzz segments`.
#![no_main]

use framefleet_contract::{detection_file, packet_table};
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

/// In memory, and of this process alone.
static FILE: LazyLock<String> = LazyLock::new(|| format!("/dev/shm/framefleet-fuzz-{}.parquet", std::process::id()));
/// Packets that are asked for: a slice in the middle, as a segment's worker does.
const PACKETS: std::ops::Range<u64> = 3..40;

fuzz_target!(
    init: {
        // libFuzzer's own hook ends the process at every panic, also at those that the readers turn into errors.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| read(bytes)
);

fn read(bytes: &[u8]) {
    let path = Path::new(FILE.as_str());
    fs::write(path, bytes).expect("/dev/shm has room for one file");
    let _ = std::hint::black_box(detection_file::read_segment_info(path));
    if let Ok(batches) = detection_file::read_rows(path) {
        // A reader stops at the first error.
        let rows: usize = batches.map_while(Result::ok).map(|rows| rows.len()).sum();
        std::hint::black_box(rows);
    }
    if let Ok(rows) = packet_table::read(path, PACKETS.start, PACKETS.end) {
        std::hint::black_box(rows.map_while(Result::ok).count());
    }
}
