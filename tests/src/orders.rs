//! Orders for the calls of a worker: which fail, hang, take longer or end the process. A library in front of the program's
//! own reads them whenever it makes such a call, so that a disk can fail and be well again.

use crate::keeper::PassingFolder;
use crate::repository;
use crate::scratch::Scratch;
use crate::wait;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A file of orders, which several workers may have.
#[derive(Debug)]
pub struct Orders {
    file: PathBuf,
}

impl Orders {
    /// None so far. `name` is the file's.
    pub fn new(scratch: &Scratch, name: &str) -> Self {
        Self { file: scratch.join(name) }
    }

    /// From now on these, in place of those before: lines as `tests/faults/orders.c` describes them.
    pub fn give(&self, lines: &[&str]) {
        let new = self.file.with_extension("new");
        fs::write(&new, lines.join("\n")).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// Everything is well again, and what is held goes on.
    pub fn withdraw(&self) {
        let _ = fs::remove_file(&self.file);
    }

    /// What was done, an order a line.
    pub fn done(&self) -> Vec<String> {
        let done = fs::read_to_string(self.file.with_added_extension("done")).unwrap_or_default();
        done.lines().map(str::to_owned).collect()
    }

    pub fn wait_until_done(&self, times: usize) {
        wait::until("an order is followed", || self.done().len() >= times);
    }

    /// Of whoever is to follow them.
    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", library()), ("ORDERS", &self.file)]
    }

    /// Of whoever is to think that it is so many seconds later.
    pub fn clock_environment(seconds: i64) -> [(&'static str, String); 2] {
        [("LD_PRELOAD", library().to_str().unwrap().to_owned()), ("CLOCK_OFFSET", seconds.to_string())]
    }
}

/// `tests/faults/orders.c`, compiled once for a test's process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(PassingFolder, PathBuf)> = OnceLock::new();
    let (_, library) = LIBRARY.get_or_init(|| {
        let folder = PassingFolder::new();
        let library = folder.path().join("orders.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library);
        compiler.arg(repository::root().join("tests/faults/orders.c")).arg("-ldl");
        let status = compiler.status().unwrap_or_else(|e| panic!("cc: {e}; install a C compiler"));
        assert!(status.success(), "{compiler:?} failed");
        (folder, library)
    });
    library
}
