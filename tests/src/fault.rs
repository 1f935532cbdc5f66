//! A disk and a decoder that stop where a test wants it: a library put in front of the program's own.

use crate::repository;
use crate::scratch::Scratch;
use crate::wait;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The library, and the file while which is there something is held.
#[derive(Debug)]
pub struct Fault {
    library: PathBuf,
    hold: PathBuf,
}

impl Fault {
    /// Compiles `tests/faults/slow.c`.
    pub fn new(scratch: &Scratch) -> Self {
        let library = scratch.join("slow.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library);
        compiler.arg(repository::root().join("tests/faults/slow.c")).arg("-ldl");
        let status = compiler.status().unwrap_or_else(|e| panic!("cc: {e}; install a C compiler"));
        assert!(status.success(), "{compiler:?} failed");
        Self { library, hold: scratch.file("hold", b"") }
    }

    /// The environment in which the program meets the fault: one of the variables that `slow.c` lists, and its value.
    pub fn environment<'a>(&'a self, variable: &'a str, value: &'a str) -> [(&'a str, &'a str); 3] {
        let text = |path: &'a PathBuf| path.to_str().unwrap();
        [("LD_PRELOAD", text(&self.library)), ("HOLD", text(&self.hold)), (variable, value)]
    }

    /// Waits until something is held.
    pub fn wait_until_held(&self) {
        let held = self.hold.with_extension("held");
        wait::until("something is held", || held.exists());
    }

    /// Lets go of what is held.
    pub fn release(&self) {
        fs::remove_file(&self.hold).unwrap();
    }

    /// As at the beginning.
    pub fn hold_again(&self) {
        fs::remove_file(self.hold.with_extension("held")).unwrap();
        fs::write(&self.hold, b"").unwrap();
    }
}
