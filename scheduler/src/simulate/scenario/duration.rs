//! Times as people write them: `90s`, `1h 30m`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Duration(pub f64);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = humantime::parse_duration(&text);
        let refused = |why| D::Error::custom(format!("{text:?} is no duration such as \"10m\" or \"1h 30m\": {why}"));
        Ok(Self(parsed.map_err(refused)?.as_secs_f64()))
    }
}
