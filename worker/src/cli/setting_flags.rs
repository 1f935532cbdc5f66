//! The flags that change a result, of `run` and of `submit`.

use clap::Args;
use framefleet_contract::message::submission::{AskedSettings, AskedTracker};
use framefleet_contract::tracker_settings::ByteTrackSettings;

/// What is left out is the model's own default.
#[derive(Debug, Clone, Args)]
pub struct SettingFlags {
    /// Store detections from this score on (0 to 1); the model's own default, 0.1 unless its model.toml says otherwise.
    /// The tracker's thresholds are separate
    #[arg(long, value_name = "SCORE", value_parser = share)]
    confidence: Option<f32>,

    /// Of two boxes of one class that overlap by more than this IoU (0 to 1), drop the one with the lower score; the
    /// model's own default, 0.6 unless its model.toml says otherwise
    #[arg(long, value_name = "IOU", value_parser = share)]
    iou: Option<f32>,

    /// Infer every N-th frame only, beginning with the first (default 1)
    #[arg(long, value_name = "N", value_parser = count)]
    every: Option<u32>,

    /// Keep only these classes, by name: person,car
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    classes: Option<Vec<String>>,

    /// Tracker: scores from which a detection is associated first; 0.1 more starts a track (default 0.6, or what the
    /// model.toml says)
    #[arg(long, value_name = "SCORE", value_parser = track_thresh)]
    track_thresh: Option<f64>,

    /// Tracker: greatest cost (1 - IoU x score) of a match in the first association (default 0.9, or what the model.toml
    /// says)
    #[arg(long, value_name = "COST", value_parser = match_thresh)]
    match_thresh: Option<f64>,

    /// Tracker: frames that a lost track is kept, counted at 30 frames/s (default 30, or what the model.toml says)
    #[arg(long, value_name = "FRAMES")]
    track_buffer: Option<u32>,
}

impl SettingFlags {
    pub fn asked(&self) -> AskedSettings {
        let tracker = AskedTracker {
            track_thresh: self.track_thresh,
            match_thresh: self.match_thresh,
            track_buffer: self.track_buffer,
            ..AskedTracker::default()
        };
        let (confidence, iou, every) = (self.confidence, self.iou, self.every);
        AskedSettings { confidence, iou, every, classes: self.classes.clone(), tracker }
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("take a number from 0 to 1".to_owned()),
    }
}

fn track_thresh(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (ByteTrackSettings::default().low_thresh..=1.0).contains(&value) => Ok(value),
        _ => Err("take a number from 0.1 to 1".to_owned()),
    }
}

fn match_thresh(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("take a number from 0 to 1".to_owned()),
    }
}

fn count(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(value) if value > 0 => Ok(value),
        _ => Err("take a whole number from 1 on".to_owned()),
    }
}
