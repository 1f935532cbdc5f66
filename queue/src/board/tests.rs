use super::*;
use framefleet_contract::error_code::ErrorCode;
use framefleet_contract::message::submission::Cancellation;
use framefleet_contract::message::to_json;
use framefleet_contract::outcome::Failure;
use framefleet_contract::request::ModelRef;

/// A board, and the records that it was given.
struct Told {
    board: Board,
    topics: Topics,
    now_ms: i64,
}

impl Told {
    fn new() -> Self {
        Self { board: Board::default(), topics: Topics::new("t").unwrap(), now_ms: 0 }
    }

    fn record(&mut self, topic: String, key: &str, value: Option<Vec<u8>>) {
        self.now_ms += 1;
        let record = Record {
            topic,
            partition: 0,
            offset: 0,
            timestamp_ms: self.now_ms,
            key: Some(key.as_bytes().to_vec()),
            value,
            headers: BTreeMap::new(),
        };
        self.board.take(&self.topics, &record);
    }

    fn request(&mut self, submission: &Submission) {
        let message = JobMessage::Request(Box::new(submission.clone()));
        self.record(self.topics.jobs(), submission.job_id.as_str(), Some(to_json(&message)));
    }

    fn cancellation(&mut self, id: &str) {
        let message = JobMessage::Cancellation(Cancellation::new(job_id(id)));
        self.record(self.topics.jobs(), id, Some(to_json(&message)));
    }

    fn status(&mut self, id: &str, progress: Progress) {
        self.record(self.topics.status(), id, Some(to_json(&status(id, progress))));
    }

    fn outcome(&mut self, id: &str, state: State) {
        self.record(self.topics.outcomes(), id, Some(to_json(&outcome(id, state))));
    }

    /// As a job is removed.
    fn forget(&mut self, id: &str) {
        for topic in [self.topics.status(), self.topics.outcomes()] {
            self.record(topic, id, None);
        }
    }

    fn state(&self, id: &str) -> Option<JobState> {
        self.board.job(&job_id(id)).map(|job| job.state)
    }
}

fn job_id(id: &str) -> JobId {
    JobId::new(id).unwrap()
}

fn submission(id: &str) -> Submission {
    Submission::new(job_id(id), "/videos/a.mp4")
}

fn at(step: Step, segments_done: u32) -> Progress {
    Progress { plan: 0, step, segments_done, segments: 9 }
}

fn status(id: &str, progress: Progress) -> Status {
    Status {
        version: 1,
        job_id: job_id(id),
        progress,
        source: "/real/a.mp4".to_owned(),
        model: ModelRef { name: "street".to_owned(), sha256: Sha256::of(b"") },
        queue: "low".to_owned(),
        labels: BTreeMap::new(),
        deadline: None,
        request_sha256: Some(submission(id).sha256()),
    }
}

fn outcome(id: &str, state: State) -> Outcome {
    let error =
        (state == State::Failed).then(|| Failure { code: ErrorCode::NoVideo, message: "it is none".to_owned() });
    let request_sha256 = Some(submission(id).sha256());
    Outcome { version: 1, job_id: job_id(id), state, error, files: Vec::new(), request_sha256 }
}

#[test]
fn a_job_goes_from_queued_to_its_outcome() {
    let mut told = Told::new();
    assert_eq!(told.state("a"), None);
    told.request(&submission("a"));
    assert_eq!(told.state("a"), Some(JobState::Queued));
    told.status("a", at(Step::Detecting, 3));
    let job = told.board.job(&job_id("a")).unwrap();
    assert_eq!(
        (job.state, job.source.as_deref(), job.queue.as_deref()),
        (JobState::Detecting, Some("/real/a.mp4"), Some("low"))
    );
    assert_eq!((job.progress, job.submitted_ms, job.ended_ms), (Some(at(Step::Detecting, 3)), Some(1), None));
    told.status("a", at(Step::Tracking, 9));
    assert_eq!(told.state("a"), Some(JobState::Tracking));
    told.cancellation("a");
    assert_eq!(told.state("a"), Some(JobState::Cancelling));
    told.outcome("a", State::Succeeded);
    let job = told.board.job(&job_id("a")).unwrap();
    assert_eq!(
        (job.state, job.ended_ms, job.request_sha256),
        (JobState::Succeeded, Some(5), Some(submission("a").sha256()))
    );
}

#[test]
fn an_outcome_counts_more_than_any_status_and_cancellation_in_whatever_order() {
    for state in [State::Succeeded, State::Failed, State::Cancelled] {
        let mut told = Told::new();
        told.outcome("a", state);
        told.status("a", at(Step::Detecting, 1));
        told.cancellation("a");
        told.request(&submission("a"));
        assert_eq!(told.state("a").unwrap().as_str(), serde_json::to_value(state).unwrap().as_str().unwrap());
    }
}

#[test]
fn a_late_status_does_not_take_a_job_back() {
    let mut told = Told::new();
    told.status("a", at(Step::Detecting, 5));
    told.status("a", at(Step::Detecting, 4));
    assert_eq!(told.board.jobs()[0].progress.unwrap().segments_done, 5);
    told.status("a", at(Step::Tracking, 9));
    told.status("a", at(Step::Detecting, 9));
    assert_eq!(told.state("a"), Some(JobState::Tracking));
    // Another plan took the first one's place, which is later whatever it counts.
    told.status("a", Progress { plan: 9, step: Step::Detecting, segments_done: 0, segments: 1 });
    assert_eq!(told.state("a"), Some(JobState::Detecting));
}

#[test]
fn what_cannot_be_read_is_passed_over() {
    let mut told = Told::new();
    told.request(&submission("a"));
    let topics = told.topics.clone();
    for topic in [topics.jobs(), topics.status(), topics.outcomes(), topics.workers()] {
        for value in [Some(b"\xff".to_vec()), Some(b"{}".to_vec()), Some(Vec::new())] {
            told.record(topic.clone(), "a", value.clone());
            told.record(topic.clone(), "b", value.clone());
            told.record(topic.clone(), "../c", value);
        }
    }
    told.record(topics.jobs(), "a", None);
    // The key says another job than the message.
    told.record(topics.jobs(), "c", Some(to_json(&JobMessage::Request(Box::new(submission("d"))))));
    assert_eq!(told.board.jobs().len(), 1);
    assert_eq!(told.state("a"), Some(JobState::Queued));
}

#[test]
fn a_job_that_is_forgotten_is_gone_until_it_is_submitted_again() {
    let mut told = Told::new();
    told.request(&submission("a"));
    told.cancellation("a");
    told.status("a", at(Step::Tracking, 9));
    told.outcome("a", State::Succeeded);
    told.forget("a");
    assert_eq!(told.board.jobs(), []);
    assert_eq!(told.board.request(&job_id("a")), None);
    told.request(&submission("a"));
    assert_eq!(told.state("a"), Some(JobState::Queued));
    told.status("a", at(Step::Detecting, 0));
    assert_eq!(told.state("a"), Some(JobState::Detecting));
}

#[test]
fn a_job_stays_forgotten_when_its_request_is_read_after_its_end() {
    let mut told = Told::new();
    told.now_ms = 100;
    told.forget("a");
    told.now_ms = 0;
    told.request(&submission("a"));
    told.cancellation("a");
    assert_eq!(told.board.jobs(), []);
}

#[test]
fn nobody_sees_credentials() {
    for (source, shown) in [
        ("https://user:secret@h/v.mp4?sig=secret", "https://h/v.mp4?sig=***"),
        ("rtsp://user:secret@camera/1", "rtsp://***@camera/1"),
    ] {
        let mut told = Told::new();
        told.request(&Submission { source: source.to_owned(), ..submission("a") });
        let job = told.board.job(&job_id("a")).unwrap();
        assert_eq!(job.source.as_deref(), Some(shown));
        assert!(!serde_json::to_string(&job).unwrap().contains("secret"));
    }
}

#[test]
fn the_first_request_counts_unless_the_outcome_is_of_another() {
    let mut told = Told::new();
    let other = Submission { queue: "high".to_owned(), ..submission("a") };
    told.request(&other);
    told.request(&submission("a"));
    assert_eq!(told.board.request(&job_id("a")), Some(&other));
    assert_eq!(told.board.job(&job_id("a")).unwrap().queue.as_deref(), Some("high"));
    told.outcome("a", State::Failed);
    assert_eq!(told.board.request(&job_id("a")), Some(&submission("a")));
}

#[test]
fn jobs_are_in_the_order_in_which_they_were_submitted() {
    let mut told = Told::new();
    for id in ["b", "c", "a"] {
        told.request(&submission(id));
    }
    let ids: Vec<String> = told.board.jobs().iter().map(|job| job.job_id.to_string()).collect();
    assert_eq!(ids, ["b", "c", "a"]);
}
