//! Video files: reading packets, decoding them, and encoding the annotated copy.

pub mod convert;
pub mod decode;
pub mod demux;
pub mod encode;
pub mod hardware;
pub mod hidden;
pub mod idr;
pub mod limits;
pub mod origin;
pub mod pulse;

mod boxes;
mod bytes;
mod checksum;
mod colours;
mod frame;
mod input;
mod messages;
mod pixel_layout;
mod seek;
mod semi_planar;
mod source_file;

use crate::cuda::CudaError;
use ffmpeg_next as ffmpeg;
use framefleet_contract::ErrorCode;
use framefleet_fetch::FetchError;
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
    #[error("{path} has a picture of {width}x{height} pixels, and {limit} are allowed; --max-pixels raises that")]
    PixelsLimit { path: PathBuf, width: u32, height: u32, limit: u64 },
    #[error("{path} {reason}, and {limit} s are allowed; --max-duration raises that")]
    DurationLimit { path: PathBuf, reason: String, limit: f64 },
    #[error(
        "{path} claims {samples} packets, and its {bytes} bytes hold {most} at most; make it again from its recording"
    )]
    SamplesLimit { path: PathBuf, samples: u64, bytes: u64, most: u64 },
    #[error("{path} has more than {limit} streams; --max-streams raises that")]
    StreamsLimit { path: PathBuf, limit: u32 },
    #[error("{path} is not read: {reason}, and {limit} are allowed; --max-bytes raises that")]
    BytesLimit { path: PathBuf, reason: String, limit: u64 },
    #[error("the timestamps of {path} make no sense ({reason}); write the video anew with `ffmpeg`")]
    TimestampsInvalid { path: PathBuf, reason: String },
    #[error(
        "reading {path} has taken more than {seconds} s for one packet; check its disk or network and run again, or raise --stall-seconds"
    )]
    ReadTimeout { path: PathBuf, seconds: f64 },
    #[error(
        "decoding {path} has taken more than {seconds} s for one packet; run again, and if it is so again raise --stall-seconds or convert the video"
    )]
    DecodeStalled { path: PathBuf, seconds: f64 },
    #[error(
        "{path} changed while it was read ({difference}); leave it alone while it is processed, and start a new job"
    )]
    Changed { path: PathBuf, difference: String },
    /// Met by the decoder in software that takes the place of the hardware, never by a user.
    #[error("NVDEC does not decode it: {reason}")]
    HardwareRefused { reason: String },
    #[error(transparent)]
    Device(#[from] CudaError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
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
            Self::PixelsLimit { .. } => ErrorCode::PixelsLimit,
            Self::DurationLimit { .. } | Self::SamplesLimit { .. } => ErrorCode::DurationLimit,
            Self::StreamsLimit { .. } => ErrorCode::StreamsLimit,
            Self::BytesLimit { .. } => ErrorCode::BytesLimit,
            Self::TimestampsInvalid { .. } => ErrorCode::TimestampsInvalid,
            Self::ReadTimeout { .. } => ErrorCode::ReadTimeout,
            Self::DecodeStalled { .. } => ErrorCode::DecodeStalled,
            Self::Changed { .. } => ErrorCode::SourceChanged,
            Self::Fetch(e) => e.code(),
            Self::Device(e) => e.code(),
            Self::Failed { .. } | Self::HardwareRefused { .. } => ErrorCode::Internal,
            Self::VolumeFull => ErrorCode::VolumeFull,
            Self::VolumeIo { .. } => ErrorCode::VolumeIo,
            Self::Encode { .. } => ErrorCode::RenderFailed,
        }
    }
}

/// Bytes that FFmpeg may ask for in one piece. The index of a video of a week at 30 frames/s fits, and so does a picture of
/// 2^26 pixels; what a hostile header claims often does not.
const LARGEST_ALLOCATION: usize = 512 << 20;

/// Takes FFmpeg's own messages, so that what matters reaches the user as one error and not as a log, and bounds its
/// memory.
fn initialise() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        messages::listen();
        // SAFETY: an atomic number is set.
        unsafe { ffmpeg::ffi::av_max_alloc(LARGEST_ALLOCATION) };
        // Without its tables, the binding has no words for FFmpeg's own errors.
        ffmpeg::util::error::register_all();
    });
}

/// FFmpeg's version as it names itself, for the summary.
pub fn version() -> String {
    let v = ffmpeg::codec::version();
    format!("libavcodec {}.{}.{}", v >> 16, (v >> 8) & 0xff, v & 0xff)
}
