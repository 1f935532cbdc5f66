//! What a job is asked to do, and the id that follows from it.

use crate::identity::{JobId, Sha256};
use crate::tracker_settings::ByteTrackSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// A job as accepted: all that its result depends on, and what it is to deliver. Stored as `request.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub version: u32,
    pub job_id: JobId,
    pub source: Source,
    pub model: ModelRef,
    pub settings: Settings,
    pub outputs: Outputs,
    /// What came with it, where a client sent it to a fleet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted: Option<Submitted>,
}

/// What changes no result, and what tells a request from another one under the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submitted {
    /// Of the message as it was sent.
    pub sha256: Sha256,
    /// The lane in which its segments wait.
    pub queue: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// The version of every JSON document of this crate.
pub const VERSION: u32 = 1;

/// A video file, and how to tell that it is still the same one without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Absolute, links resolved.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Microseconds since 1970.
    pub modified_us: i64,
    /// Of the first and the last MiB, one after the other; of the whole file where it is shorter than two.
    pub ends_sha256: Sha256,
}

/// Which model detects: its name for people, its digest for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    pub name: String,
    pub sha256: Sha256,
}

/// Every setting that changes the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Detections below this score are not stored. 0 to 1.
    pub confidence: f32,
    /// Of two boxes of one class that overlap by more than this IoU, the one with the lower score goes. 0 to 1.
    pub iou: f32,
    /// Every how many frames one is inferred, beginning with frame 0.
    pub every: u32,
    /// Only these classes are kept, by name; all of them when absent. Sorted, without repeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    pub tracker: ByteTrackSettings,
}

/// What the job writes beside `tracks.parquet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Outputs {
    /// `annotated.mp4`: the video with boxes and trails drawn in.
    pub annotated: bool,
}

impl Request {
    /// A request under the client's own id or, without one, under the id that its content gives.
    pub fn new(id: Option<JobId>, source: Source, model: ModelRef, settings: Settings, outputs: Outputs) -> Self {
        let job_id = id.unwrap_or_else(|| derive_id(&source, &model, &settings, outputs));
        Self { version: VERSION, job_id, source, model, settings, outputs, submitted: None }
    }
}

/// The file's name for people and a digest of everything that makes this job another job.
fn derive_id(source: &Source, model: &ModelRef, settings: &Settings, outputs: Outputs) -> JobId {
    let content = serde_json::to_vec(&(source, model, settings, outputs))
        .expect("plain structs with string keys always become JSON");
    let digest = Sha256::of(&content);
    JobId::derived(&source.path.to_string_lossy(), &digest)
}

const MIB: u64 = 1 << 20;
/// Linux's on every machine but Alpha, MIPS, PA-RISC and SPARC.
const O_NONBLOCK: i32 = 0o4000;

impl Source {
    /// Identifies the regular file at `path`.
    pub fn identify(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize()?;
        // What took the file's place since it was looked at may be a named pipe, which opens when somebody writes to it.
        let mut file = File::options().read(true).custom_flags(O_NONBLOCK).open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let modified = metadata.modified()?;
        let modified_us = match modified.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_micros() as i64,
            Err(before) => -(before.duration().as_micros() as i64),
        };
        let size = metadata.len();
        let mut ends = Vec::new();
        file.by_ref().take(MIB).read_to_end(&mut ends)?;
        if size > MIB {
            file.seek(SeekFrom::Start(size - MIB.min(size - MIB)))?;
            file.take(MIB).read_to_end(&mut ends)?;
        }
        Ok(Self { path, size, modified_us, ends_sha256: Sha256::of(&ends) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings { confidence: 0.1, iou: 0.6, every: 1, classes: None, tracker: ByteTrackSettings::default() }
    }

    fn request(source: &Source, settings: Settings) -> Request {
        let model = ModelRef { name: "street".into(), sha256: Sha256::of(b"model") };
        Request::new(None, source.clone(), model, settings, Outputs::default())
    }

    fn source_of(bytes: &[u8]) -> (tempfile::TempDir, Source) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a video.mp4");
        std::fs::write(&path, bytes).unwrap();
        let source = Source::identify(&path).unwrap();
        (folder, source)
    }

    #[test]
    fn the_same_content_gives_the_same_id_and_any_setting_another() {
        let (_folder, source) = source_of(b"video");
        let id = request(&source, settings()).job_id;
        assert!(id.as_str().starts_with("a-video-"), "{id}");
        assert_eq!(id, request(&source, settings()).job_id);
        assert_ne!(id, request(&source, Settings { confidence: 0.2, ..settings() }).job_id);
        assert_ne!(id, request(&source, Settings { every: 2, ..settings() }).job_id);
        let tracker = ByteTrackSettings { track_buffer: 31, ..ByteTrackSettings::default() };
        assert_ne!(id, request(&source, Settings { tracker, ..settings() }).job_id);
    }

    #[test]
    fn a_models_name_changes_the_id_since_the_result_names_it() {
        let (_folder, source) = source_of(b"video");
        let mut other = request(&source, settings());
        other.model.name = "renamed".into();
        let again = Request::new(None, source, other.model, other.settings, other.outputs);
        assert_ne!(other.job_id, again.job_id);
    }

    #[test]
    fn a_change_in_the_last_mib_is_seen() {
        let mut bytes = vec![7; 3 << 20];
        let (_folder, before) = source_of(&bytes);
        *bytes.last_mut().unwrap() = 8;
        let (_folder, after) = source_of(&bytes);
        assert_ne!(before.ends_sha256, after.ends_sha256);
    }

    #[test]
    fn the_ends_of_a_file_shorter_than_two_mib_are_the_whole_file() {
        let bytes: Vec<u8> = (0..MIB as usize + 1000).map(|i| (i % 251) as u8).collect();
        let (_folder, source) = source_of(&bytes);
        assert_eq!(source.ends_sha256, Sha256::of(&bytes));
    }

    #[test]
    fn a_device_is_not_waited_for() {
        assert!(Source::identify(Path::new("/dev/null")).is_err());
    }

    #[test]
    fn an_unknown_field_is_an_error() {
        let (_folder, source) = source_of(b"video");
        let mut json = serde_json::to_value(request(&source, settings())).unwrap();
        json["settings"]["confidance"] = 0.5.into();
        assert!(serde_json::from_value::<Request>(json).is_err());
    }
}
