//! `framefleet dead-letters show`: one letter, for people.

use super::find;
use crate::cli::kafka::KafkaFlags;
use crate::cli::{DONE, say};
use crate::error::Result;
use crate::report::{plain_table, trimmed};
use clap::Args;
use framefleet_contract::source_url;
use framefleet_queue::client::{Client, DeadLetter};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

/// Shows a letter: where it came from, why it was given up, and what it says. URLs are without their credentials
#[derive(Debug, Args)]
pub struct Show {
    /// As `list` shows it
    #[arg(value_name = "ID")]
    id: String,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    kafka: KafkaFlags,
}

impl Show {
    pub fn execute(&self) -> Result<u8> {
        let letters = Client::new(self.kafka.connection()?)?.dead_letters()?;
        let letter = find(&letters, &self.id)?;
        if self.json {
            say(&as_json(&letter).to_string());
        } else {
            say(&describe(&letter));
        }
        Ok(DONE)
    }
}

pub fn as_json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "given_up_ms": letter.timestamp_ms,
        "topic": letter.original_topic,
        "partition": letter.original_partition,
        "offset": letter.original_offset,
        "sent_ms": letter.original_timestamp_ms,
        "key": letter.key,
        "code": letter.code,
        "message": letter.message,
        "worker": letter.worker,
        "value": content(&letter.value),
    })
}

fn describe(letter: &DeadLetter) -> String {
    let time = |at_ms: i64| {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(at_ms.max(0).cast_unsigned())).to_string()
    };
    let place = match (letter.original_partition, letter.original_offset) {
        (Some(partition), Some(offset)) => format!("{}, partition {partition}, offset {offset}", letter.original_topic),
        _ => letter.original_topic.clone(),
    };
    let mut table = plain_table();
    for (name, value) in [
        ("id", letter.id.clone()),
        ("code", letter.code.clone()),
        ("message", letter.message.clone()),
        ("from", place),
        ("key", letter.key.clone().unwrap_or_default()),
        ("sent", letter.original_timestamp_ms.map(time).unwrap_or_default()),
        ("given up", time(letter.timestamp_ms)),
        ("by", letter.worker.clone()),
    ] {
        table.add_row(vec![name.to_owned(), value]);
    }
    let content = match content(&letter.value) {
        Value::String(text) => text,
        message => serde_json::to_string_pretty(&message).expect("what was read as JSON becomes JSON"),
    };
    let printable = content.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
    format!("{}\n\n{printable}", trimmed(&table))
}

/// What a message says, without credentials: JSON, or a text where it is none.
fn content(value: &[u8]) -> Value {
    serde_json::from_slice(value).map_or_else(
        // Some programs write the slashes of a URL as `\/`.
        |_| source_url::without_credentials(&String::from_utf8_lossy(value).replace("\\/", "/")).into(),
        redacted,
    )
}

fn redacted(value: Value) -> Value {
    match value {
        Value::String(text) => source_url::shown(&text).into(),
        Value::Array(items) => items.into_iter().map(redacted).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, redacted(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_letter_shows_credentials_whatever_it_holds() {
        for value in [
            r#"{"source":"https://u:secret@h/v.mp4?sig=secret","labels":{"a":["ftp://u:secret@h"]}}"#,
            r#"{"source":"https:\/\/u:secret@h\/v"}"#,
            r#"{"source":"https://u:secret@h/v?secret"#,
            r#"{"source":"https:\/\/u:secret@h\/v"#,
            "see rtsp://u:secret@h and https://u:secret@h/a b?secret",
        ] {
            let letter = DeadLetter { value: value.as_bytes().to_vec(), ..DeadLetter::default() };
            for shown in [describe(&letter), as_json(&letter).to_string()] {
                assert!(!shown.contains("secret") && shown.contains("://"), "{shown}");
            }
        }
    }

    #[test]
    fn a_letter_steers_no_terminal() {
        let letter = DeadLetter {
            value: b"\x1b]0;title\x07".to_vec(),
            message: "\x1b[2J".to_owned(),
            key: Some("\x1b[H".to_owned()),
            ..DeadLetter::default()
        };
        assert!(!describe(&letter).contains('\x1b'));
    }
}
