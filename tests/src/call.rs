//! Running the program, and how it ended.

use crate::job::Job;
use crate::repository;
use crate::scratch::Scratch;
use crate::wait;
use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// What looks at the frames.
#[derive(Debug, Clone, Copy)]
pub enum Detector {
    /// The detector that ships.
    Street,
    /// A graph that says for each cell of the picture, scaled to 64 pixels, how strong its strongest colour is: up to 84
    /// rows for every frame, which differ wherever a picture differs. Fast, and nothing of a frame escapes it.
    Colours,
}

/// A call of `framefleet run`, to be completed and made. Prints JSON, and writes to `out` unless told otherwise.
#[derive(Debug)]
pub struct Call {
    command: Command,
    out: PathBuf,
}

impl Scratch {
    pub fn call(&self, detector: Detector, videos: &[&Path]) -> Call {
        let mut call = self.bare_call();
        call.command.args(videos);
        match detector {
            Detector::Street => call.with(&["--model", "street"]),
            Detector::Colours => {
                call.command.arg("--model").arg(repository::cells());
                call.with(&["--confidence", "0", "--iou", "1"])
            }
        }
    }

    /// The same for videos that have URLs.
    pub fn call_of_urls(&self, detector: Detector, urls: &[&str]) -> Call {
        let urls: Vec<&Path> = urls.iter().map(Path::new).collect();
        self.call(detector, &urls)
    }

    /// Neither video nor model, but the model directory that ships.
    pub fn bare_call(&self) -> Call {
        let mut command = Command::new(repository::framefleet());
        command
            .current_dir(self.path())
            .args(["run", "--json", "--models"])
            .arg(repository::root().join("models/catalog"));
        command.stdin(Stdio::null()).env_remove("FRAMEFLEET_LOG");
        Call { command, out: self.join("out") }
    }
}

impl Call {
    #[must_use]
    pub fn with(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    #[must_use]
    pub fn with_path(mut self, flag: &str, path: &Path) -> Self {
        self.command.arg(flag).arg(path);
        self
    }

    /// The folder of results, by its whole path.
    #[must_use]
    pub fn out(mut self, path: &Path) -> Self {
        path.clone_into(&mut self.out);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn run(mut self) -> Ended {
        self.command.arg("--out").arg(&self.out);
        let output = self.command.output().unwrap();
        Ended::new(format!("{:?}", self.command), output)
    }

    /// Runs inside another one's namespaces: `prefix` is a program that takes a command line.
    pub fn run_through(self, prefix: &[String]) -> Ended {
        let mut command = Command::new(&prefix[0]);
        command.args(&prefix[1..]).arg(self.command.get_program()).args(self.command.get_args());
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg("--out").arg(&self.out).stdin(Stdio::null());
        let output = command.output().unwrap();
        Ended::new(format!("{command:?}"), output)
    }

    /// Starts it and kills it as soon as `due` says so. `None` if it was, otherwise how it ended.
    pub fn start_and_kill(self, mut due: impl FnMut() -> bool) -> Option<Ended> {
        let mut child = self.start();
        let mut finished = false;
        wait::until("killed or finished", || {
            finished = child.try_wait().unwrap().is_some();
            finished || due()
        });
        if !finished {
            child.kill().unwrap();
        }
        let ended = Ended::new("a call to be killed".to_owned(), child.wait_with_output().unwrap());
        ended.status.is_some().then_some(ended)
    }

    /// Starts it and does not wait.
    pub fn start(mut self) -> Child {
        self.command.arg("--out").arg(&self.out);
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// A call that ended.
#[derive(Debug)]
pub struct Ended {
    call: String,
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn new(call: String, output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { call, status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The jobs of a call, of which none failed.
    pub fn jobs(&self) -> Vec<Job> {
        assert!(self.status == Some(0) && self.stderr.is_empty(), "not without an error: {self}");
        self.lines()
    }

    /// The job of a call that had one video and did not fail.
    pub fn job(&self) -> Job {
        let mut jobs = self.jobs();
        assert_eq!(jobs.len(), 1, "{self}");
        jobs.remove(0)
    }

    /// The job of a call that went on where a killed process had been: it may warn of what was lost, and did not fail.
    pub fn job_taken_up(&self) -> Job {
        assert_eq!(self.status, Some(0), "{self}");
        let warns = |line: &str| line.contains("WARN") && line.contains("was lost");
        assert!(self.stderr.lines().all(warns), "more than warnings: {self}");
        self.lines().remove(0)
    }

    /// The jobs that were told of, whatever became of them.
    pub fn lines(&self) -> Vec<Job> {
        self.stdout.lines().map(Job::parse).collect()
    }

    /// Checks that it ended with this status and said exactly one line, of this code, and gives that line's message.
    pub fn error(&self, status: i32, code: &str) -> &str {
        assert_eq!(self.status, Some(status), "{self}");
        assert_eq!(self.stderr.lines().count(), 1, "not one line: {self}");
        let message = self.stderr.trim_end().strip_prefix(&format!("error: {code}: "));
        message.unwrap_or_else(|| panic!("not {code}: {self}"))
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, status, stdout, stderr } = self;
        write!(f, "{call}\nended with {status:?}\non stdout: {stdout}\non stderr: {stderr}")
    }
}

/// Runs any program and gives what it printed; fails when it fails.
pub fn printed_by(program: &Path, arguments: &[&OsStr]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{} {arguments:?}: {e}", program.display()));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {arguments:?} failed: {stdout}{stderr}", program.display());
    stdout.into_owned()
}
