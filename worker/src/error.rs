//! Everything that can end a job, with the code that a user meets.

use crate::device::DeviceError;
use framefleet_contract::job_folder::JobFolderError;
use framefleet_contract::message::SchemaError;
use framefleet_contract::source_url::InvalidSourceUrl;
use framefleet_contract::volume::VolumeError;
use framefleet_contract::{Disposition, ErrorCode};
use framefleet_fetch::FetchError;
use framefleet_models::ModelError;
use framefleet_models::pins::PinError;
use framefleet_models::store::StoreError;
use framefleet_native::ffmpeg::MediaError;
use framefleet_queue::QueueError;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum JobError {
    #[error("{0}")]
    BadRequest(String),
    #[error("no such file: {path}; check the path")]
    SourceNotFound { path: PathBuf },
    #[error("{path} is {what}, not a video file; give the path of a file")]
    SourceNotAFile { path: PathBuf, what: &'static str },
    #[error("{path} is {resolved}, which is in none of the allowed folders; --root allows another one")]
    OutsideRoots { path: PathBuf, resolved: PathBuf },
    #[error(
        "{0}: URLs are not read; give a URL that begins with http:// or https://, or a path (./{0}:... where a file is called so)"
    )]
    UrlScheme(String),
    #[error("a file: URL names {path}, which is not to be read ({reason}); give a path in an allowed folder")]
    FileUrl { path: PathBuf, reason: String },
    #[error("{path} cannot be read: {reason}; check its permissions")]
    SourceUnreadable { path: PathBuf, reason: std::io::Error },
    #[error(
        "{path} is not the file any more that was planned ({difference}); leave it alone while it is processed, or start a new job"
    )]
    SourceChanged { path: PathBuf, difference: String },
    #[error("{damaged} of {packets} packets of {path} cannot be decoded; copy it again from where it was recorded")]
    TooDamaged { path: PathBuf, damaged: u64, packets: u64 },
    /// Met by the plan that takes its place, never by a user.
    #[error("the plan of the segments does not hold: {reason}")]
    PlanRefuted { reason: String },
    #[error("interrupted; what is finished stays, and the same command goes on from there")]
    Interrupted,
    #[error(
        "the plan in {path} is not to be seen, and a segment of it is at hand; check that all workers have one volume"
    )]
    NotSeenYet { path: PathBuf },
    #[error("a worker thread ended without a result; please report this")]
    ThreadLost,
    #[error("model {model} broke down ({reason}); run again, and if it is so again please report this")]
    DetectorPanicked { model: String, reason: String },
    #[error(
        "model {model} has taken more than {seconds} s for one frame; run again, and if it is so again raise --stall-seconds or take a smaller model"
    )]
    InferenceStalled { model: String, seconds: f64 },
    #[error("drawing failed: {0}")]
    Draw(String),
    #[error(
        "the worker was lost {losses} times while it did nothing but this ({step}): a crash, too much memory, or killed from outside; look at the workers' logs and limits"
    )]
    WorkerLost { step: String, losses: u32 },
    /// A message that cannot be read.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Url(#[from] InvalidSourceUrl),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Media(#[from] MediaError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    Folder(#[from] JobFolderError),
    #[error(transparent)]
    Pin(#[from] PinError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub type Result<T> = std::result::Result<T, JobError>;

impl JobError {
    /// The stable code that scripts match on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::BadRequest(_) | Self::Url(_) => ErrorCode::BadRequest,
            Self::UrlScheme(_) | Self::FileUrl { .. } => ErrorCode::UrlSchemeDenied,
            Self::Fetch(e) => e.code(),
            Self::SourceNotFound { .. } => ErrorCode::SourceNotFound,
            Self::SourceNotAFile { .. } | Self::OutsideRoots { .. } | Self::SourceUnreadable { .. } => {
                ErrorCode::PathDenied
            }
            Self::SourceChanged { .. } => ErrorCode::SourceChanged,
            Self::TooDamaged { .. } => ErrorCode::InputCorrupt,
            Self::Interrupted => ErrorCode::Interrupted,
            Self::NotSeenYet { .. } | Self::ThreadLost | Self::PlanRefuted { .. } => ErrorCode::Internal,
            Self::DetectorPanicked { .. } => ErrorCode::InferenceFailed,
            Self::InferenceStalled { .. } => ErrorCode::InferenceStalled,
            Self::WorkerLost { .. } => ErrorCode::WorkerLost,
            Self::Schema(_) => ErrorCode::Schema,
            Self::Queue(e) => e.code(),
            Self::Draw(_) => ErrorCode::RenderFailed,
            Self::Device(e) => e.code(),
            Self::Media(e) => e.code(),
            Self::Model(e) => e.code(),
            Self::Volume(e) => e.code(),
            Self::Folder(e) => e.code(),
            Self::Pin(e) => e.code(),
            Self::Store(e) => e.code(),
        }
    }

    pub fn is_refuted_plan(&self) -> bool {
        matches!(self, Self::PlanRefuted { .. })
    }

    pub fn disposition(&self) -> Disposition {
        self.code().disposition()
    }
}
