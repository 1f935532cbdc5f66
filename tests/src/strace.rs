//! Making system calls of the program fail, one at a time, with `strace`.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

/// One call that the program makes in a folder.
#[derive(Debug, Clone)]
pub struct SystemCall {
    pub name: String,
    /// Its place among the calls of that name in its thread, from 1.
    pub nth: usize,
    /// Its place in the recording.
    pub order: usize,
    /// As `strace` prints it.
    pub line: String,
}

/// What to put in front of a command to record the calls of these names in the file `log`.
pub fn recording(names: &[&str], log: &Path) -> Vec<String> {
    let log = log.to_str().unwrap();
    // Threads are followed, but not the process in which a model is tried out: it writes nothing to the folder.
    let strace = ["strace", "-f", "-b", "execve", "-y", "-qq", "-o", log];
    let mut prefix: Vec<String> = strace.map(String::from).into();
    prefix.extend(["-e".to_owned(), format!("trace={}", names.join(","))]);
    prefix
}

/// As [`recording`], with the `nth` call of a name failing, in every thread that makes as many, instead of being made.
pub fn failing(call: &SystemCall, error: &str, log: &Path) -> Vec<String> {
    let mut prefix = recording(&[&call.name], log);
    prefix.extend(["-e".to_owned(), format!("inject={}:error={error}:when={}", call.name, call.nth)]);
    prefix
}

/// The calls of a recording that name something below `folder`, one for each name and place, in their order.
pub fn calls_below(folder: &Path, log: &Path) -> Vec<SystemCall> {
    let folder = folder.to_str().unwrap();
    let mut counts: HashMap<(String, String), usize> = HashMap::new();
    let mut calls: BTreeMap<(String, usize), SystemCall> = BTreeMap::new();
    for (order, line) in fs::read_to_string(log).unwrap().lines().enumerate() {
        // `1234 fsync(7</path>) = 0`, or `1234 <... fsync resumed>) = 0` for the end of a call.
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        let Some((name, _)) = call.split_once('(').filter(|_| call.starts_with(char::is_alphabetic)) else { continue };
        let nth = counts.entry((thread.to_owned(), name.to_owned())).or_default();
        *nth += 1;
        if call.contains(folder) {
            let found = SystemCall { name: name.to_owned(), nth: *nth, order, line: call.to_owned() };
            calls.entry((name.to_owned(), *nth)).or_insert(found);
        }
    }
    let mut calls: Vec<SystemCall> = calls.into_values().collect();
    calls.sort_by_key(|call| call.order);
    calls
}

/// The calls that were made to fail, as they began.
pub fn injected(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap();
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    let mut injected = Vec::new();
    for line in text.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if line.ends_with("<unfinished ...>") {
            unfinished.insert(thread, line);
        } else if line.contains("(INJECTED)") {
            let began = unfinished.get(thread).filter(|_| line.contains("resumed>"));
            injected.push((*began.unwrap_or(&line)).to_owned());
        }
    }
    injected
}
