//! A small file system of its own, seen only by the processes that are started on it.
//!
//! It is a tmpfs in a mount namespace: root makes one directly, anybody else inside a user namespace. It is gone with
//! the process that holds it, however the test ends.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[derive(Debug)]
pub struct Disk {
    /// Ends when its input is closed, and the namespace with it.
    holder: Child,
    mounted_at: PathBuf,
}

impl Disk {
    /// Mounts on the folder `at`.
    pub fn mount(at: &Path, kib: u32) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let script = format!("mount -t tmpfs -o size={kib}k tmpfs '{}' && echo mounted && exec cat", at.display());
        let mut unshare = Command::new("unshare");
        if !is_root() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.args(["--mount", "--propagation", "private", "sh", "-c", &script]);
        let mut holder = unshare.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let hint =
            "a small file system cannot be mounted here: run the tests as root, or where user namespaces are allowed";
        assert_eq!(line, "mounted\n", "{hint}");
        Self { holder, mounted_at: at.to_owned() }
    }

    /// What to put in front of a command so that it sees this file system.
    pub fn prefix(&self) -> Vec<String> {
        let mut prefix = vec!["nsenter".to_owned(), format!("--target={}", self.holder.id()), "--mount".to_owned()];
        if !is_root() {
            prefix.extend(["--user", "--preserve-credentials"].map(String::from));
        }
        prefix.push("--".to_owned());
        prefix
    }

    /// Mounts it again with other options: `size=8m` or `ro`.
    pub fn remount(&self, options: &str) {
        let prefix = self.prefix();
        let mut mount = Command::new(&prefix[0]);
        mount.args(&prefix[1..]).args(["mount", "-o"]).arg(format!("remount,{options}")).arg(&self.mounted_at);
        assert!(mount.status().unwrap().success(), "{mount:?} failed");
    }

    /// Where its content can be read from outside.
    pub fn seen_from_outside(&self) -> PathBuf {
        let inside = self.mounted_at.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}
