//! Files that `./dev fuzz segments` made, on which the Parquet library panics or never ends: here they are errors.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::detection_file::{read_rows, read_segment_info};
use framefleet_contract::packet_table;
use std::fs;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/damaged");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Whether one of the readers had to give up on it.
fn is_refused(path: &Path) -> bool {
    let rows = read_rows(path).is_ok_and(|mut batches| batches.all(|batch| batch.is_ok()));
    !rows || read_segment_info(path).is_err() || packet_table::read(path, 3, 40).is_err()
}

#[test]
fn hostile_files_are_errors() {
    let files = files();
    assert!(files.len() >= 6, "{files:?}");
    for path in files {
        assert!(is_refused(&path), "{}", path.display());
    }
}
