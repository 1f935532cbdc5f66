//! The thresholds of `ByteTrack`, named as in the paper.

use serde::{Deserialize, Serialize};

/// Thresholds of `ByteTrack`. The defaults are those of the authors' program.
///
/// Call [`validate`](Self::validate) on settings that come from outside. Settings that it refuses do no harm to a
/// tracker, but the tracks mean nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ByteTrackSettings {
    /// Detections with at least this score are associated first and may start tracks. From 0 to 1.
    pub track_thresh: f64,
    /// Detections between this score and `track_thresh`, both excluded, can only prolong tracks that the first
    /// association missed. From 0 to `track_thresh`.
    pub low_thresh: f64,
    /// A track starts at a score of at least `track_thresh` plus this. From 0 to 1.
    pub new_track_margin: f64,
    /// Frames, at 30 frames per second, that a lost track is kept; other frame rates scale it.
    pub track_buffer: u32,
    /// Largest cost, 1 - `IoU` × score, of a match in the first association. From 0 to 1.
    pub match_thresh: f64,
}

impl Default for ByteTrackSettings {
    fn default() -> Self {
        Self { track_thresh: 0.6, low_thresh: 0.1, new_track_margin: 0.1, track_buffer: 30, match_thresh: 0.9 }
    }
}

impl ByteTrackSettings {
    /// Refuses thresholds outside of their ranges, and those that are not a number.
    ///
    /// # Errors
    /// Names the first setting that is out of its range, with the range.
    pub fn validate(&self) -> Result<(), ByteTrackSettingsError> {
        within("track_thresh", self.track_thresh, 1.0)?;
        within("low_thresh", self.low_thresh, self.track_thresh)?;
        within("new_track_margin", self.new_track_margin, 1.0)?;
        within("match_thresh", self.match_thresh, 1.0)
    }
}

fn within(setting: &'static str, value: f64, highest: f64) -> Result<(), ByteTrackSettingsError> {
    if (0.0..=highest).contains(&value) { Ok(()) } else { Err(ByteTrackSettingsError { setting, value, highest }) }
}

/// A threshold outside of its range.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("tracker setting {setting} is {value}, set it to between 0 and {highest}")]
pub struct ByteTrackSettingsError {
    pub setting: &'static str,
    pub value: f64,
    pub highest: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_are_those_of_the_authors() {
        let settings: ByteTrackSettings = serde_json::from_str("{}").unwrap();
        assert_eq!(settings, ByteTrackSettings::default());
        assert_eq!(settings.validate(), Ok(()));
        assert_eq!(
            serde_json::to_string(&settings).unwrap(),
            r#"{"track_thresh":0.6,"low_thresh":0.1,"new_track_margin":0.1,"track_buffer":30,"match_thresh":0.9}"#
        );
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let error = serde_json::from_str::<ByteTrackSettings>(r#"{"track_tresh":0.5}"#).unwrap_err();
        assert!(error.to_string().contains("track_tresh"), "{error}");
    }

    #[test]
    fn a_threshold_out_of_range_is_named_with_its_range() {
        for value in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            let settings = ByteTrackSettings { match_thresh: value, ..ByteTrackSettings::default() };
            let message = settings.validate().unwrap_err().to_string();
            assert!(message.contains("match_thresh") && message.contains("between 0 and 1"), "{message}");
        }
    }

    #[test]
    fn the_low_threshold_may_not_exceed_the_high_one() {
        let settings = ByteTrackSettings { low_thresh: 0.7, ..ByteTrackSettings::default() };
        let message = settings.validate().unwrap_err().to_string();
        assert_eq!(message, "tracker setting low_thresh is 0.7, set it to between 0 and 0.6");
    }
}
