use super::{Check, Checked, Limits, ModelPlace, Order, Report, child::Answer};
use crate::{Model, ModelError, model};
use std::{
    env,
    ffi::OsString,
    io::{self, Read},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// Tries models out in a process of their own, which gives up its rights: whatever a model does, this process lives.
///
/// Each check blocks until its child is gone.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// A program that hands its arguments, without `arguments`, to [`super::child`]: as a rule this very one.
    pub program: PathBuf,
    /// What tells the program to be the child, ahead of the order.
    pub arguments: Vec<OsString>,
    pub limits: Limits,
}

/// What the child may know of its surroundings: where ONNX Runtime is.
const KEPT: [&str; 4] = ["FRAMEFLEET_ONNXRUNTIME", "HOME", "XDG_DATA_HOME", "LD_LIBRARY_PATH"];

/// Bytes: the report of a detector with ten thousand classes is a tenth of this.
const LARGEST_ANSWER: u64 = 4 << 20;

/// Bytes: the end of what ONNX Runtime says before it fails.
const STDERR_TAIL: usize = 64 << 10;

impl Check for Sandbox {
    fn check(&self, place: &ModelPlace, stop: &dyn Fn() -> bool) -> Result<Checked, ModelError> {
        let order = Order::new(place, self.limits);
        let file = model::place_within(&order.folder, &place.onnx)?;
        let ended = self.run(&order, stop)?;
        let report = self.report(place, &ended)?;
        // Only bytes that the child parsed without harm are taken further, and none of them are parsed here.
        let external: Vec<String> = report.files.iter().skip(1).map(|file| file.name.clone()).collect();
        let files = [file.as_path(), place.toml.as_path()];
        let checked = Model::recognised(place.name.clone(), files, &external, report.manifest.clone())?;
        if checked.sha256 != report.sha256 {
            return Err(ModelError::Changed { model: place.onnx.display().to_string() });
        }
        Ok(Checked { model: checked, report })
    }
}

/// A child that is gone.
struct Ended {
    /// `None` where it was killed because its time was up.
    status: Option<ExitStatus>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Sandbox {
    fn run(&self, order: &Order, stop: &dyn Fn() -> bool) -> Result<Ended, ModelError> {
        let model = order.place.onnx.display().to_string();
        let failed = |error: io::Error| ModelError::Unavailable {
            model: model.clone(),
            problem: format!("{} does not start: {error}", self.program.display()),
        };
        let deadline = Instant::now() + self.limits.time;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .args(order.arguments())
            .env_clear()
            .envs(KEPT.iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("ORT_DISABLE_TELEMETRY", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What is typed at a terminal is for the program, which ends its child itself.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut running = Running(child);
        let stdout = collect(running.0.stdout.take(), read_answer);
        let stderr = collect(running.0.stderr.take(), read_tail);
        // A child that is done closes its output; one that closes it and goes on is waited for no longer than others.
        let answer = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match stdout.recv_timeout(left.min(PATIENCE)) {
                Err(RecvTimeoutError::Timeout) if left > PATIENCE && !stop() => {}
                answer => break answer,
            }
        };
        let status = match &answer {
            Err(RecvTimeoutError::Timeout) => None,
            _ => running.wait_until(|| stop() || Instant::now() >= deadline).map_err(failed)?,
        };
        drop(running);
        if let Some(signal) = status.and_then(told_to_end) {
            return Err(told_to_end_too(signal, model, stop));
        }
        if stop() {
            return Err(ModelError::Interrupted { model });
        }
        let stderr = stderr.recv_timeout(LAST_WORDS).unwrap_or_default();
        Ok(Ended {
            status,
            stdout: answer.unwrap_or_default(),
            stderr: String::from_utf8_lossy(&stderr).trim().to_owned(),
        })
    }

    /// What the child saw, or what became of it.
    fn report(&self, place: &ModelPlace, ended: &Ended) -> Result<Report, ModelError> {
        let invalid = |problem| Err(ModelError::Invalid { model: place.onnx.display().to_string(), problem });
        let Some(status) = ended.status else {
            return invalid(self.too_slow());
        };
        // First, for such a child fails as soon as nobody reads what it says.
        if ended.stdout.len() as u64 > LARGEST_ANSWER {
            return invalid(format!("what there is to say of it takes more than {} MiB", LARGEST_ANSWER >> 20));
        }
        if !status.success() {
            return invalid(self.what_happened(status, &ended.stderr));
        }
        match serde_json::from_slice(&ended.stdout) {
            Ok(Answer::Ok(report)) => Ok(*report),
            Ok(Answer::Error(refusal)) => match ModelError::from(refusal) {
                ModelError::Invalid { problem, .. }
                | ModelError::InferenceFailed { problem, .. }
                | ModelError::NotFound { problem, .. }
                    if is_out_of_memory(&problem) =>
                {
                    invalid(self.too_large())
                }
                error => Err(error),
            },
            Err(error) => invalid(format!("the process that tried it out ended without a report ({error})")),
        }
    }

    fn what_happened(&self, status: ExitStatus, stderr: &str) -> String {
        if is_out_of_memory(stderr) {
            return self.too_large();
        }
        let last = stderr.lines().last().map(|line| format!(" ({line})")).unwrap_or_default();
        match status.signal() {
            Some(libc::SIGXCPU) => self.too_slow(),
            Some(libc::SIGKILL) => format!(
                "the process that tried it out was killed, as the system does when memory runs out; \
                 it may need more than the {} MiB that it was given",
                self.limits.memory >> 20
            ),
            Some(signal) => {
                format!("the process that tried it out ended by {} while it loaded or ran it{last}", name_of(signal))
            }
            None => format!("the process that tried it out ended with {status} and no report{last}"),
        }
    }

    fn too_slow(&self) -> String {
        format!("to load it and run it a few times took longer than {} s", self.limits.time.as_secs_f64())
    }

    fn too_large(&self) -> String {
        format!("it needs more than {} MiB of memory to be loaded and run", self.limits.memory >> 20)
    }
}

/// The signal by which a person or the system ended the child, and not what the model did.
fn told_to_end(status: ExitStatus) -> Option<i32> {
    status.signal().filter(|signal| [libc::SIGHUP, libc::SIGINT, libc::SIGTERM].contains(signal))
}

/// Whoever sends a signal to all processes of a call reaches one after the other: this one's may be still to come.
fn told_to_end_too(signal: i32, model: String, stop: &dyn Fn() -> bool) -> ModelError {
    let deadline = Instant::now() + LAST_WORDS;
    while Instant::now() < deadline {
        if stop() {
            return ModelError::Interrupted { model };
        }
        thread::sleep(LOOK);
    }
    let problem = format!("somebody ended the process that tried it out with {}", name_of(signal));
    ModelError::Unavailable { model, problem }
}

/// What Rust, C++ and ONNX Runtime say where an allocation fails.
fn is_out_of_memory(text: &str) -> bool {
    [
        "memory allocation of ",
        "bad_alloc",
        "Failed to allocate memory",
        "out of memory",
        "memory allocation failed",
        "Cannot allocate memory",
    ]
    .iter()
    .any(|words| text.contains(words))
}

fn name_of(signal: i32) -> String {
    let name = match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGHUP => "SIGHUP",
        libc::SIGILL => "SIGILL",
        libc::SIGINT => "SIGINT",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXFSZ => "SIGXFSZ",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// A child that is killed and reaped when nobody waits for it any longer.
struct Running(Child);

/// Between two looks whether somebody wants to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// Between two looks whether a child that closed its output is gone.
const LOOK: Duration = Duration::from_millis(1);

/// For the rest of the error output of a child that is gone, which only another process that holds it could take longer for;
/// and for the signal that the child had.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Running {
    fn wait_until(&mut self, is_enough: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
        loop {
            let status = self.0.try_wait()?;
            if status.is_some() || is_enough() {
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both do nothing for a child that was reaped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads a pipe on a thread of its own, so that a child never waits for a reader.
fn collect<R: Read + Send + 'static>(pipe: Option<R>, read: fn(R) -> Vec<u8>) -> Receiver<Vec<u8>> {
    // One message, and its sender must not wait for a receiver that gave up.
    let (sender, receiver) = sync_channel(1);
    if let Some(pipe) = pipe {
        thread::spawn(move || sender.send(read(pipe)));
    }
    receiver
}

/// One byte more than allowed tells that there was too much.
fn read_answer(pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What came until an error is judged as what it is.
    let _ = pipe.take(LARGEST_ANSWER + 1).read_to_end(&mut bytes);
    bytes
}

fn read_tail(mut pipe: impl Read) -> Vec<u8> {
    let mut tail = Vec::new();
    let mut chunk = vec![0; STDERR_TAIL];
    while let Ok(length @ 1..) = pipe.read(&mut chunk) {
        tail.extend_from_slice(&chunk[..length]);
        tail.drain(..tail.len().saturating_sub(STDERR_TAIL));
    }
    tail
}
