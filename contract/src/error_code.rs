//! The stable names of everything that can go wrong with a job.
//!
//! Scripts and dashboards match on these, so a code is never renamed and never reused for something else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a fleet does with a failed piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The surroundings failed (a full volume, say): the same work can succeed later. The job stays open.
    Retry,
    /// The work itself can never succeed. The job ends `failed`.
    DeadLetter,
    /// This program cannot do any work until a person changes something.
    Fatal,
}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $disposition:ident;)*) => {
        /// A stable error code, written in capitals: `INPUT_CORRUPT`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The code as it is printed and stored.
            pub fn as_str(self) -> &'static str {
                match self { $(ErrorCode::$variant => $name,)* }
            }

            /// What to do with the work that failed this way.
            pub fn disposition(self) -> Disposition {
                match self { $(ErrorCode::$variant => Disposition::$disposition,)* }
            }
        }
    };
}

error_codes! {
    /// The command line or a request says something that cannot be meant.
    BadRequest = "BAD_REQUEST", DeadLetter;
    /// A message that is not JSON, too large, of an unknown version, has an unknown field, or whose key is not its id.
    Schema = "SCHEMA", DeadLetter;
    /// There is nothing at the source's path or URL.
    SourceNotFound = "SOURCE_NOT_FOUND", DeadLetter;
    /// The path is a directory, a FIFO, a device or unreadable, or leads out of the folders that are allowed.
    PathDenied = "PATH_DENIED", DeadLetter;
    /// The source is named by something else than a path or an `http` or `https` URL, such as `concat:` or a `file:` URL
    /// that leads out of the folders that are allowed.
    UrlSchemeDenied = "URL_SCHEME_DENIED", DeadLetter;
    /// The source's host has an address that is not a public one, or not one of those that are allowed.
    AddressDenied = "ADDRESS_DENIED", DeadLetter;
    /// The source's server redirects to a scheme or an address that is not allowed, or again and again.
    RedirectDenied = "REDIRECT_DENIED", DeadLetter;
    /// The source's server does not give it: it wants other credentials, or cannot give parts of a file.
    SourceRefused = "SOURCE_REFUSED", DeadLetter;
    /// Reading the source failed: its disk or its network, not its content.
    SourceUnreadable = "SOURCE_UNREADABLE", Retry;
    /// The source's bytes changed while it was being read, or since it was planned.
    SourceChanged = "SOURCE_CHANGED", DeadLetter;
    /// The file holds no video: empty, another kind of file, or sound only.
    NoVideo = "NO_VIDEO", DeadLetter;
    /// The file is of a format that is never opened, such as a playlist that names other files.
    FormatDenied = "FORMAT_DENIED", DeadLetter;
    /// The file is a video, but too much of it is missing or damaged.
    InputCorrupt = "INPUT_CORRUPT", DeadLetter;
    /// This build of FFmpeg has no decoder for the codec.
    CodecUnsupported = "CODEC_UNSUPPORTED", Fatal;
    /// A picture without pixels.
    DimensionsInvalid = "DIMENSIONS_INVALID", DeadLetter;
    /// A picture has more pixels than allowed, at the beginning or later.
    PixelsLimit = "PIXELS_LIMIT", DeadLetter;
    /// The video is longer than allowed, or claims more than its bytes can hold.
    DurationLimit = "DURATION_LIMIT", DeadLetter;
    /// The container has more streams than allowed.
    StreamsLimit = "STREAMS_LIMIT", DeadLetter;
    /// The file is larger than allowed, or reading it goes in circles.
    BytesLimit = "BYTES_LIMIT", DeadLetter;
    /// Time does not pass in this video, or so fast that it cannot be meant.
    TimestampsInvalid = "TIMESTAMPS_INVALID", DeadLetter;
    /// Reading one packet took longer than allowed.
    ReadTimeout = "READ_TIMEOUT", Retry;
    /// Decoding one packet took longer than allowed. It cannot be interrupted: the process ends.
    DecodeStalled = "DECODE_STALLED", Retry;
    /// No model of that name or at that path, or no way to tell which one is meant.
    ModelNotFound = "MODEL_NOT_FOUND", DeadLetter;
    /// Not an ONNX file, or one that ONNX Runtime cannot load or run.
    ModelInvalid = "MODEL_INVALID", DeadLetter;
    /// The model reaches for what is not its own: a link or external data that lead out of its folder.
    ModelDenied = "MODEL_DENIED", DeadLetter;
    /// The model could not be read or tried out, for a reason that is not its own: the disk, or the machine.
    ModelUnavailable = "MODEL_UNAVAILABLE", Retry;
    /// An ONNX file whose inputs and outputs are those of no known detector.
    ModelUnrecognised = "MODEL_UNRECOGNISED", DeadLetter;
    /// ONNX Runtime is not installed where the program looks for it.
    RuntimeMissing = "RUNTIME_MISSING", Fatal;
    /// ONNX Runtime failed while it ran a model that had loaded.
    InferenceFailed = "INFERENCE_FAILED", Retry;
    /// Running a model on one frame took longer than allowed. It cannot be interrupted: the process ends.
    InferenceStalled = "INFERENCE_STALLED", Retry;
    /// There is no such GPU, or something that it needs is not installed.
    DeviceUnavailable = "DEVICE_UNAVAILABLE", Fatal;
    /// The GPU's memory does not suffice, also with half of the batch.
    DeviceMemory = "DEVICE_MEMORY", Retry;
    /// The GPU does not answer this process any more: the process ends and must be started again.
    DeviceLost = "DEVICE_LOST", Retry;
    /// The results volume cannot be written: read-only, or not permitted.
    VolumeReadOnly = "VOLUME_READ_ONLY", Retry;
    /// The results volume has no space left.
    VolumeFull = "VOLUME_FULL", Retry;
    /// The results volume lacks what publishing rests on: hard links.
    VolumeUnsupported = "VOLUME_UNSUPPORTED", Fatal;
    /// Reading or writing the results volume failed.
    VolumeIo = "VOLUME_IO", Retry;
    /// The job's folder holds another request under the same id.
    JobConflict = "JOB_CONFLICT", DeadLetter;
    /// A published file of the job cannot be read back as what it should be.
    JobDamaged = "JOB_DAMAGED", Fatal;
    /// The annotated video cannot be made.
    RenderFailed = "RENDER_FAILED", DeadLetter;
    /// The segment was lost three times with the worker that ran nothing else: it ends whatever works on it.
    WorkerLost = "WORKER_LOST", DeadLetter;
    /// The Kafka broker cannot be reached, or refuses.
    KafkaUnavailable = "KAFKA_UNAVAILABLE", Retry;
    /// A topic is missing, or is not as it must be: `framefleet topics apply` makes it.
    TopicsMissing = "TOPICS_MISSING", Fatal;
    /// No job of that id is known.
    JobUnknown = "JOB_UNKNOWN", DeadLetter;
    /// The program was told to stop before the work was done.
    Interrupted = "INTERRUPTED", Retry;
    /// A fault of the program itself.
    Internal = "INTERNAL", Retry;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_stored_as_it_is_printed() {
        for code in ErrorCode::ALL {
            assert_eq!(serde_json::to_string(code).unwrap(), format!("\"{code}\""));
        }
    }

    #[test]
    fn codes_are_distinct() {
        let mut names: Vec<_> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ErrorCode::ALL.len());
    }
}
