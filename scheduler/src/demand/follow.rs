//! Follows one fleet: a thread that reads its topics and asks how its queues stand, for as long as somebody wants to know.

mod session;

use super::known::{Failure, Known, Moment, Snapshot};
use framefleet_queue::{Connection, QueueError};
use session::{End, Session};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Follows a fleet until it is dropped. What goes wrong is in the snapshots, and passes by itself.
#[derive(Debug)]
pub struct Follower {
    shared: Arc<Shared>,
}

/// What the thread and whoever asks for snapshots have in common.
#[derive(Debug)]
struct Shared {
    known: Mutex<Known>,
    ends: AtomicBool,
}

/// Between two tries to begin, at first and at most.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What worked for so long worked.
const WORKED: Duration = Duration::from_mins(1);
/// Between two looks at whether somebody still wants to know.
const LOOK: Duration = Duration::from_millis(100);

impl Follower {
    /// Begins with the fleet that `connection` reaches, of which these queues are served. Waits for nothing.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(connection: &Connection, queues: impl IntoIterator<Item = String>) -> std::io::Result<Self> {
        let queues: BTreeSet<String> = queues.into_iter().collect();
        let known = Known::new(connection.topics(), connection.brokers(), &queues, Instant::now());
        let shared = Arc::new(Shared { known: Mutex::new(known), ends: AtomicBool::new(false) });
        let (connection, following) = (connection.clone(), shared.clone());
        Builder::new().name(thread_name(connection.topics().prefix())).spawn(move || following.follow(&connection))?;
        Ok(Self { shared })
    }

    /// How the fleet stands, `now` in seconds since 1970.
    pub fn snapshot(&self, now: f64) -> Snapshot {
        self.shared.known().snapshot(Moment { since_1970: now, instant: Instant::now() })
    }
}

/// The thread ends by itself: at once, or when the broker has answered or not.
impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
    }
}

/// The system shows 15 characters of it: of several fleets, the ends of their prefixes tell them apart.
fn thread_name(prefix: &str) -> String {
    const SHOWN: usize = 8;
    let begin = prefix.len().saturating_sub(SHOWN);
    format!("demand {}", prefix.get(begin..).unwrap_or(prefix))
}

impl Shared {
    fn follow(&self, connection: &Connection) {
        let mut pause = PAUSE;
        while !self.ends() {
            let begun = Instant::now();
            self.known().begin_anew(begun);
            let end = Session::new(connection, self).and_then(|mut session| session.run());
            match end {
                Ok(()) => return,
                Err(End::Anew(reason)) => tracing::info!("{}: {reason}", connection.topics().prefix()),
                Err(End::Failed(error)) => {
                    if self.failed(&error) {
                        tracing::warn!("the work of {} is not known: {error}", connection.topics().prefix());
                    }
                }
            }
            pause = if begun.elapsed() > WORKED { PAUSE } else { (2 * pause).min(LONGEST_PAUSE) };
            self.wait(pause);
        }
    }

    /// Gives whether that is news.
    fn failed(&self, error: &QueueError) -> bool {
        let failure = match error {
            QueueError::BadRequest(reason) => Failure::Settings(reason.clone()),
            other => Failure::Unreachable(other.to_string()),
        };
        self.known().failed(failure)
    }

    fn ends(&self) -> bool {
        self.ends.load(Ordering::Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, pause: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < pause && !self.ends() {
            std::thread::sleep(LOOK);
        }
    }
}

impl Moment {
    fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        Self { since_1970, instant: Instant::now() }
    }
}
