//! What the parts of a fleet tell each other: the messages of the Kafka topics, as JSON.
//!
//! Requests are read strictly: a field that nobody knows is a mistake of whoever sent it. Everything else is read
//! tolerantly, so that workers of two versions can share a fleet: what one does not know, it ignores.

pub mod control;
pub mod dead_letter;
pub mod finish;
pub mod heartbeat;
pub mod segment_task;
pub mod status;
pub mod submission;

use crate::identity::JobId;
use crate::source_url::without_credentials;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A message with more bytes than this is refused unread.
pub const MOST_BYTES: usize = 64 << 10;

/// A message that says something else than its topic's messages do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; the JSON Schemas of FrameFleet say what a message may hold")]
pub struct SchemaError(String);

/// What is said of a message may quote it.
const LONGEST_REASON: usize = 500;

impl SchemaError {
    /// Says no more than so much, and no credentials of a URL.
    pub fn new(reason: impl AsRef<str>) -> Self {
        let begin: String = reason.as_ref().chars().take(LONGEST_REASON).collect();
        Self(without_credentials(&begin))
    }

    pub fn reason(&self) -> &str {
        &self.0
    }
}

/// A header of a message that was tried, failed for a reason that may pass, and was sent again: how often, in decimal
/// digits.
pub const HANDED_BACK_HEADER: &str = "framefleet-handed-back";

/// A message of a topic whose keys are job ids.
pub trait OfJob: Serialize + DeserializeOwned {
    fn job_id(&self) -> &JobId;
}

/// Reads a message of which what is unknown is ignored.
///
/// # Errors
/// It is too large, not JSON, lacks something, or its key is not the id that it names.
pub fn parse<T: OfJob>(key: Option<&[u8]>, value: &[u8]) -> Result<T, SchemaError> {
    let message: T = parse_json(value)?;
    check_key(key, message.job_id())?;
    Ok(message)
}

/// The bytes that are sent.
pub fn to_json(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("our messages have string keys and finite numbers")
}

fn parse_json<T: DeserializeOwned>(value: &[u8]) -> Result<T, SchemaError> {
    if value.len() > MOST_BYTES {
        return Err(SchemaError::new(format!("the message has {} bytes, and may have {MOST_BYTES}", value.len())));
    }
    serde_json::from_slice(value).map_err(|e| SchemaError::new(format!("the message cannot be read: {e}")))
}

fn check_key(key: Option<&[u8]>, job_id: &JobId) -> Result<(), SchemaError> {
    match key {
        Some(key) if key == job_id.as_str().as_bytes() => Ok(()),
        Some(_) => Err(SchemaError::new(format!("the message's key is not the id of its job, {job_id}"))),
        None => Err(SchemaError::new(format!("the message has no key; it must be the id of its job, {job_id}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::finish::Finish;
    use super::*;

    #[test]
    fn what_is_unknown_is_ignored_and_what_is_wrong_is_not() {
        let id = JobId::new("a").unwrap();
        let newer = br#"{"version":2,"job_id":"a","segment":3,"colour":"red"}"#;
        assert_eq!(parse::<Finish>(Some(b"a"), newer).unwrap().segment, Some(3));
        let sent = Finish::of_segment(id, 3);
        assert_eq!(parse::<Finish>(Some(b"a"), &to_json(&sent)).unwrap(), sent);
        let refused = |key: Option<&[u8]>, value: &[u8]| parse::<Finish>(key, value).unwrap_err().reason().to_owned();
        assert!(refused(Some(b"b"), newer).contains("key is not"));
        assert!(refused(None, newer).contains("no key"));
        assert!(refused(Some(b"a"), b"\xff").contains("cannot be read"));
        assert!(refused(Some(b"a"), b"{\"version\":1}").contains("job_id"));
        assert!(refused(Some(b"a"), &vec![b' '; MOST_BYTES + 1]).contains("65537 bytes"));
    }
}
