//! What a job is asked to do, and the id that follows from it.

use crate::identity::{JobId, Sha256};
use crate::tracker_settings::ByteTrackSettings;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

mod source;

pub use source::{END_BYTES, FileSource, Source, UrlSource, Version};

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

/// Which model detects: its name for people, its digest for machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelRef {
    /// As the model directory calls it.
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
    JobId::derived(&source.name(), &digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source_url::SourceUrl;

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
        let source = FileSource::identify(&path).unwrap();
        (folder, Source::File(source))
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
    fn an_unknown_field_is_an_error() {
        let (_folder, source) = source_of(b"video");
        let mut json = serde_json::to_value(request(&source, settings())).unwrap();
        json["settings"]["confidance"] = 0.5.into();
        assert!(serde_json::from_value::<Request>(json).is_err());
    }

    /// As the program wrote them before a source could be a URL.
    #[test]
    fn the_json_of_a_file_and_the_id_that_follows_from_it_stay_what_they_were() {
        let digest = Sha256::of(b"v");
        let json = format!(r#"{{"path":"/v/a.mp4","size":1,"modified_us":-2,"ends_sha256":"{}"}}"#, digest.as_str());
        let source: Source = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&source).unwrap(), json);
        let file = FileSource { path: "/v/a.mp4".into(), size: 1, modified_us: -2, ends_sha256: digest };
        assert_eq!(source, Source::File(file));
        assert_eq!(request(&source, settings()).job_id.as_str(), "a-1ea90c75b82429a69fe3");
    }

    #[test]
    fn a_url_is_read_back_and_another_signature_is_another_job() {
        let source = |text: &str| {
            let url = SourceUrl::new(text).unwrap();
            let version = Version { size: 1, etag: Some("\"e\"".into()), last_modified: None };
            Source::Url(UrlSource::new(&url, version, Sha256::of(b"v")))
        };
        let one = source("https://u:p@h/street%20a.mp4?sig=1");
        let json = serde_json::to_string(&one).unwrap();
        assert!(!json.contains("sig=1") && !json.contains("u:p"), "{json}");
        assert_eq!(serde_json::from_str::<Source>(&json).unwrap(), one);
        let id = request(&one, settings()).job_id;
        assert!(id.as_str().starts_with("street-20a-"), "{id}");
        assert_ne!(id, request(&source("https://u:p@h/street%20a.mp4?sig=2"), settings()).job_id);
    }
}
