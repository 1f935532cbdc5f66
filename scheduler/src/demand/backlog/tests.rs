use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn kind(model: &str, deadline_ms: Option<i64>) -> Kind {
    Kind { model: Model::new(model), deadline_ms, memory: None }
}

fn message(partition: i32, offset: i64, at: Second, piece: (JobNumber, u32)) -> Message {
    Message { partition, offset, at, piece: Some(piece), units: 100, kind: kind("m", None) }
}

/// A backlog with its jobs, and what waits in it: units and items.
struct Queue {
    jobs: Jobs,
    backlog: Backlog,
}

impl Queue {
    fn new() -> Self {
        Self { jobs: Jobs::default(), backlog: Backlog::new(Counted::Unpublished) }
    }

    fn job(&mut self, id: &str) -> JobNumber {
        self.jobs.number(id, 0)
    }

    fn take(&mut self, message: &Message) {
        self.backlog.take(&mut self.jobs, message);
    }

    fn commit(&mut self, partition: i32, committed: i64) {
        self.backlog.commit(&mut self.jobs, partition, committed);
    }

    fn sums(&self) -> (f64, u32) {
        let waiting = self.backlog.waiting(&self.jobs, &InHand::new());
        waiting.iter().fold((0.0, 0), |(units, items), work| (units + work.units, items + work.items))
    }
}

#[test]
fn what_is_committed_waits_no_more() {
    let mut queue = Queue::new();
    let job = queue.job("a");
    queue.commit(0, 1);
    for offset in 0..4 {
        queue.take(&message(0, offset, 60, (job, offset as u32)));
    }
    assert_eq!(queue.sums(), (300.0, 3));
    queue.commit(0, 3);
    assert_eq!(queue.sums(), (100.0, 1));
    queue.commit(0, 2);
    assert_eq!(queue.sums(), (100.0, 1), "a late answer brings nothing back");
    queue.take(&message(0, 3, 60, (job, 9)));
    assert_eq!(queue.sums(), (100.0, 1), "it was read before");
    queue.commit(0, 9);
    assert_eq!(queue.sums(), (0.0, 0));
    assert_eq!(queue.backlog.oldest(), None);
}

#[test]
fn a_segment_that_was_sent_twice_is_one_and_came_with_the_first() {
    let mut queue = Queue::new();
    let job = queue.job("a");
    queue.take(&message(0, 0, 1000, (job, 7)));
    queue.take(&message(1, 0, 400, (job, 7)));
    queue.take(&message(0, 1, 2000, (job, 7)));
    let since = |queue: &Queue| queue.backlog.waiting(&queue.jobs, &InHand::new())[0].since;
    assert_eq!((queue.sums(), since(&queue)), ((100.0, 1), 400.0));
    queue.commit(1, 1);
    assert_eq!((queue.sums(), since(&queue)), ((100.0, 1), 1000.0));
    queue.commit(0, 1);
    assert_eq!((queue.sums(), since(&queue)), ((100.0, 1), 2000.0));
    queue.commit(0, 2);
    assert_eq!(queue.sums(), (0.0, 0));
    queue.take(&message(1, 1, 3000, (job, 7)));
    assert_eq!(queue.sums(), (100.0, 1), "it can wait again");
}

#[test]
fn frames_that_are_done_of_what_is_in_hand_are_no_work() {
    let mut queue = Queue::new();
    let [a, b] = ["a", "b"].map(|id| queue.job(id));
    for (offset, piece) in [(a, 0), (a, 1), (b, 0)].into_iter().enumerate() {
        queue.take(&message(0, offset as i64, 60, piece));
    }
    queue.jobs.ended(b);
    let in_hand = InHand::from([((a, 0), 30), ((a, 1), 1_000_000), ((a, 2), 10), ((b, 0), 10)]);
    let waiting = queue.backlog.waiting(&queue.jobs, &in_hand);
    assert_eq!(waiting.iter().map(|work| (work.units, work.items)).collect::<Vec<_>>(), [(70.0, 2)]);
}

#[test]
fn work_is_told_apart_by_model_deadline_memory_and_the_minute_in_which_it_came() {
    let mut queue = Queue::new();
    let job = queue.job("a");
    let late = Kind { memory: Some(1 << 30), ..kind("m", Some(90_500)) };
    let kinds =
        [(119, kind("m", None)), (120, kind("m", None)), (61, kind("n", None)), (130, late), (60, kind("m", None))];
    for (offset, (at, kind)) in kinds.into_iter().enumerate() {
        queue.take(&Message { kind, ..message(0, offset as i64, at, (job, offset as u32)) });
    }
    let waiting = queue.backlog.waiting(&queue.jobs, &InHand::new());
    let seen: Vec<_> =
        waiting.iter().map(|work| (work.since, work.model.as_str(), work.items, work.deadline, work.memory)).collect();
    assert_eq!(
        seen,
        [
            (60.0, "m", 2, None, None),
            (61.0, "n", 1, None, None),
            (120.0, "m", 1, None, None),
            (130.0, "m", 1, Some(90.5), Some(1 << 30))
        ]
    );
}

#[test]
fn what_counts_depends_on_the_queue() {
    for (counted, left) in [(Counted::All, 4), (Counted::OfOpenJobs, 3), (Counted::Unpublished, 2)] {
        let mut queue = Queue { backlog: Backlog::new(counted), ..Queue::new() };
        let [open, ended] = ["open", "ended"].map(|id| queue.job(id));
        queue.jobs.ended(ended);
        queue.jobs.published(open, 0, 60);
        queue.take(&message(0, 0, 60, (ended, 0)));
        queue.take(&message(0, 1, 60, (open, 0)));
        queue.take(&message(0, 2, 60, (open, 1)));
        queue.take(&Message { piece: None, ..message(0, 3, 60, (open, 1)) });
        assert_eq!(queue.sums().1, left, "{counted:?}");
        queue.commit(0, 4);
        assert_eq!(queue.sums().1, 0);
    }
}

#[test]
fn a_partition_that_there_cannot_be_is_passed_over() {
    let mut queue = Queue::new();
    let job = queue.job("a");
    queue.take(&message(-1, 0, 60, (job, 0)));
    queue.commit(-1, 5);
    assert_eq!(queue.sums(), (0.0, 0));
}

/// Something that happens to a queue.
#[derive(Debug, Clone)]
enum Event {
    Sent { partition: i32, gap: i64, at: Second, job: usize, segment: u32, units: u32, kind: Kind },
    Committed { partition: i32, by: i64 },
    Published { job: usize, segment: u32, at: Second },
    Ended { job: usize },
    Forgotten { job: usize, at: Second },
    Cancelled { job: usize, at: Second },
}

const JOBS: usize = 4;
const PARTITIONS: i32 = 3;

fn event() -> impl Strategy<Value = Event> {
    let (job, at, partition) = (0..JOBS, 0..500_u32, 0..PARTITIONS);
    let kinds = (prop::sample::select(vec!["m", "n"]), prop::option::of(0..2_i64))
        .prop_map(|(model, deadline)| kind(model, deadline));
    prop_oneof![
        8 => (partition.clone(), 1..3_i64, at.clone(), job.clone(), 0..5_u32, 0..100_u32, kinds).prop_map(
            |(partition, gap, at, job, segment, units, kind)| Event::Sent { partition, gap, at, job, segment, units, kind }
        ),
        4 => (partition, 0..4_i64).prop_map(|(partition, by)| Event::Committed { partition, by }),
        2 => (job.clone(), 0..5_u32, at.clone()).prop_map(|(job, segment, at)| Event::Published { job, segment, at }),
        1 => job.clone().prop_map(|job| Event::Ended { job }),
        1 => (job.clone(), at.clone()).prop_map(|(job, at)| Event::Forgotten { job, at }),
        1 => (job, at).prop_map(|(job, at)| Event::Cancelled { job, at }),
    ]
}

/// Everything that was said, and what follows from it when it is looked at as a whole.
#[derive(Default)]
struct Everything {
    messages: Vec<(Message, usize, u32)>,
    ends: BTreeMap<i32, i64>,
    committed: BTreeMap<i32, i64>,
    /// By job and segment, the last time at which it was said after which the job did not end.
    published: BTreeMap<(usize, u32), Second>,
    ended: BTreeSet<usize>,
    forgotten: BTreeMap<usize, Second>,
    cancelled: BTreeMap<usize, Second>,
}

impl Everything {
    fn waiting(&self) -> Vec<Work> {
        let mut first: BTreeMap<(usize, u32), &Message> = BTreeMap::new();
        for (message, job, segment) in &self.messages {
            let is_committed = message.offset < self.committed.get(&message.partition).copied().unwrap_or(0);
            let is_forgotten = self.forgotten.get(job).is_some_and(|forgotten| message.at + 60 < *forgotten);
            if is_committed || is_forgotten {
                continue;
            }
            let order = |message: &Message| (message.at, message.partition, message.offset);
            let known = first.entry((*job, *segment)).or_insert(message);
            if order(message) < order(known) {
                *known = message;
            }
        }
        let mut groups: BTreeMap<(Kind, Second), Vec<&Message>> = BTreeMap::new();
        for ((job, segment), message) in first {
            let forgotten = self.forgotten.get(&job);
            let is_cancelled = self.cancelled.get(&job).is_some_and(|at| Some(at) > forgotten);
            let is_published = self.published.get(&(job, segment)).is_some_and(|at| Some(at) > forgotten);
            if !self.ended.contains(&job) && !is_cancelled && !is_published {
                groups.entry((message.kind.clone(), message.at / 60)).or_default().push(message);
            }
        }
        let mut waiting: Vec<(Second, Kind, Work)> = Vec::new();
        for ((kind, _), messages) in groups {
            let since = messages.iter().map(|message| message.at).min().unwrap();
            let work = Work {
                model: kind.model.clone(),
                units: messages.iter().map(|message| f64::from(message.units)).sum(),
                items: messages.len() as u32,
                since: f64::from(since),
                deadline: kind.deadline_ms.map(|ms| ms as f64 / 1000.0),
                memory: None,
            };
            waiting.push((since, kind, work));
        }
        waiting.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        waiting.into_iter().map(|(_, _, work)| work).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens in whatever order, what waits is what follows from all that was said.
    #[test]
    fn what_waits_follows_from_what_was_said_and_not_from_how_it_came(events in prop::collection::vec(event(), 1..60)) {
        let (mut queue, mut everything) = (Queue::new(), Everything::default());
        let jobs: Vec<JobNumber> = (0..JOBS).map(|job| queue.job(&job.to_string())).collect();
        for event in events {
            match event {
                Event::Sent { partition, gap, at, job, segment, units, kind } => {
                    let end = everything.ends.entry(partition).or_default();
                    let offset = *end + gap - 1;
                    *end = offset + 1;
                    let message = Message { partition, offset, at, piece: Some((jobs[job], segment)), units, kind };
                    queue.take(&message);
                    everything.messages.push((message, job, segment));
                }
                Event::Committed { partition, by } => {
                    // Also beyond what was read.
                    let committed = everything.committed.entry(partition).or_default();
                    *committed += by;
                    queue.commit(partition, *committed);
                }
                Event::Published { job, segment, at } => {
                    queue.jobs.published(jobs[job], segment, at);
                    if !everything.ended.contains(&job) {
                        let said = everything.published.entry((job, segment)).or_insert(at);
                        *said = at.max(*said);
                    }
                }
                Event::Ended { job } => {
                    queue.jobs.ended(jobs[job]);
                    everything.ended.insert(job);
                    everything.published.retain(|(known, _), _| *known != job);
                }
                Event::Forgotten { job, at } => {
                    queue.jobs.forgotten(jobs[job], at);
                    everything.ended.remove(&job);
                    let forgotten = everything.forgotten.entry(job).or_insert(at);
                    *forgotten = at.max(*forgotten);
                }
                Event::Cancelled { job, at } => {
                    queue.jobs.cancelled(jobs[job], at);
                    let cancelled = everything.cancelled.entry(job).or_insert(at);
                    *cancelled = at.max(*cancelled);
                }
            }
            prop_assert_eq!(queue.backlog.waiting(&queue.jobs, &InHand::new()), everything.waiting());
        }
        // When all is finished, nothing of it is left.
        for partition in 0..PARTITIONS {
            queue.commit(partition, 1000);
        }
        let backlog = &queue.backlog;
        prop_assert!(backlog.numbers.is_empty() && backlog.again.is_empty() && backlog.free.len() == backlog.pieces.len());
        prop_assert!((0..100).all(|number| backlog.kinds.get(number).is_none()));
        queue.jobs.sweep(u32::MAX);
        prop_assert!((0..JOBS).all(|job| queue.jobs.known(&job.to_string()).is_none()));
    }
}
