//! What a client sends to the topic `jobs`: a request for a job, or the wish that a job ends.

use super::{SchemaError, check_key, parse_json};
use crate::identity::{JobId, Sha256};
use crate::request::{Outputs, VERSION};
use crate::tracker_settings::ByteTrackSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A message of the topic `jobs`; its key is the job's id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(title = "FrameFleet: a message of the topic jobs")]
pub enum JobMessage {
    Request(Box<Submission>),
    Cancellation(Cancellation),
}

/// Asks for a job. The same id with the same content is the same job; with another content it is a conflict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    pub job_id: JobId,
    /// A path as the workers see it, or an `http://` or `https://` URL.
    #[schemars(length(min = 1, max = 4096), regex(pattern = WITHOUT_NUL))]
    pub source: String,
    /// `NAME` or `NAME@VERSION` of the workers' model directory; may be left out where that holds one model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = WITHOUT_NUL))]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub settings: AskedSettings,
    #[serde(default, skip_serializing_if = "is_default")]
    pub outputs: Outputs,
    /// The lane in which its segments wait: `high`, `normal` or `low`, or one that the fleet's owner made.
    #[serde(default = "normal")]
    #[schemars(regex(pattern = "^[a-z0-9][a-z0-9-]{0,31}$"))]
    pub queue: String,
    /// When the result is needed, RFC 3339 in UTC. Decides how many workers there are, not what they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?Z$"))]
    pub deadline: Option<String>,
    /// The client's own words, which come back in the job's statuses: at most 32, keys of up to 63 and values of up to 256
    /// characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = MOST_LABELS), extend("propertyNames" = label_schema(1, LONGEST_LABEL)),
               extend("additionalProperties" = label_schema(0, LONGEST_LABEL_VALUE)))]
    pub labels: BTreeMap<String, String>,
}

/// Settings that change the result. What is left out is the model's own default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedSettings {
    /// Detections below this score are not stored. 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub confidence: Option<f32>,
    /// Of two boxes of one class that overlap by more than this IoU, the one with the lower score goes. 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub iou: Option<f32>,
    /// Every how many frames one is inferred, beginning with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub every: Option<u32>,
    /// Only these classes are kept, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub tracker: AskedTracker,
}

/// Thresholds of `ByteTrack`, named as in the paper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedTracker {
    /// Detections with at least this score are associated first and may start tracks. 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub track_thresh: Option<f64>,
    /// Detections between this score and `track_thresh` can only prolong tracks. 0 to `track_thresh`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub low_thresh: Option<f64>,
    /// A track starts at a score of at least `track_thresh` plus this. 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub new_track_margin: Option<f64>,
    /// Frames, at 30 frames per second, that a lost track is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track_buffer: Option<u32>,
    /// Largest cost, 1 - `IoU` × score, of a match in the first association. 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub match_thresh: Option<f64>,
}

/// Asks that a job ends `cancelled`, wherever it stands; before it was asked for, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// 1.
    #[schemars(range(min = 1, max = 1))]
    pub version: u32,
    pub job_id: JobId,
}

/// The queue of a request that names none.
pub const DEFAULT_QUEUE: &str = "normal";
/// What schemas say of a text that becomes a path or a name.
const WITHOUT_NUL: &str = "^[^\\u0000]*$";
const MOST_LABELS: usize = 32;
const LONGEST_LABEL: usize = 63;
const LONGEST_LABEL_VALUE: usize = 256;
const LONGEST_SOURCE: usize = 4096;
const LONGEST_MODEL: usize = 256;

impl JobMessage {
    /// Reads a message strictly.
    ///
    /// # Errors
    /// It is too large, not JSON, of another version, has an unknown field or a value that cannot be meant, or its key is
    /// not its id.
    pub fn parse(key: Option<&[u8]>, value: &[u8]) -> Result<Self, SchemaError> {
        let message: Self = parse_json(value)?;
        check_key(key, message.job_id())?;
        if message.version() != VERSION {
            let version = message.version();
            return Err(SchemaError::new(format!(
                "the message is of version {version}, and this program knows {VERSION}"
            )));
        }
        if let Self::Request(submission) = &message {
            submission.check()?;
        }
        Ok(message)
    }

    pub fn job_id(&self) -> &JobId {
        match self {
            Self::Request(submission) => &submission.job_id,
            Self::Cancellation(cancellation) => &cancellation.job_id,
        }
    }

    fn version(&self) -> u32 {
        match self {
            Self::Request(submission) => submission.version,
            Self::Cancellation(cancellation) => cancellation.version,
        }
    }
}

impl Submission {
    /// Everything by default but what there must be.
    pub fn new(job_id: JobId, source: impl Into<String>) -> Self {
        Self {
            version: VERSION,
            job_id,
            source: source.into(),
            model: None,
            settings: AskedSettings::default(),
            outputs: Outputs::default(),
            queue: normal(),
            deadline: None,
            labels: BTreeMap::new(),
        }
    }

    /// Tells this request from every other one. When it is needed makes no other request of it.
    pub fn sha256(&self) -> Sha256 {
        Sha256::of(&super::to_json(&Self { deadline: None, ..self.clone() }))
    }

    /// # Errors
    /// A value that cannot be meant.
    pub fn check(&self) -> Result<(), SchemaError> {
        let within = |what: &str, value: Option<f64>| match value {
            Some(value) if !(0.0..=1.0).contains(&value) => {
                Err(SchemaError::new(format!("{what} is {value}, and must be from 0 to 1")))
            }
            _ => Ok(()),
        };
        let tracker = &self.settings.tracker;
        within("confidence", self.settings.confidence.map(f64::from))?;
        within("iou", self.settings.iou.map(f64::from))?;
        within("track_thresh", tracker.track_thresh)?;
        within("low_thresh", tracker.low_thresh)?;
        within("new_track_margin", tracker.new_track_margin)?;
        within("match_thresh", tracker.match_thresh)?;
        if self.settings.every == Some(0) {
            return Err(SchemaError::new("every is 0, and must be 1 or more"));
        }
        if !fits(&self.source, LONGEST_SOURCE) {
            return Err(SchemaError::new(format!("source must have 1 to {LONGEST_SOURCE} bytes, none of them 0")));
        }
        if self.model.as_ref().is_some_and(|model| !fits(model, LONGEST_MODEL)) {
            return Err(SchemaError::new(format!("model must have 1 to {LONGEST_MODEL} bytes, none of them 0")));
        }
        if !is_queue(&self.queue) {
            let queue: String = self.queue.chars().take(40).collect();
            return Err(SchemaError::new(format!(
                "queue {queue:?} must be 1 to 32 of a-z, 0-9 and -, not beginning with -"
            )));
        }
        if self.deadline.as_ref().is_some_and(|deadline| !is_utc(deadline)) {
            return Err(SchemaError::new("deadline must be a time such as 2026-03-01T12:00:00Z"));
        }
        self.check_labels()
    }

    fn check_labels(&self) -> Result<(), SchemaError> {
        let is_long = |(key, value): (&String, &String)| {
            !fits(key, LONGEST_LABEL) || value.len() > LONGEST_LABEL_VALUE || value.contains('\0')
        };
        if self.labels.len() > MOST_LABELS || self.labels.iter().any(is_long) {
            return Err(SchemaError::new(format!(
                "there may be {MOST_LABELS} labels, of 1 to {LONGEST_LABEL} bytes with values of up to {LONGEST_LABEL_VALUE}"
            )));
        }
        Ok(())
    }
}

impl AskedTracker {
    /// What was asked for, and otherwise what `defaults` say.
    #[must_use]
    pub fn over(self, defaults: ByteTrackSettings) -> ByteTrackSettings {
        ByteTrackSettings {
            track_thresh: self.track_thresh.unwrap_or(defaults.track_thresh),
            low_thresh: self.low_thresh.unwrap_or(defaults.low_thresh),
            new_track_margin: self.new_track_margin.unwrap_or(defaults.new_track_margin),
            track_buffer: self.track_buffer.unwrap_or(defaults.track_buffer),
            match_thresh: self.match_thresh.unwrap_or(defaults.match_thresh),
        }
    }
}

impl Cancellation {
    pub fn new(job_id: JobId) -> Self {
        Self { version: VERSION, job_id }
    }
}

/// Whether a queue can be called so: its name becomes part of a topic's.
pub fn is_queue(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=32).contains(&name.len()) && !name.starts_with('-') && name.chars().all(allowed)
}

/// A schema counts characters, and [`Submission::check`] bytes: it is the stricter one.
fn label_schema(least: usize, most: usize) -> serde_json::Value {
    serde_json::json!({ "type": "string", "minLength": least, "maxLength": most, "pattern": WITHOUT_NUL })
}

fn normal() -> String {
    DEFAULT_QUEUE.to_owned()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn fits(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.contains('\0')
}

/// `2026-03-01T12:00:00Z`, with a fraction of a second or without.
fn is_utc(text: &str) -> bool {
    let Some((seconds, fraction)) = text.strip_suffix('Z').and_then(|text| text.split_at_checked(19)) else {
        return false;
    };
    let form = b"0000-00-00T00:00:00";
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let has_form = seconds.bytes().zip(form).all(|(b, f)| if *f == b'0' { b.is_ascii_digit() } else { b == *f });
    has_form && (fraction.is_empty() || fraction.strip_prefix('.').is_some_and(is_digits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn request(change: impl FnOnce(&mut Value)) -> Value {
        let mut message = json!({"kind": "request", "version": 1, "job_id": "a", "source": "/videos/a.mp4"});
        change(&mut message);
        message
    }

    fn parsed(message: &Value) -> Result<JobMessage, SchemaError> {
        JobMessage::parse(Some(b"a"), message.to_string().as_bytes())
    }

    #[test]
    fn a_request_need_not_say_more_than_what_to_look_at() {
        let JobMessage::Request(submission) = parsed(&request(|_| ())).unwrap() else { panic!("a request") };
        assert_eq!(*submission, Submission::new(JobId::new("a").unwrap(), "/videos/a.mp4"));
        let sent = JobMessage::Request(submission);
        assert_eq!(parsed(&serde_json::to_value(&sent).unwrap()).unwrap(), sent);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_it_is() {
        let refused = |change: fn(&mut Value)| parsed(&request(change)).unwrap_err().reason().to_owned();
        for (change, what) in [
            ((|m| m["colour"] = "red".into()) as fn(&mut Value), "unknown field `colour`"),
            (|m| m["settings"] = json!({"confidance": 0.5}), "unknown field `confidance`"),
            (|m| m["settings"] = json!({"tracker": {"thresh": 0.5}}), "unknown field `thresh`"),
            (|m| m["version"] = 2.into(), "of version 2"),
            (|m| m["kind"] = "wish".into(), "unknown variant `wish`"),
            (|m| m["job_id"] = "../a".into(), "not usable"),
            (|m| m["job_id"] = "b".into(), "key is not"),
            (|m| m["source"] = "".into(), "source must have"),
            (|m| m["source"] = "a\0b".into(), "source must have"),
            (|m| m["settings"] = json!({"iou": 1.5}), "iou is 1.5"),
            (|m| m["settings"] = json!({"every": 0}), "every is 0"),
            (|m| m["settings"] = json!({"tracker": {"match_thresh": -1.0}}), "match_thresh is -1"),
            (|m| m["queue"] = "a/b".into(), "queue \"a/b\" must be"),
            (|m| m["deadline"] = "tomorrow".into(), "deadline must be"),
            (|m| m["labels"] = json!({"a": "x".repeat(257)}), "labels"),
            (|m| m["outputs"] = json!({"annotated": "yes"}), "expected a boolean"),
        ] {
            let said = refused(change);
            assert!(said.contains(what), "{said:?} does not say {what:?}");
        }
    }

    #[test]
    fn times_are_told_from_what_only_looks_like_one() {
        for time in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.5Z"] {
            assert!(is_utc(time), "{time}");
        }
        for other in [
            "",
            "Z",
            "2026-03-01T12:00:00",
            "2026-03-01T12:00:00+01:00",
            "2026-03-01T12:00:00.Z",
            "é".repeat(12).as_str(),
        ] {
            assert!(!is_utc(other), "{other}");
        }
    }

    #[test]
    fn another_content_is_another_request() {
        let one = Submission::new(JobId::new("a").unwrap(), "x");
        assert_eq!(one.sha256(), one.clone().sha256());
        assert_ne!(one.sha256(), Submission { source: "y".into(), ..one.clone() }.sha256());
        assert_eq!(one.sha256(), Submission { deadline: Some("x".into()), ..one.clone() }.sha256());
        assert_ne!(one.sha256(), Submission { queue: "high".into(), ..one.clone() }.sha256());
    }
}
