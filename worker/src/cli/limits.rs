//! The flags that bound what a video may ask for.

use crate::error::{JobError, Result};
use crate::source::{Places, Roots};
use clap::Args;
use framefleet_fetch::AddressRules;
use framefleet_native::ffmpeg::limits::{Limits, MOST_PIXELS};
use std::path::PathBuf;

/// None of them changes the result of a video that is within it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits on input")]
pub struct LimitFlags {
    /// Pixels of a picture, width times height, as coded and as displayed. The default lets 4K pass and refuses 8K
    /// (1 to 67108864, for which the memory that FFmpeg gets in one piece is enough)
    #[arg(long, value_name = "PIXELS", default_value_t = Limits::default().pixels, value_parser = pixels)]
    max_pixels: u64,

    /// Seconds that a video may last, as it claims and as its timestamps tell; 604800 are a week (more than 0)
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().duration_s, value_parser = seconds)]
    max_duration: f64,

    /// Streams in a file: pictures, sounds, subtitles and others (1 to 65535)
    #[arg(long, value_name = "N", default_value_t = Limits::default().streams, value_parser = streams)]
    max_streams: u32,

    /// Bytes that are read of a file to find out what is in it (4096 to 2147483647)
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().probe_bytes, value_parser = probe_bytes)]
    max_probe_bytes: u64,

    /// Bytes that a file may have; one pass over it may read twice as many. The default is a tebibyte (1 or more)
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().read_bytes, value_parser = bytes)]
    max_bytes: u64,

    /// Seconds that reading or decoding one packet may take; a model has as many for one frame, and a minute at least.
    /// What does not come back ends the program with status 70; the same command goes on (0.05 or more)
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().stall_s, value_parser = stall_seconds)]
    stall_seconds: f64,

    /// A folder in which videos may lie, wherever links lead; can be given several times, or as DIR:DIR in the
    /// environment. Without it, videos may lie anywhere
    #[arg(long = "root", value_name = "DIR", env = "FRAMEFLEET_ROOTS", value_delimiter = ':')]
    roots: Vec<PathBuf>,

    /// Addresses from which videos may be read beside public ones, such as 10.0.0.0/8 for an object store of one's own; can
    /// be given several times, or comma separated in the environment
    #[arg(long = "allow-address", value_name = "CIDR", env = "FRAMEFLEET_ALLOW_ADDRESSES", value_delimiter = ',')]
    allowed_addresses: Vec<String>,
}

impl LimitFlags {
    pub fn limits(&self) -> Limits {
        Limits {
            pixels: self.max_pixels,
            duration_s: self.max_duration,
            streams: self.max_streams,
            probe_bytes: self.max_probe_bytes,
            read_bytes: self.max_bytes,
            stall_s: self.stall_seconds,
        }
    }

    /// Where videos may come from.
    pub fn has_roots(&self) -> bool {
        self.roots.iter().any(|root| !root.as_os_str().is_empty())
    }

    pub fn places(&self) -> Result<Places> {
        Ok(Places::new(self.roots()?, self.address_rules()?, self.limits()))
    }

    fn address_rules(&self) -> Result<AddressRules> {
        // An empty variable is as good as none.
        let given = self.allowed_addresses.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let network =
            |text: &str| text.parse().map_err(|e| JobError::BadRequest(format!("--allow-address {text}: {e}")));
        Ok(AddressRules::new(given.map(network).collect::<Result<_>>()?))
    }

    fn roots(&self) -> Result<Roots> {
        // An empty variable is as good as none.
        let given: Vec<PathBuf> = self.roots.iter().filter(|root| !root.as_os_str().is_empty()).cloned().collect();
        Roots::new(&given)
    }
}

fn pixels(text: &str) -> std::result::Result<u64, String> {
    whole(text, 1, MOST_PIXELS)
}

fn streams(text: &str) -> std::result::Result<u32, String> {
    whole(text, 1, 65_535).map(|streams| streams as u32)
}

fn probe_bytes(text: &str) -> std::result::Result<u64, String> {
    whole(text, 4096, i32::MAX as u64)
}

fn bytes(text: &str) -> std::result::Result<u64, String> {
    whole(text, 1, i64::MAX as u64)
}

fn whole(text: &str, least: u64, most: u64) -> std::result::Result<u64, String> {
    match text.parse() {
        Ok(value) if (least..=most).contains(&value) => Ok(value),
        _ => Err(format!("take a whole number from {least} to {most}")),
    }
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("take a number greater than 0".to_owned()),
    }
}

fn stall_seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if value >= 0.05 && f64::is_finite(value) => Ok(value),
        _ => Err("take a number of at least 0.05".to_owned()),
    }
}
