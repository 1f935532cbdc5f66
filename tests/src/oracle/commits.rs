//! Whether what is committed is done: of every job that has not ended, somebody still holds, or will get, a message that
//! brings it on.

use crate::fleet::Fleet;
use framefleet_contract::identity::JobId;
use framefleet_contract::message::segment_task::SegmentTask;
use framefleet_queue::Record;
use framefleet_queue::lag::LagProbe;
use std::collections::{HashMap, HashSet};

/// The committed offsets of all queues at one moment.
#[derive(Debug)]
pub struct Commits {
    committed: HashMap<(String, i32), i64>,
    waiting: u64,
}

impl Commits {
    pub fn read(fleet: &Fleet) -> Self {
        let mut this = Self { committed: HashMap::new(), waiting: 0 };
        for topic in fleet.queues() {
            let probe = LagProbe::new(fleet.connection(), &topic).unwrap();
            for lag in probe.ask().unwrap() {
                this.waiting += lag.end.saturating_sub(lag.committed).max(0) as u64;
                this.committed.insert((topic.clone(), lag.partition), lag.committed);
            }
        }
        this
    }

    /// Messages that are not finished.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    fn is_open(&self, record: &Record) -> bool {
        self.committed.get(&(record.topic.clone(), record.partition)).is_none_or(|next| record.offset >= *next)
    }
}

/// To be called at any moment. Offsets are read first, then what is done, then the messages: each can only have grown.
pub fn assert_nothing_is_lost(fleet: &Fleet, ids: &[JobId]) {
    let commits = Commits::read(fleet);
    let open: Vec<(&JobId, Missing)> = ids.iter().filter_map(|id| Some((id, Missing::of(fleet, id)?))).collect();
    let messages = Messages::read(fleet, &commits);
    for (id, missing) in open {
        assert!(messages.bring_on(id, &missing), "job {id} waits for ever: it lacks {missing:?}, and {messages:?}");
    }
}

/// What a job that has not ended needs next.
#[derive(Debug)]
enum Missing {
    Plan,
    Segments(Vec<u32>),
    Outcome,
}

impl Missing {
    fn of(fleet: &Fleet, id: &JobId) -> Option<Self> {
        let folder = fleet.folder(id);
        // The outcome last: it may come meanwhile.
        let missing = match folder.plan().unwrap() {
            None => Self::Plan,
            Some(plan) => {
                let missing = folder.missing_segments(&plan).unwrap();
                match missing.as_slice() {
                    [] => Self::Outcome,
                    missing => Self::Segments(missing.iter().map(|segment| segment.index).collect()),
                }
            }
        };
        folder.outcome().unwrap().is_none().then_some(missing)
    }
}

/// The messages that are not committed, by the ids of their jobs.
#[derive(Debug, Default)]
struct Messages {
    jobs: HashSet<String>,
    segments: HashSet<(String, u32)>,
    finish: HashSet<String>,
}

impl Messages {
    fn read(fleet: &Fleet, commits: &Commits) -> Self {
        let (topics, mut this) = (fleet.topics(), Self::default());
        for record in fleet.records(&fleet.queues()).iter().filter(|record| commits.is_open(record)) {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default()).into_owned();
            if record.topic == topics.jobs() {
                this.jobs.insert(key);
            } else if record.topic == topics.finish() {
                this.finish.insert(key);
            } else {
                let task = record.value.as_deref().map(serde_json::from_slice::<SegmentTask>);
                this.segments.extend(task.and_then(Result::ok).map(|task| (key, task.segment)));
            }
        }
        this
    }

    fn bring_on(&self, id: &JobId, missing: &Missing) -> bool {
        let id = id.as_str();
        let is_waiting = |segment: &u32| self.segments.contains(&(id.to_owned(), *segment));
        self.jobs.contains(id)
            || match missing {
                Missing::Plan => false,
                Missing::Segments(segments) => segments.iter().all(is_waiting),
                // Whoever published the last segment may not have said so yet.
                Missing::Outcome => self.finish.contains(id) || self.segments.iter().any(|(job, _)| job == id),
            }
    }
}
