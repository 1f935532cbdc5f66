//! Video files: reading packets, decoding them, and encoding the annotated copy.

pub mod convert;
pub mod decode;
pub mod demux;
pub mod encode;
pub mod idr;
pub mod limits;

use ffmpeg_next as ffmpeg;
use framefleet_contract::ErrorCode;
use std::path::PathBuf;
use std::sync::Once;

/// What can be wrong with a video, or with making one.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("{path} is not a video that can be read ({reason}); check the file with `ffprobe`")]
    NoVideo { path: PathBuf, reason: String },
    #[error("{path} is damaged ({reason}); copy it again from where it was recorded")]
    Corrupt { path: PathBuf, reason: String },
    #[error("{path} is of a kind that is not opened here ({reason}); convert it to MP4 or MKV")]
    FormatDenied { path: PathBuf, reason: String },
    #[error("{path} is not opened: {reason}")]
    PathDenied { path: PathBuf, reason: String },
    #[error("reading {path} failed ({reason}); check its disk or network, and run again")]
    Unreadable { path: PathBuf, reason: String },
    #[error("no decoder for {codec} in this FFmpeg ({reason}); install a build that has one, or convert the video")]
    CodecUnsupported { codec: String, reason: String },
    #[error("the picture is {width}x{height}: there is nothing to look at")]
    DimensionsInvalid { width: u32, height: u32 },
    #[error("FFmpeg failed to {action}: {reason}")]
    Failed { action: &'static str, reason: String },
    #[error("no space left for the annotated video; free some, and run again")]
    VolumeFull,
    #[error("writing the annotated video failed ({action}: {reason}); check the disk of the results, and run again")]
    VolumeIo { action: &'static str, reason: String },
    #[error("cannot encode the annotated video ({action}: {reason}); run without --annotate")]
    Encode { action: &'static str, reason: String },
}

impl MediaError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoVideo { .. } => ErrorCode::NoVideo,
            Self::Corrupt { .. } => ErrorCode::InputCorrupt,
            Self::FormatDenied { .. } => ErrorCode::FormatDenied,
            Self::PathDenied { .. } => ErrorCode::PathDenied,
            Self::Unreadable { .. } => ErrorCode::SourceUnreadable,
            Self::CodecUnsupported { .. } => ErrorCode::CodecUnsupported,
            Self::DimensionsInvalid { .. } => ErrorCode::DimensionsInvalid,
            Self::Failed { .. } => ErrorCode::Internal,
            Self::VolumeFull => ErrorCode::VolumeFull,
            Self::VolumeIo { .. } => ErrorCode::VolumeIo,
            Self::Encode { .. } => ErrorCode::RenderFailed,
        }
    }
}

/// Loads FFmpeg's tables and silences its own messages: what matters reaches the user as one error, not as a log.
fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        ffmpeg::util::log::set_level(ffmpeg::util::log::Level::Quiet);
        // Without its tables, the binding has no words for FFmpeg's own errors.
        ffmpeg::util::error::register_all();
    });
}

/// FFmpeg's version as it names itself, for the summary.
pub fn version() -> String {
    let v = ffmpeg::codec::version();
    format!("libavcodec {}.{}.{}", v >> 16, (v >> 8) & 0xff, v & 0xff)
}
