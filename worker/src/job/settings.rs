//! From what somebody asks for to every setting that a job has.

use crate::error::{JobError, Result};
use framefleet_contract::message::submission::AskedSettings;
use framefleet_contract::request::Settings;
use framefleet_models::manifest::Defaults;

/// What is asked for, and otherwise what the model says.
///
/// # Errors
/// Thresholds of the tracker that cannot be meant together.
pub fn settings(asked: &AskedSettings, defaults: &Defaults) -> Result<Settings> {
    let tracker = asked.tracker.over(defaults.tracker);
    tracker.validate().map_err(|e| JobError::BadRequest(e.to_string()))?;
    let classes = asked.classes.clone().map(|mut names| {
        names.sort();
        names.dedup();
        names
    });
    Ok(Settings {
        confidence: asked.confidence.unwrap_or(defaults.confidence),
        iou: asked.iou.unwrap_or(defaults.iou),
        every: asked.every.unwrap_or(1),
        classes,
        tracker,
    })
}
