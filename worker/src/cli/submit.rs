//! `framefleet submit`: hands work to a fleet.

use super::jobs::line;
use super::kafka::KafkaFlags;
use super::setting_flags::SettingFlags;
use super::{DONE, FAILED, INTERRUPTED, print_error, say, status_before_job};
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::source::Places;
use clap::Args;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::message::submission::{DEFAULT_QUEUE, Submission};
use framefleet_contract::outcome::State;
use framefleet_contract::request::{FileSource, Outputs};
use framefleet_contract::source_url::{self, SourceUrl};
use framefleet_queue::board::Job;
use framefleet_queue::client::{Client, Watch};
use framefleet_queue::publish::Pending;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Hands videos to a fleet, each as a job, and prints their ids.
///
/// The job is the fleet's when its id is printed. Submitting the same again is the same job.
#[derive(Debug, Args)]
pub struct Submit {
    /// Paths as the workers see them, or http(s):// URLs
    #[arg(value_name = "URI", required_unless_present = "from")]
    uris: Vec<String>,

    /// Read more of them from a file, one a line; - for standard input
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// A model of the workers' model directory; may be left out where that holds one
    #[arg(long, value_name = "NAME[@VERSION]")]
    model: Option<String>,

    /// The queue in which the segments wait: high, normal, low, or another that the fleet has
    #[arg(long, value_name = "NAME", default_value = DEFAULT_QUEUE)]
    queue: String,

    /// The job's id, for one video: letters, digits, '.', '_' and '-'. Otherwise it follows from what is asked for
    #[arg(long, value_name = "ID")]
    job_id: Option<String>,

    /// When the results are needed: a time such as 2026-03-01T12:00:00Z, or from now on: 2h, 30min
    #[arg(long, value_name = "TIME")]
    deadline: Option<String>,

    /// A word of your own that comes back in the job's status; can be given several times
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,

    #[command(flatten)]
    settings: SettingFlags,

    /// Also make annotated.mp4
    #[arg(long)]
    annotate: bool,

    /// Wait until the jobs have ended, and say how. Ctrl-C stops the waiting, not the jobs
    #[arg(long)]
    wait: bool,

    /// Print JSON, one line for each job
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

/// Submissions on their way to the broker at once.
const AT_ONCE: usize = 10_000;
/// Between two lines that say how many have ended.
const LINE_EVERY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(200);
/// Of deadlines, from 1970 on: the year 10000.
const END_OF_TIME: Duration = Duration::from_hours(70_389_528);

impl Submit {
    pub fn execute(&self) -> u8 {
        self.submit().unwrap_or_else(|error| {
            print_error(error.code(), &error.to_string());
            status_before_job(&error)
        })
    }

    fn submit(&self) -> Result<u8> {
        // Everything that can be wrong is found before anything is sent.
        let submissions = self.submissions()?;
        let client = Client::new(self.kafka.connection()?)?;
        client.check()?;
        client.check_queue(&self.queue)?;
        // An id of one's own may be another request's already. Derived ids never are.
        if self.job_id.is_some() {
            client.watch()?.job_of(&submissions[0])?;
        }
        // Before the first is sent, so that nothing is missed.
        let watch = if self.wait { Some(client.watch()?) } else { None };
        let stop = Stop::on_signals().map_err(|e| JobError::BadRequest(format!("signals cannot be handled: {e}")))?;
        self.send(&client, &submissions)?;
        match watch {
            Some(watch) => self.wait_for(watch, submissions, &stop),
            None => Ok(DONE),
        }
    }

    fn submissions(&self) -> Result<Vec<Submission>> {
        let uris = self.uris()?;
        if self.job_id.is_some() && uris.len() > 1 {
            return Err(JobError::BadRequest("--job-id names one job; give one video, or leave it out".to_owned()));
        }
        uris.iter().map(|uri| self.submission(uri)).collect()
    }

    fn uris(&self) -> Result<Vec<String>> {
        let mut uris = self.uris.clone();
        if let Some(from) = &self.from {
            let read: std::io::Result<Vec<String>> = if from == Path::new("-") {
                std::io::stdin().lock().lines().collect()
            } else {
                std::fs::read_to_string(from).map(|text| text.lines().map(str::to_owned).collect())
            };
            let read = read.map_err(|e| JobError::BadRequest(format!("--from {}: {e}", from.display())))?;
            uris.extend(read.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()));
        }
        if uris.is_empty() {
            return Err(JobError::BadRequest("no video to submit; give paths or URLs".to_owned()));
        }
        Ok(uris)
    }

    fn submission(&self, uri: &str) -> Result<Submission> {
        let source = absolute(uri)?;
        let mut submission = Submission {
            model: self.model.clone(),
            settings: self.settings.asked(),
            outputs: Outputs { annotated: self.annotate },
            queue: self.queue.clone(),
            deadline: self.deadline.as_deref().map(deadline).transpose()?,
            labels: self.labels.iter().cloned().collect::<BTreeMap<_, _>>(),
            ..Submission::new(JobId::new("unnamed").map_err(|e| JobError::BadRequest(e.to_string()))?, source)
        };
        submission.job_id = match &self.job_id {
            Some(id) => JobId::new(id).map_err(|e| JobError::BadRequest(e.to_string()))?,
            None => derived_id(&submission),
        };
        submission.check().map_err(|e| JobError::BadRequest(e.reason().to_owned()))?;
        Ok(submission)
    }

    fn send(&self, client: &Client, submissions: &[Submission]) -> Result<()> {
        let mut pending: VecDeque<(&Submission, Pending)> = VecDeque::new();
        let told = |(submission, pending): (&Submission, Pending)| -> Result<()> {
            pending.wait()?;
            if self.json && !self.wait {
                say(&serde_json::json!({ "job_id": submission.job_id, "source": shown(submission) }).to_string());
            } else if !self.json {
                say(submission.job_id.as_str());
            }
            Ok(())
        };
        for submission in submissions {
            if pending.len() >= AT_ONCE
                && let Some(first) = pending.pop_front()
            {
                told(first)?;
            }
            pending.push_back((submission, client.submit(submission)?));
        }
        pending.into_iter().try_for_each(told)
    }

    fn wait_for(&self, mut watch: Watch, submissions: Vec<Submission>, stop: &Stop) -> Result<u8> {
        let total = submissions.len();
        let mut open = submissions;
        let (mut status, mut said) = (DONE, Instant::now());
        loop {
            let mut still_open = Vec::new();
            for submission in open {
                match watch.ended(&submission) {
                    Ok(Some(job)) => status = status.max(self.tell(&job)),
                    Ok(None) => still_open.push(submission),
                    Err(error) => {
                        print_error(error.code(), &error.to_string());
                        status = FAILED;
                    }
                }
            }
            open = still_open;
            if open.is_empty() {
                return Ok(status);
            }
            if stop.is_asked() {
                print_error(
                    framefleet_contract::ErrorCode::Interrupted,
                    "waiting ended; the jobs go on: see `framefleet jobs`",
                );
                return Ok(INTERRUPTED);
            }
            if said.elapsed() >= LINE_EVERY && !self.json {
                said = Instant::now();
                eprintln!("{}", still_open_of(&watch, &open, total));
            }
            watch.follow(LOOK)?;
        }
    }

    /// Says how a job ended, and gives its exit status.
    fn tell(&self, job: &Job) -> u8 {
        let Some(outcome) = &job.outcome else { return FAILED };
        if self.json {
            say(&serde_json::to_string(job).expect("names and numbers become JSON"));
        } else {
            let why = outcome.error.as_ref().map(|error| format!(": {}: {}", error.code, error.message));
            say(&format!("{} {}{}", job.job_id, job.state.as_str(), why.unwrap_or_default()));
        }
        if outcome.state == State::Succeeded { DONE } else { FAILED }
    }
}

/// How many have ended, and how the first of the others stands.
fn still_open_of(watch: &Watch, open: &[Submission], total: usize) -> String {
    let first = open.first().map(|submission| &submission.job_id);
    let first = first.and_then(|job_id| watch.board.job(job_id)).map(|job| line(&job)).unwrap_or_default();
    format!("{} of {total} have ended; waiting for {first}", total - open.len())
}

/// A path that is there from here is given as the workers can find it from anywhere.
fn absolute(uri: &str) -> Result<String> {
    if Places::url_of(OsStr::new(uri))?.is_some() || uri.starts_with("file:") {
        return Ok(uri.to_owned());
    }
    let (host, _) = uri.split_once('/').unwrap_or((uri, ""));
    if host.split_once('@').is_some_and(|(user, _)| user.contains(':')) && !Path::new(uri).exists() {
        // A password in it would be shown as part of a path.
        let advice = "this looks like a URL without https:// in front; a path can begin with ./";
        return Err(JobError::BadRequest(advice.to_owned()));
    }
    let path = std::path::absolute(uri).map_err(|e| JobError::BadRequest(format!("{uri}: {e}")))?;
    path.into_os_string()
        .into_string()
        .map_err(|_| JobError::BadRequest(format!("{uri}: its path is not UTF-8; rename it")))
}

/// A source without what nobody is to see.
fn shown(submission: &Submission) -> String {
    source_url::shown(&submission.source)
}

/// The file's name for people, and a digest of everything that is asked for. Where the file can be read from here, of its
/// identity too, so that another file of the same name is another job.
fn derived_id(submission: &Submission) -> JobId {
    let identity = FileSource::identify(Path::new(&submission.source)).ok();
    let content = serde_json::to_vec(&(&submission.sha256(), &identity)).expect("plain structs become JSON");
    let url = SourceUrl::new(&submission.source);
    JobId::derived(url.as_ref().map_or(&submission.source, SourceUrl::name), &Sha256::of(&content))
}

/// `KEY=VALUE`.
pub fn label(text: &str) -> std::result::Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("take KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn deadline(text: &str) -> Result<String> {
    let now = std::time::SystemTime::now();
    let at = match humantime::parse_duration(text) {
        Ok(from_now) => now.checked_add(from_now),
        Err(_) => humantime::parse_rfc3339(text).ok(),
    };
    // Years have four digits.
    let at = at.filter(|at| at.duration_since(UNIX_EPOCH).is_ok_and(|since| since < END_OF_TIME)).ok_or_else(|| {
        JobError::BadRequest(format!("--deadline {text}: take a time such as 2026-03-01T12:00:00Z, or 2h"))
    })?;
    if at <= now {
        eprintln!("warning: --deadline {text} is over already; it is submitted all the same");
    }
    Ok(humantime::format_rfc3339_seconds(at).to_string())
}
