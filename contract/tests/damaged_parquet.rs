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

/// What the reader of such files says of it, where it does.
fn refusal(path: &Path) -> Option<String> {
    let read = if path.ends_with("no-dictionary.parquet") {
        packet_table::read(path, 0, 200).and_then(|mut rows| rows.try_for_each(|row| row.map(drop)))
    } else {
        let info = read_segment_info(path).map(drop);
        let rows = read_rows(path).and_then(|mut batches| batches.try_for_each(|batch| batch.map(drop)));
        assert_eq!(info.is_err(), rows.is_err(), "{}", path.display());
        rows
    };
    read.err().map(|error| error.to_string())
}

#[test]
fn hostile_files_are_errors() {
    let header = "a page of it has a header that makes no sense";
    let expected = [
        ("differences.parquet", header),
        ("endless-column.parquet", header),
        ("endless-footer.parquet", "its footer makes no sense"),
        ("negative-length.parquet", "lies outside of the file"),
        ("no-dictionary.parquet", "its footer makes no sense"),
        ("page-without-its-header.parquet", header),
        ("text-by-differences.parquet", header),
    ];
    let files = files();
    assert_eq!(files.len(), expected.len(), "{files:?}");
    for (path, (name, words)) in files.iter().zip(expected) {
        assert!(path.ends_with(name), "{}", path.display());
        let said = refusal(path).unwrap_or_else(|| panic!("{name} is not refused"));
        assert!(said.contains(words), "{name}: {said}");
    }
}
