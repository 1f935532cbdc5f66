//! What must not outlive the test's process, even where that is killed and nothing is dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

/// A program to start, and where it goes when it was.
type Order = (Command, SyncSender<Child>);

/// Starts a program that asked for a signal at its parent's death. Linux sends it when the *thread* ends that started it,
/// and a test's thread ends long before the process.
pub fn spawn(command: Command) -> Child {
    static KEEPER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        // Nobody has anything else to do than to wait for it.
        let (orders, to_start) = mpsc::sync_channel::<Order>(0);
        thread::spawn(move || {
            for (mut command, started) in to_start {
                let child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
                let _ = started.send(child);
            }
        });
        orders
    });
    let (started, child) = mpsc::sync_channel(1);
    keeper.send((command, started)).expect("the keeper stays");
    child.recv().expect("the program was started")
}

/// A temporary folder that is removed when this is dropped or the process ends.
#[derive(Debug)]
pub struct PassingFolder {
    path: PathBuf,
    /// Waits for the end of its input, which this process holds open as long as it lives.
    remover: Child,
}

impl PassingFolder {
    #[expect(clippy::new_without_default, reason = "making a folder is no default")]
    pub fn new() -> Self {
        let path = tempfile::tempdir().unwrap().keep();
        // Whoever writes there may be dying at the same time.
        let script = r#"trap "" INT TERM; cat; for n in 1 2 3 4 5 6 7 8 9; do rm -rf "$0" && break; sleep 0.2; done"#;
        let mut sh = Command::new("sh");
        sh.args(["-c", script]).arg(&path).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { remover: sh.spawn().unwrap(), path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PassingFolder {
    fn drop(&mut self) {
        drop(self.remover.stdin.take());
        let _ = self.remover.wait();
    }
}
