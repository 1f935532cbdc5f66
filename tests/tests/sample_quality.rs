//! The detector that ships really detects, and the tracker really follows: measured on the sample against its truth.

use framefleet_tests::call::printed_by;
use framefleet_tests::{Detector, Scratch, python, repository};
use std::ffi::OsStr;

#[test]
fn the_sample_is_detected_and_tracked_as_well_as_promised() {
    let scratch = Scratch::new();
    let job = scratch.call(Detector::Street, &[&repository::street()]).run().job();
    let evaluate = repository::root().join("sample/evaluate.py");
    let tracks = job.folder.join("tracks.parquet");
    let limits = ["--min-map50", "0.85", "--min-mota", "0.80", "--min-idf1", "0.80"].map(OsStr::new);
    let arguments = [&[evaluate.as_os_str(), OsStr::new("--tracks"), tracks.as_os_str()][..], &limits].concat();
    println!("{}", printed_by(&python::interpreter(), &arguments));
}

/// Its own measure is right on answers that are known.
#[test]
fn the_evaluation_checks_itself() {
    let evaluate = repository::root().join("sample/evaluate.py");
    printed_by(&python::interpreter(), &[evaluate.as_os_str(), OsStr::new("--self-check")]);
}
