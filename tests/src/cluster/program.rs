//! A program of the control plane, which runs until it is dropped.

use super::programs;
use crate::keeper;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub struct Program {
    name: &'static str,
    arguments: Vec<String>,
    folder: PathBuf,
    process: Mutex<Option<Child>>,
}

impl Program {
    /// Not started yet. Its log is in the folder, where it also works.
    pub fn new(name: &'static str, folder: &Path) -> Self {
        Self { name, arguments: Vec::new(), folder: folder.to_owned(), process: Mutex::default() }
    }

    pub fn arg(&mut self, argument: String) -> &mut Self {
        self.arguments.push(argument);
        self
    }

    pub fn args(&mut self, arguments: &[&str]) -> &mut Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn start(self) -> Self {
        self.restart();
        self
    }

    pub fn restart(&self) {
        self.kill();
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(programs::program(self.name)).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).current_dir(&self.folder);
        *self.process() = Some(keeper::spawn(command));
    }

    pub fn kill(&self) {
        if let Some(mut process) = self.process().take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    pub fn assert_runs(&self) {
        let ended = self.process().as_mut().and_then(|process| process.try_wait().unwrap());
        if let Some(status) = ended {
            panic!("{} ended with {status}: {}", self.name, self.log());
        }
    }

    /// Its last lines.
    pub fn log(&self) -> String {
        const LINES: usize = 40;
        let log = String::from_utf8_lossy(&fs::read(self.log_file()).unwrap()).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        format!("--- {}\n{}", self.name, lines[lines.len().saturating_sub(LINES)..].join("\n"))
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }

    fn signal(&self, signal: Signal) {
        let process = self.process();
        kill_process(Pid::from_child(process.as_ref().expect("it runs")), signal).unwrap();
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
