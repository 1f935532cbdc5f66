//! What the system's loader says.

/// Its own words, which say which file lacks what.
pub fn said(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}
