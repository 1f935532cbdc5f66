mod system_calls;

use super::Limits;
use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, PathBeneath, PathFd, RestrictSelfAttr, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use std::{fmt, fs, path::Path};

/// What this process can no longer do, and what the kernel would not take from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confinement {
    pub parts: Vec<Part>,
}

/// One means of confinement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Such as `Landlock`, with what it is for.
    pub means: &'static str,
    pub held: Held,
}

/// How much of it is in force; the text says why it is not all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Fully,
    Partly(String),
    Not(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.held {
            Held::Fully => write!(f, "{}: enforced", self.means),
            Held::Partly(why) => write!(f, "{}: partly enforced, {why}", self.means),
            Held::Not(why) => write!(f, "{}: not enforced, {why}", self.means),
        }
    }
}

/// Gives up this process's rights, for good: what is left is to read below a folder, and to compute within limits.
///
/// What the kernel lacks is left out, and said. To be called while there is one thread, for Landlock binds only the
/// calling thread and those that it starts; and after every library was loaded. Descriptors that are open stay as
/// they are.
pub fn confine(folder: &Path, limits: &Limits) -> Confinement {
    // The last one forbids to raise limits, and each of them needs a descriptor or a read that a later one forbids.
    let limited = limit(limits);
    let landlock = restrict(folder);
    let filtered = system_calls::forbid();
    let parts = vec![
        Part { means: "Landlock (files, TCP, signals)", held: landlock },
        Part { means: "seccomp (network, programs, processes, writing)", held: filtered },
        Part { means: "limits (memory, time, files)", held: limited },
    ];
    Confinement { parts }
}

/// The newest of which something is asked for: files from 1 to 5, TCP 4, scopes 6.
const NEWEST: ABI = ABI::V6;

fn restrict(folder: &Path) -> Held {
    let alone = status_of_process().is_some_and(|status| status.lines().any(|line| line == "Threads:\t1"));
    match restrict_to(folder) {
        Ok(RestrictionStatus { ruleset: RulesetStatus::PartiallyEnforced, landlock, .. })
            if ABI::from(landlock) < NEWEST =>
        {
            Held::Partly(format!("the kernel is too old for the rest ({landlock:?})"))
        }
        Ok(RestrictionStatus { ruleset: RulesetStatus::NotEnforced, landlock, .. }) => Held::Not(match landlock {
            LandlockStatus::NotImplemented => "the kernel has no Landlock; it came with Linux 5.13".to_owned(),
            LandlockStatus::NotEnabled => {
                "the kernel was started without Landlock; name it in the boot parameter `lsm=`".to_owned()
            }
            LandlockStatus::Available { .. } => format!("the kernel says {landlock:?}"),
        }),
        Ok(RestrictionStatus { all_threads, .. }) if alone || all_threads => Held::Fully,
        // ONNX Runtime starts one as it is loaded. What seccomp forbids, writing too, it forbids to every thread.
        Ok(_) => Held::Partly(
            "a thread that ONNX Runtime started before may still read other files; this kernel can bind only new ones"
                .to_owned(),
        ),
        Err(error) => Held::Not(error.to_string()),
    }
}

fn restrict_to(folder: &Path) -> Result<RestrictionStatus, Box<dyn std::error::Error>> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let readable = PathBeneath::new(PathFd::new(folder)?, AccessFs::ReadFile | AccessFs::ReadDir);
    Ok(rules.add_rule(readable)?.all_threads(true)?.restrict_self()?)
}

/// Descriptors: the standard three, the status file, the model's files, and some for ONNX Runtime.
const OPEN_FILES: u64 = 64;

fn limit(limits: &Limits) -> Held {
    let mut missing = Vec::new();
    let seconds = limits.time.as_secs() + 1;
    let mut wanted = vec![
        ("processor time", Resource::Cpu, seconds),
        ("file size", Resource::Fsize, 0),
        ("open files", Resource::Nofile, OPEN_FILES),
        ("core dumps", Resource::Core, 0),
    ];
    match mapped_bytes() {
        Some(mapped) => wanted.push(("memory", Resource::As, mapped.saturating_add(limits.memory))),
        None => missing.push("memory (/proc/self/status cannot be read)".to_owned()),
    }
    for (what, resource, most) in &wanted {
        // The soft limit of processor time has a signal that tells what it was; at the hard one the kernel kills.
        let hard = most + u64::from(*resource == Resource::Cpu);
        let limit = Rlimit { current: Some(*most), maximum: Some(hard) };
        if let Err(error) = setrlimit(*resource, limit) {
            missing.push(format!("{what} ({error})"));
        }
    }
    match missing.len() {
        0 => Held::Fully,
        some if some <= wanted.len() => Held::Partly(format!("without {}", missing.join(", "))),
        _ => Held::Not(missing.join(", ")),
    }
}

/// The size of the address space. What libraries and the stack reserved is no fault of the model.
fn mapped_bytes() -> Option<u64> {
    super::child::status_bytes(&status_of_process()?, "VmSize:")
}

fn status_of_process() -> Option<String> {
    fs::read_to_string("/proc/self/status").ok()
}
