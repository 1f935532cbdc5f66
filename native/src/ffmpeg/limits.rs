//! What a video may ask of the machine that looks at it.

/// Bounds on one source. A video beyond one of them is refused with an error that names the setting.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Width times height of a coded picture, pixels.
    pub pixels: u64,
    /// Length of the video, seconds.
    pub duration_s: f64,
    /// Streams in the container, of every kind.
    pub streams: u32,
    /// Bytes that may be read to find out what is in the file.
    pub probe_bytes: u64,
    /// Bytes that may be read of the file in one pass over it.
    pub read_bytes: u64,
    /// Wall-clock seconds that reading or decoding one packet may take.
    pub stall_s: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pixels: 1 << 24,
            duration_s: 7.0 * 86_400.0,
            streams: 256,
            probe_bytes: 16 << 20,
            read_bytes: 1 << 40,
            stall_s: 60.0,
        }
    }
}
