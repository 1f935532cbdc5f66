//! Where things lie: in the repository, and beside the test that runs.

use std::env;
use std::path::{Path, PathBuf};

/// The repository's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The sample clip: 12 s at 25 frames/s, a keyframe every 50 frames.
pub fn street() -> PathBuf {
    root().join("sample/street.mp4")
}

/// One of the small graphs that the model tests use too.
pub fn graph(name: &str) -> PathBuf {
    root().join("models/tests/graphs").join(name)
}

/// The "detector" of these tests, made by `tests/graphs/make.py`.
pub fn cells() -> PathBuf {
    root().join("tests/graphs/cells.onnx")
}

/// The program under test.
pub fn framefleet() -> PathBuf {
    program("framefleet")
}

/// A program of the workspace, from the profile folder in which the running test or program lies: `target/release`.
pub fn program(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    // Tests lie in a folder of their own, programs beside the one under test.
    let profile = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    let program = profile.join(name);
    assert!(program.is_file(), "{} is missing: run `cargo build --release` first", program.display());
    program
}
