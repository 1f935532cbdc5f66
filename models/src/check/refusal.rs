use crate::ModelError;
use serde::{Deserialize, Serialize};

/// A [`ModelError`] on its way from the child to the parent, which makes the same one of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Refusal {
    ModelNotFound { problem: String, remedy: String },
    ModelInvalid { model: String, problem: String },
    Settings { file: String, problem: String },
    ModelDenied { model: String, problem: String },
    ModelChanged { model: String },
    ModelUnavailable { model: String, problem: String },
    Interrupted { model: String },
    ModelUnrecognised { model: String, problem: String, seen: String, remedy: String },
    PinUnreadable { model: String, problem: String },
    PinUnmet { model: String, version: String, problem: String },
    RuntimeMissing { problem: String },
    InferenceFailed { model: String, problem: String },
    PictureInvalid { problem: String },
}

impl From<ModelError> for Refusal {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::NotFound { problem, remedy } => Self::ModelNotFound { problem, remedy },
            ModelError::Invalid { model, problem } => Self::ModelInvalid { model, problem },
            ModelError::Settings { file, problem } => Self::Settings { file, problem },
            ModelError::Denied { model, problem } => Self::ModelDenied { model, problem },
            ModelError::Changed { model } => Self::ModelChanged { model },
            ModelError::Unavailable { model, problem } => Self::ModelUnavailable { model, problem },
            ModelError::Interrupted { model } => Self::Interrupted { model },
            ModelError::Unrecognised { model, problem, seen, remedy } => {
                Self::ModelUnrecognised { model, problem, seen, remedy }
            }
            ModelError::PinUnreadable { model, problem } => Self::PinUnreadable { model, problem },
            ModelError::PinUnmet { model, version, problem } => Self::PinUnmet { model, version, problem },
            ModelError::RuntimeMissing { problem } => Self::RuntimeMissing { problem },
            ModelError::InferenceFailed { model, problem } => Self::InferenceFailed { model, problem },
            // A child has no device, so that this never comes to be.
            ModelError::Device(error) => {
                Self::InferenceFailed { model: "on a device".to_owned(), problem: error.to_string() }
            }
            ModelError::PictureInvalid { problem } => Self::PictureInvalid { problem },
        }
    }
}

impl From<Refusal> for ModelError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::ModelNotFound { problem, remedy } => Self::NotFound { problem, remedy },
            Refusal::ModelInvalid { model, problem } => Self::Invalid { model, problem },
            Refusal::Settings { file, problem } => Self::Settings { file, problem },
            Refusal::ModelDenied { model, problem } => Self::Denied { model, problem },
            Refusal::ModelChanged { model } => Self::Changed { model },
            Refusal::ModelUnavailable { model, problem } => Self::Unavailable { model, problem },
            Refusal::Interrupted { model } => Self::Interrupted { model },
            Refusal::ModelUnrecognised { model, problem, seen, remedy } => {
                Self::Unrecognised { model, problem, seen, remedy }
            }
            Refusal::PinUnreadable { model, problem } => Self::PinUnreadable { model, problem },
            Refusal::PinUnmet { model, version, problem } => Self::PinUnmet { model, version, problem },
            Refusal::RuntimeMissing { problem } => Self::RuntimeMissing { problem },
            Refusal::InferenceFailed { model, problem } => Self::InferenceFailed { model, problem },
            Refusal::PictureInvalid { problem } => Self::PictureInvalid { problem },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_comes_back_as_itself() {
        let [a, b, c, d] = ["a", "b", "c", "d"].map(str::to_owned);
        let errors = [
            ModelError::NotFound { problem: a.clone(), remedy: b.clone() },
            ModelError::Invalid { model: a.clone(), problem: b.clone() },
            ModelError::Settings { file: a.clone(), problem: b.clone() },
            ModelError::Denied { model: a.clone(), problem: b.clone() },
            ModelError::Changed { model: a.clone() },
            ModelError::Unavailable { model: a.clone(), problem: b.clone() },
            ModelError::Interrupted { model: a.clone() },
            ModelError::Unrecognised { model: a.clone(), problem: b.clone(), seen: c.clone(), remedy: d },
            ModelError::PinUnreadable { model: a.clone(), problem: b.clone() },
            ModelError::PinUnmet { model: a.clone(), version: b.clone(), problem: c },
            ModelError::RuntimeMissing { problem: a.clone() },
            ModelError::InferenceFailed { model: a.clone(), problem: b },
            ModelError::PictureInvalid { problem: a },
        ];
        for error in errors {
            let shown = format!("{error:?}");
            let json = serde_json::to_string(&Refusal::from(error)).unwrap();
            let back = ModelError::from(serde_json::from_str::<Refusal>(&json).unwrap());
            assert_eq!(format!("{back:?}"), shown, "{json}");
        }
    }
}
