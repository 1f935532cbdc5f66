use super::*;
use crate::demand::costs::Cost;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::message::HANDED_BACK_HEADER;
use framefleet_contract::message::control::Control;
use framefleet_contract::message::finish::Finish;
use framefleet_contract::message::segment_task::SegmentTask;
use framefleet_contract::message::submission::{Cancellation, JobMessage, Submission};
use framefleet_contract::message::to_json;
use framefleet_contract::request::ModelRef;
use framefleet_queue::Record;
use serde_json::json;

/// Seconds since 1970.
const BEGIN: u32 = 1_800_000_000;

/// A fleet with the queue `normal`, of which every topic has one partition.
struct Fleet {
    known: Known,
    begin: Instant,
    second: u32,
    ends: BTreeMap<Role, i64>,
    committed: BTreeMap<Lane, i64>,
}

impl Fleet {
    fn new() -> Self {
        let begin = Instant::now();
        let topics = Topics::new("t").unwrap();
        let known = Known::new(&topics, "kafka:9092", &BTreeSet::from(["normal".to_owned()]), begin);
        Self { known, begin, second: 0, ends: BTreeMap::new(), committed: BTreeMap::new() }
    }

    /// All topics are there, read from their beginnings and empty.
    fn begun() -> Self {
        let mut fleet = Self::new();
        for role in fleet.known.sources().into_keys() {
            fleet.known.begin(&role, &[0]);
        }
        fleet.answer();
        fleet
    }

    fn now(&self) -> Moment {
        let second = u64::from(self.second);
        Moment { since_1970: f64::from(BEGIN + self.second), instant: self.begin + Duration::from_secs(second) }
    }

    /// The broker says how all topics stand.
    fn answer(&mut self) {
        for role in self.known.sources().into_keys() {
            self.answer_about(&role).unwrap();
        }
    }

    fn answer_about(&mut self, role: &Role) -> Result<(), WentBack> {
        let (end, now) = (self.ends.get(role).copied().unwrap_or(0), self.now());
        let Role::Lane(lane) = role else { return self.known.stands(role, &[(0, end)], now) };
        let committed = self.committed.get(lane).copied().unwrap_or(0);
        self.known.lane_stands(lane, &[PartitionLag { partition: 0, first: 0, committed, end }], now)
    }

    fn send(&mut self, role: &Role, key: &str, value: Option<Vec<u8>>) {
        let record = self.record(role, key, value);
        self.known.take(&record, self.now());
    }

    fn record(&mut self, role: &Role, key: &str, value: Option<Vec<u8>>) -> Record {
        let end = self.ends.entry(role.clone()).or_default();
        *end += 1;
        Record {
            topic: self.known.sources()[role].clone(),
            partition: 0,
            offset: *end - 1,
            timestamp_ms: i64::from(BEGIN + self.second) * 1000,
            key: Some(key.as_bytes().to_vec()),
            value,
            headers: BTreeMap::new(),
        }
    }

    fn segment(&mut self, job: &str, segment: u32) {
        let task = task(job, segment);
        self.send(&detect(), job, Some(to_json(&task)));
    }

    fn lane(&self, lane: &Lane) -> LaneDemand {
        self.known.snapshot(self.now()).demand.lanes[lane].clone()
    }

    /// Units and items of all that waits.
    fn waiting(&self, lane: &Lane) -> (f64, u32) {
        let waiting = self.lane(lane).waiting;
        waiting.iter().fold((0.0, 0), |(units, items), work| (units + work.units, items + work.items))
    }

    fn trouble(&self) -> (Option<&'static str>, String) {
        let trouble = self.known.snapshot(self.now()).troubles.into_values().min();
        (trouble.as_ref().map(Trouble::reason), trouble.map_or(String::new(), |trouble| trouble.to_string()))
    }
}

fn id(job: &str) -> JobId {
    JobId::new(job).unwrap()
}

fn task(job: &str, segment: u32) -> SegmentTask {
    let model = ModelRef { name: "m".to_owned(), sha256: Sha256::of(b"m") };
    SegmentTask::new(id(job), segment, "normal".to_owned(), model, 100)
}

fn normal() -> Lane {
    Lane::Detect("normal".to_owned())
}

fn detect() -> Role {
    Role::Lane(normal())
}

fn heartbeat(worker: &str, more: &serde_json::Value) -> Vec<u8> {
    let mut beat = json!({
        "version": 7, "worker_id": worker, "host": "h", "program": "p", "state": "ready", "roles": ["detect", "finish"],
        "device": "cpu", "slots": 2, "threads": 2, "started": "", "sent": "2999-01-01T00:00:00Z", "interval_s": 3.0,
        "pool": "fleet/gpu"
    });
    beat.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    beat.to_string().into_bytes()
}

#[test]
fn what_waits_is_what_the_messages_say() {
    let mut fleet = Fleet::begun();
    let mut task = SegmentTask { memory_bytes: Some(5), ..task("a", 0) };
    task.deadline = Some("2027-01-15T08:00:00.5Z".to_owned());
    fleet.send(&detect(), "a", Some(to_json(&task)));
    let demand = fleet.lane(&normal());
    assert_eq!((demand.unknown, demand.partitions), (None, 1));
    let work = &demand.waiting[0];
    assert_eq!((work.units, work.items, work.since), (100.0, 1, f64::from(BEGIN)));
    assert_eq!(work.model.as_str(), Sha256::of(b"m").as_str());
    assert_eq!((work.deadline, work.memory), (Some(1_800_000_000.5), Some(5)));
    fleet.committed.insert(normal(), 1);
    fleet.answer();
    assert_eq!(fleet.waiting(&normal()), (0.0, 0));
}

#[test]
fn outcomes_cancellations_and_published_segments_leave_nothing_to_do() {
    let mut fleet = Fleet::begun();
    for job in ["ended", "cancelled", "called-off", "published", "open"] {
        fleet.segment(job, 0);
        fleet.segment(job, 1);
    }
    fleet.send(&Role::Outcomes, "ended", Some(b"{}".to_vec()));
    fleet.send(&Role::Control, "cancelled", Some(to_json(&Control::cancel(id("cancelled")))));
    let cancellation = JobMessage::Cancellation(Cancellation::new(id("called-off")));
    fleet.send(&Role::Lane(Lane::Plan), "called-off", Some(to_json(&cancellation)));
    fleet.send(&Role::Lane(Lane::Finish), "published", Some(to_json(&Finish::of_segment(id("published"), 0))));
    fleet.send(&Role::Lane(Lane::Finish), "open", Some(to_json(&Finish::look(id("open")))));
    assert_eq!(fleet.waiting(&normal()), (300.0, 3));
    assert_eq!(fleet.waiting(&Lane::Finish), (2.0, 2));
    assert_eq!(fleet.waiting(&Lane::Plan), (1.0, 1), "a cancellation wants its outcome");
    // That a cancellation is taken back follows from the outcome, which may be read later.
    fleet.send(&Role::Control, "cancelled", None);
    assert_eq!(fleet.waiting(&normal()), (300.0, 3));
    fleet.second = 100;
    fleet.send(&Role::Outcomes, "published", None);
    assert_eq!(fleet.waiting(&normal()), (200.0, 2), "what a removed job left behind");
    fleet.segment("published", 0);
    assert_eq!(fleet.waiting(&normal()), (300.0, 3), "another job under its id");
}

#[test]
fn what_cannot_be_read_is_no_work_but_where_it_wants_an_answer() {
    let mut fleet = Fleet::begun();
    for role in fleet.known.sources().into_keys() {
        for (key, value) in [("a", Some(b"{".to_vec())), ("b", Some(to_json(&task("c", 0)))), ("\u{1}", None)] {
            fleet.send(&role, key, value);
        }
    }
    assert_eq!((fleet.waiting(&normal()), fleet.waiting(&Lane::Finish)), ((0.0, 0), (0.0, 0)));
    assert_eq!(fleet.waiting(&Lane::Plan), (3.0, 3), "dead letters to be");
    let mut elsewhere = fleet.record(&detect(), "a", Some(to_json(&task("a", 0))));
    elsewhere.topic = "t.elsewhere".to_owned();
    fleet.known.take(&elsewhere, fleet.now());
    assert_eq!(fleet.waiting(&normal()), (0.0, 0));
}

#[test]
fn what_was_handed_back_is_no_new_work() {
    let mut fleet = Fleet::begun();
    let mut records = Vec::new();
    for minute in 0..40_u32 {
        fleet.second = minute * 60;
        let mut record = fleet.record(&detect(), "a", Some(to_json(&task("a", minute))));
        record.timestamp_ms = i64::from(BEGIN + fleet.second) * 1000;
        records.push(record);
    }
    fleet.second = 40 * 60;
    let rate = |records: &[Record], fleet: &mut Fleet| {
        for record in records {
            fleet.known.take(record, fleet.now());
        }
        fleet.lane(&normal()).arriving
    };
    let mut other = Fleet::begun();
    other.second = fleet.second;
    let mut handed_back = records.clone();
    for record in &mut handed_back {
        record.headers.insert(HANDED_BACK_HEADER.to_owned(), b"1".to_vec());
    }
    let [arriving] = &rate(&records, &mut fleet)[..] else { panic!("one model arrives") };
    assert!((arriving.units_per_second - 100.0 / 60.0).abs() < 1e-9);
    assert_eq!(rate(&handed_back, &mut other), []);
    assert_eq!(other.waiting(&normal()), (4000.0, 40), "it waits all the same");
}

#[test]
fn a_message_came_not_later_than_it_was_read() {
    let mut fleet = Fleet::begun();
    for timestamp_ms in [i64::MAX, -1, 0] {
        let mut record = fleet.record(&detect(), "a", Some(to_json(&task("a", 0))));
        record.timestamp_ms = timestamp_ms;
        fleet.known.take(&record, fleet.now());
    }
    let since: Vec<f64> = fleet.lane(&normal()).waiting.iter().map(|work| work.since).collect();
    assert_eq!(since, [f64::from(BEGIN)]);
}

#[test]
fn workers_say_what_is_in_hand_and_what_frames_cost() {
    let mut fleet = Fleet::begun();
    fleet.segment("a", 0);
    let model = Sha256::of(b"m").to_string();
    let more = json!({
        "in_flight": [
            {"job_id": "a", "step": "0", "frames_done": 30, "frames": 100},
            {"job_id": "a", "step": "finish"}, {"job_id": "nobody", "step": "0", "frames_done": 5}
        ],
        "busy_seconds_per_frame": {model.clone(): 0.5}
    });
    fleet.send(&Role::Workers, "w", Some(heartbeat("w", &more)));
    fleet.second = 15;
    fleet.answer();
    assert_eq!(fleet.waiting(&normal()), (70.0, 1));
    let cost = |fleet: &Fleet| {
        let snapshot = fleet.known.snapshot(fleet.now());
        let cost = snapshot.costs.of(Some("fleet/gpu"))[&Model::new(&model)];
        (snapshot.workers.len(), cost.worker_seconds, cost.workers)
    };
    assert_eq!(cost(&fleet), (1, 0.25, 1));
    fleet.second = 16;
    fleet.answer();
    assert_eq!(fleet.waiting(&normal()), (100.0, 1), "whoever had it is gone");
    assert_eq!(cost(&fleet), (0, 0.25, 0));
}

#[test]
fn a_message_that_is_finished_costs_what_workers_spend_on_it() {
    let mut fleet = Fleet::begun();
    for n in 0..100 {
        fleet.send(&Role::Lane(Lane::Finish), "a", Some(to_json(&Finish::of_segment(id("a"), n))));
    }
    for second in 0..3 {
        fleet.second = second * 2;
        for worker in ["v", "w"] {
            fleet.send(&Role::Workers, worker, Some(heartbeat(worker, &json!({}))));
        }
        fleet.committed.insert(Lane::Finish, i64::from(second) * 8);
        fleet.answer();
    }
    let costs = fleet.known.snapshot(fleet.now()).costs;
    assert_eq!(costs.of(None)[&Model::finish()], Cost { worker_seconds: 0.5, workers: 0 });
    assert_eq!(costs.of(None).get(&Model::plan()), None);
}

#[test]
fn nothing_is_known_before_everything_was_asked_and_read() {
    let mut fleet = Fleet::new();
    assert_eq!(fleet.trouble().0, Some("CatchingUp"));
    fleet.second = 16;
    fleet.known.failed(Failure::Unreachable("Connection refused".to_owned()));
    let (reason, said) = fleet.trouble();
    assert_eq!(reason, Some("BrokerUnreachable"));
    assert!(said.contains("for 16 s") && said.contains("Connection refused"), "{said}");
    assert!(fleet.lane(&normal()).unknown.is_some());

    let mut fleet = Fleet::begun();
    assert_eq!(fleet.trouble(), (None, String::new()));
    let mut fleet_behind = Fleet::new();
    for role in fleet_behind.known.sources().into_keys() {
        fleet_behind.known.begin(&role, &[0]);
    }
    fleet_behind.ends.insert(Role::Outcomes, 1000);
    fleet_behind.answer();
    let unknown = |fleet: &Fleet, lane: &Lane| fleet.lane(lane).unknown.unwrap_or_default();
    assert!(unknown(&fleet_behind, &normal()).contains("t.outcomes is being read: 1000 of 1000 messages are left"));
    assert_eq!(unknown(&fleet_behind, &Lane::Plan), "", "how jobs ended does not matter there");
    assert!(fleet_behind.known.has_read_what_waits(fleet_behind.now().instant));
    fleet.ends.insert(detect(), 5);
    fleet.second = 1;
    fleet.answer();
    fleet.second = 12;
    fleet.answer();
    assert!(unknown(&fleet, &normal()).contains("5 messages came more than 11 s ago"), "{:?}", fleet.trouble());
}

#[test]
fn a_topic_that_is_not_there_is_named_with_what_to_do() {
    let mut fleet = Fleet::begun();
    fleet.known.is_missing(&Role::Lane(Lane::Finish), fleet.now().instant);
    let (reason, said) = fleet.trouble();
    assert_eq!(reason, Some("TopicsMissing"));
    assert!(said.contains("t.finish") && said.contains("`framefleet topics apply`"), "{said}");
    assert_eq!(fleet.lane(&Lane::Plan).unknown, None);
    assert!(fleet.lane(&normal()).unknown.is_some(), "which segments are published is not known");
    fleet.answer();
    assert_eq!(fleet.trouble().0, None);
}

#[test]
fn an_old_answer_says_nothing_of_now() {
    let mut fleet = Fleet::begun();
    fleet.second = 15;
    assert_eq!(fleet.trouble().0, None);
    fleet.second = 16;
    assert_eq!(fleet.trouble().0, Some("BrokerUnreachable"));
    for role in fleet.known.sources().into_keys().filter(|role| *role != Role::Control) {
        fleet.answer_about(&role).unwrap();
    }
    assert!(fleet.lane(&normal()).unknown.unwrap().contains("no answer about t.control for 16 s"));
    assert_eq!(fleet.lane(&Lane::Plan).unknown, None);
    fleet.answer();
    assert_eq!(fleet.trouble().0, None);
}

#[test]
fn bad_settings_are_told_as_they_are() {
    let mut fleet = Fleet::begun();
    fleet.known.failed(Failure::Settings("the Kafka setting x is refused".to_owned()));
    assert_eq!(fleet.trouble(), (Some("BadSettings"), "the Kafka setting x is refused".to_owned()));
    fleet.answer();
    assert_eq!(fleet.trouble().0, None);
}

#[test]
fn committed_offsets_behind_the_end_are_no_empty_queue() {
    let mut fleet = Fleet::begun();
    fleet.segment("a", 0);
    fleet.committed.insert(normal(), 500);
    fleet.answer();
    let (reason, said) = fleet.trouble();
    assert_eq!(reason, Some("OffsetsAhead"));
    assert!(said.contains("t.segments.normal") && said.contains("500") && said.contains("ends at 1"), "{said}");
    fleet.committed.insert(normal(), 1);
    let back = fleet.answer_about(&detect()).unwrap_err().to_string();
    assert_eq!(back, "the offsets of t.segments.normal went back from 500 to 1; it is read anew");
}

#[test]
fn a_topic_that_was_made_anew_is_read_anew_and_what_was_measured_stays() {
    let mut fleet = Fleet::begun();
    fleet.segment("a", 0);
    fleet.known.costs.hear_of_messages(Model::plan(), 3.0);
    fleet.answer();
    fleet.ends.insert(detect(), 0);
    assert!(fleet.answer_about(&detect()).is_err());
    let now = fleet.now().instant;
    fleet.known.begin_anew(now);
    assert_eq!(fleet.waiting(&normal()), (0.0, 0));
    assert_eq!(fleet.trouble().0, Some("CatchingUp"));
    let costs = fleet.known.snapshot(fleet.now()).costs.of(None);
    assert_eq!(costs[&Model::plan()], Cost { worker_seconds: 3.0, workers: 0 });
}

#[test]
fn what_waits_longest_says_from_when_on_words_on_jobs_matter() {
    let mut fleet = Fleet::begun();
    assert_eq!(fleet.known.oldest_waiting(), None);
    fleet.second = 50;
    fleet.segment("a", 0);
    let submission = JobMessage::Request(Box::new(Submission::new(id("b"), "/b.mp4")));
    fleet.second = 60;
    fleet.send(&Role::Lane(Lane::Plan), "b", Some(to_json(&submission)));
    assert_eq!(fleet.known.oldest_waiting(), Some(BEGIN + 50));
    fleet.committed.insert(normal(), 1);
    fleet.answer();
    assert_eq!(fleet.known.oldest_waiting(), Some(BEGIN + 60));
}

#[test]
fn what_nobody_needs_any_more_is_forgotten() {
    let mut fleet = Fleet::begun();
    fleet.segment("a", 0);
    fleet.segment("b", 0);
    fleet.committed.insert(normal(), 1);
    for second in [3 * 3600, 3 * 3600 + 61] {
        fleet.second = second;
        fleet.answer();
    }
    assert_eq!((fleet.known.jobs.known("a"), fleet.known.jobs.known("b").is_some()), (None, true));
}
