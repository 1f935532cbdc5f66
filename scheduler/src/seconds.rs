//! Times as the planner counts them: seconds, those of a clock since 1970.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Of a text such as `1h30m`, which the custom resource's definition let through; what it would not is 0.
pub fn of(duration: &str) -> f64 {
    humantime::parse_duration(duration).map_or(0.0, |duration| duration.as_secs_f64())
}

pub fn since_1970(time: &Time) -> f64 {
    time.0.as_millisecond() as f64 / 1000.0
}

pub fn time(seconds: f64) -> Time {
    Time(Timestamp::from_second(seconds as i64).unwrap_or_default())
}

pub fn now() -> f64 {
    Timestamp::now().as_millisecond() as f64 / 1000.0
}
