//! Runs children over one batch of mutants after another, and keeps the files that they did not take well.

use crate::clips::Clip;
use crate::mutate::{Mutant, mutant};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// One run of the fuzzer.
#[derive(Debug)]
pub struct Watch {
    pub clips: Vec<Clip>,
    /// Where the clips lie, for the children.
    pub clips_folder: PathBuf,
    pub findings: PathBuf,
    pub scratch: PathBuf,
    pub seed: u64,
    pub first: u64,
    pub length: Duration,
}

/// Files that one child looks at: enough that starting it costs little.
const BATCH: u64 = 500;
/// CPU time for one file: thousands of times what a good one takes.
const CPU_LIMIT: Duration = Duration::from_secs(20);
/// Wall-clock time for one file, should it wait for something.
const WALL_LIMIT: Duration = Duration::from_mins(3);
/// Memory for one file of some kilobytes. A picture of the largest size that is let in, and its references, is less.
const PEAK_LIMIT_KIB: u64 = 2 << 20;
/// What a child may have left after its batch.
const LEFT_LIMIT_KIB: u64 = 512 << 10;
/// Codes that a file's content must not lead to.
const BLAMES_THE_MACHINE: [&str; 2] = ["SOURCE_UNREADABLE", "INTERNAL"];
/// Of each kind of finding, as many files are kept.
const KEPT_OF_A_KIND: u64 = 5;
/// A child says at most two lines for each file; the watcher is never that far behind.
const LINES: usize = 1024;
const LOOK_EVERY: Duration = Duration::from_millis(200);
const REPORT_EVERY: Duration = Duration::from_mins(1);

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Signal(i32),
    Panic(String),
    Hang,
    Memory,
    Leak,
    /// The machine is blamed for what is in the file, so that the job would be tried again for ever.
    Code(String),
}

#[derive(Debug, Default)]
struct Counts {
    files: u64,
    packets: u64,
    frames: u64,
    ends: BTreeMap<String, u64>,
    findings: BTreeMap<Kind, u64>,
}

/// How a child's batch ended.
enum Batch {
    Done,
    /// While it looked at this file.
    Died(u64),
}

/// Goes on until the time is over. Gives whether nothing was found.
pub fn run(watch: &Watch) -> io::Result<bool> {
    fs::create_dir_all(&watch.findings)?;
    let started = Instant::now();
    let mut counts = Counts::default();
    let mut reported = Instant::now();
    let mut next = watch.first;
    while started.elapsed() < watch.length {
        next = match watch.batch(next, &mut counts)? {
            Batch::Done => next + BATCH,
            Batch::Died(index) => index + 1,
        };
        if reported.elapsed() >= REPORT_EVERY {
            reported = Instant::now();
            println!("{:>6} s, next file {next}: {counts}", started.elapsed().as_secs());
        }
    }
    println!("{} s, seed {}, files {} to {next}: {counts}", started.elapsed().as_secs(), watch.seed, watch.first);
    Ok(counts.findings.is_empty())
}

impl Watch {
    fn batch(&self, first: u64, counts: &mut Counts) -> io::Result<Batch> {
        let errors = self.scratch.join("stderr");
        let mut child = self.start(first, &errors)?;
        let lines = lines_of(&mut child);
        let mut current = first;
        let mut began = (Instant::now(), cpu_time(child.id()));
        let mut over_limit = false;
        loop {
            match lines.recv_timeout(LOOK_EVERY) {
                Ok(line) => {
                    if let Some(index) = line.strip_prefix("begin ") {
                        current = index.parse().unwrap_or(current);
                        began = (Instant::now(), cpu_time(child.id()));
                    } else {
                        self.note(&line, current, counts)?;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let cpu = cpu_time(child.id()).saturating_sub(began.1);
                    if !over_limit && (cpu > CPU_LIMIT || began.0.elapsed() > WALL_LIMIT) {
                        over_limit = true;
                        child.kill()?;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.wait()?;
        if status.success() {
            return Ok(Batch::Done);
        }
        counts.files += 1;
        let kind = if over_limit { Kind::Hang } else { kind_of(status, &errors) };
        self.keep(&kind, current, counts)?;
        Ok(Batch::Died(current))
    }

    fn start(&self, first: u64, errors: &Path) -> io::Result<Child> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("child").arg("--clips").arg(&self.clips_folder).arg("--scratch").arg(self.scratch.join("mutant"));
        command.args(["--seed", &self.seed.to_string(), "--first", &first.to_string(), "--count", &BATCH.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(errors)?).spawn()
    }

    /// Takes in an `end` or a `left` line.
    fn note(&self, line: &str, current: u64, counts: &mut Counts) -> io::Result<()> {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |i: usize| words.get(i).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        if words[0] == "left" {
            return if number(1) > LEFT_LIMIT_KIB { self.keep(&Kind::Leak, current, counts) } else { Ok(()) };
        }
        counts.files += 1;
        counts.packets += number(3);
        counts.frames += number(4);
        let end = words.last().copied().unwrap_or_default();
        *counts.ends.entry(end.to_owned()).or_default() += 1;
        if BLAMES_THE_MACHINE.contains(&end) {
            self.keep(&Kind::Code(end.to_owned()), current, counts)?;
        }
        if number(2) > PEAK_LIMIT_KIB { self.keep(&Kind::Memory, current, counts) } else { Ok(()) }
    }

    /// Keeps the file, unless there are enough of its kind.
    fn keep(&self, kind: &Kind, index: u64, counts: &mut Counts) -> io::Result<()> {
        let Mutant { name, bytes } = mutant(&self.clips, self.seed, index);
        let found = counts.findings.entry(kind.clone()).or_default();
        *found += 1;
        if *found > KEPT_OF_A_KIND {
            return Ok(());
        }
        let path = self.findings.join(format!("{}-{}-{name}", kind.slug(), self.seed));
        fs::write(&path, bytes)?;
        let program = std::env::current_exe()?;
        println!("FOUND {kind}\n  again: {} look {}", program.display(), path.display());
        Ok(())
    }
}

/// What the child says, line by line, until it closes its stdout.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = sync_channel(LINES);
    if let Some(stdout) = child.stdout.take() {
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    receiver
}

fn kind_of(status: ExitStatus, errors: &Path) -> Kind {
    if let Some(signal) = status.signal() {
        return Kind::Signal(signal);
    }
    let said = fs::read_to_string(errors).unwrap_or_default();
    let place = said.lines().find(|line| line.contains("panicked at")).unwrap_or(&said);
    Kind::Panic(place.trim().to_owned())
}

/// User and system time of a process (proc(5), fields 14 and 15 of `stat`, in hundredths of a second).
fn cpu_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

impl Kind {
    /// For a file's name.
    fn slug(&self) -> String {
        match self {
            Self::Signal(signal) => format!("signal{signal}"),
            Self::Panic(_) => "panic".to_owned(),
            Self::Hang => "hang".to_owned(),
            Self::Memory => "memory".to_owned(),
            Self::Leak => "leak".to_owned(),
            Self::Code(code) => code.to_lowercase(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(signal) => write!(f, "ended by signal {signal}"),
            Self::Panic(place) => write!(f, "panic: {place}"),
            Self::Hang => write!(f, "more than {CPU_LIMIT:?} of CPU time, or {WALL_LIMIT:?}"),
            Self::Memory => write!(f, "more than {PEAK_LIMIT_KIB} KiB"),
            Self::Leak => write!(f, "more than {LEFT_LIMIT_KIB} KiB left after a batch"),
            Self::Code(code) => write!(f, "{code}"),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files, {} packets, {} frames;", self.files, self.packets, self.frames)?;
        for (end, n) in &self.ends {
            write!(f, " {end} {n}")?;
        }
        let findings: u64 = self.findings.values().sum();
        write!(f, "; {findings} findings")
    }
}
