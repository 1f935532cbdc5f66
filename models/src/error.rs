use framefleet_contract::error_code::ErrorCode;
use framefleet_native::cuda::CudaError;
use std::borrow::Cow;

/// Why there is no model, or no detections from it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ModelError {
    /// No model of that name or at that path, or no way to tell which one is meant.
    #[error("{problem}; {remedy}")]
    NotFound { problem: String, remedy: String },

    /// Not an ONNX file, one that ONNX Runtime cannot load, or one whose outputs are not what its header says.
    #[error("model {model} cannot be used: {problem}; export it again, or try it with another ONNX tool")]
    Invalid { model: String, problem: String },

    /// A `model.toml` that cannot be meant.
    #[error("{file} cannot be used: {problem}; correct it: models/README.md explains every key")]
    Settings { file: String, problem: String },

    /// A link, or data kept outside the ONNX file, that lead out of the model's folder.
    #[error("model {model} is denied: {problem}; put everything that belongs to it into its folder")]
    Denied { model: String, problem: String },

    /// Its files are not what they were when they were checked: somebody is still writing them.
    #[error("model {model} changed while it was being checked; try again when it is complete")]
    Changed { model: String },

    /// It could not be read or tried out, for a reason that is not its own and may pass.
    #[error("model {model} cannot be tried out now: {problem}; see to the disk or the machine, and try again")]
    Unavailable { model: String, problem: String },

    /// Somebody asked for a stop before the model was tried out.
    #[error("stopped before model {model} was tried out")]
    Interrupted { model: String },

    /// An ONNX file whose inputs and outputs are those of no known detector.
    #[error("model {model} was not recognised: {problem}; it has {seen}; {remedy}")]
    Unrecognised { model: String, problem: String, seen: String, remedy: String },

    /// Whether the name is held at a version cannot be told, so none of them may begin to serve.
    #[error("no version of model {model} can be chosen, since its pin cannot be read: {problem}")]
    PinUnreadable { model: String, problem: String },

    /// The name is held at a version that cannot serve. Another one is not what was asked for.
    #[error(
        "model {model} is pinned to version {version}, which {problem}; put that right, or let the newest version serve with `framefleet models unpin {model}`"
    )]
    PinUnmet { model: String, version: String, problem: String },

    /// ONNX Runtime is not installed where the program looks for it.
    #[error(
        "ONNX Runtime cannot be loaded: {problem}; run `./dev setup` (for GPUs `./dev setup --gpu`), or set FRAMEFLEET_ONNXRUNTIME to the path of libonnxruntime.so"
    )]
    RuntimeMissing { problem: String },

    /// ONNX Runtime failed with a model that it had loaded before.
    #[error("inference with model {model} failed: {problem}; if it happens again, check the memory that is left")]
    InferenceFailed { model: String, problem: String },

    /// The device that runs the models, rather than one of them.
    #[error(transparent)]
    Device(#[from] CudaError),

    /// A picture whose planes are smaller than its width, height and strides say.
    #[error("a decoded picture is not whole: {problem}; this is a fault of the program, please report it")]
    PictureInvalid { problem: String },
}

impl ModelError {
    /// The stable code that scripts match on.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } | Self::PinUnmet { .. } => ErrorCode::ModelNotFound,
            Self::PinUnreadable { .. } => ErrorCode::VolumeIo,
            Self::Invalid { .. } | Self::Settings { .. } | Self::Changed { .. } => ErrorCode::ModelInvalid,
            Self::Denied { .. } => ErrorCode::ModelDenied,
            Self::Unavailable { .. } => ErrorCode::ModelUnavailable,
            Self::Interrupted { .. } => ErrorCode::Interrupted,
            Self::Unrecognised { .. } => ErrorCode::ModelUnrecognised,
            Self::RuntimeMissing { .. } => ErrorCode::RuntimeMissing,
            Self::InferenceFailed { .. } => ErrorCode::InferenceFailed,
            Self::Device(error) => error.code(),
            Self::PictureInvalid { .. } => ErrorCode::Internal,
        }
    }

    /// Whether fewer pictures at once may do.
    pub fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Device(CudaError::OutOfMemory { .. }))
    }

    /// Whether only a new process reaches the device again.
    pub fn is_lost_device(&self) -> bool {
        matches!(self, Self::Device(CudaError::Lost { .. }))
    }
}

/// Text out of a file, fit for one line of a message: at most `longest` characters, and none that steer a terminal.
pub(crate) fn shown(text: &str, longest: usize) -> Cow<'_, str> {
    let kept = text.char_indices().nth(longest).map_or(text, |(end, _)| &text[..end]);
    if kept.len() == text.len() && !kept.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let clean = kept.chars().map(|character| if character.is_control() { ' ' } else { character });
    let end = (kept.len() < text.len()).then_some('…');
    Cow::Owned(clean.chain(end).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_short_and_steers_no_terminal() {
        assert_eq!(shown("grün", 4), "grün");
        assert_eq!(shown("grüner", 4), "grün…");
        assert_eq!(shown("a\u{1b}[2J\nb", 20), "a [2J b");
    }
}
