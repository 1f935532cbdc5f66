//! Encodes pictures as H.264 in MP4, at the timestamps of their source.

use super::convert::Scaler;
use super::{MediaError, initialise};
use ffmpeg::codec::Id;
use ffmpeg::ffi::AVPixelFormat;
use ffmpeg::{Dictionary, Rational, color, encoder, format, frame};
use ffmpeg_next as ffmpeg;
use framefleet_contract::plan::Ratio;
use std::collections::BTreeMap;
use std::path::Path;

/// For libx264: the same bytes however many cores there are, and however busy. Its own choice of threads follows the cores,
/// and what is encoded follows the threads; and the thread in which it looks ahead by default (build 164) decides otherwise
/// now and then where cores are scarce.
const SAME_EVERY_TIME: &str = "threads=4:sync-lookahead=0";

/// A video file in the making.
pub struct Mp4Encoder {
    output: format::context::Output,
    encoder: encoder::video::Encoder,
    scaler: Scaler,
    /// Width and height, even.
    size: (u32, u32),
    /// Bytes of a row of the pictures given, whose last column may be cut off.
    stride: usize,
    time_base: Rational,
    /// The muxer's own ticks, known once the header is written.
    stream_time_base: Rational,
    /// Ticks that each frame not yet muxed is shown, by its timestamp: the encoder does not pass them on.
    durations: BTreeMap<i64, i64>,
    last_pts: Option<i64>,
}

/// What the video looks like.
#[derive(Debug, Clone, Copy)]
pub struct Mp4Settings {
    /// Pixels. H.264 with halved chroma has even sizes only: an odd one loses its last column or row, a single one is
    /// doubled.
    pub width: u32,
    pub height: u32,
    /// Seconds per tick of the timestamps given to [`Mp4Encoder::write`].
    pub time_base: Ratio,
    /// Frames per second, on average.
    pub frame_rate: Ratio,
}

impl Mp4Encoder {
    pub fn create(path: &Path, settings: &Mp4Settings) -> Result<Self, MediaError> {
        initialise();
        let name = path.to_str().ok_or_else(|| error("open", "the path is not UTF-8"))?;
        let codec = encoder::find_by_name("libx264")
            .or_else(|| encoder::find(Id::H264))
            .ok_or_else(|| error("find an encoder", "this FFmpeg has no H.264 encoder; install one with libx264"))?;
        let mut output = format::output_as(&format!("file:{name}"), "mp4").map_err(|e| failed("open", e))?;
        let (width, height) = ((settings.width & !1).max(2), (settings.height & !1).max(2));
        let time_base = Rational::new(settings.time_base.num, settings.time_base.den);
        let mut encoder =
            ffmpeg::codec::Context::new_with_codec(codec).encoder().video().map_err(|e| failed("set up", e))?;
        encoder.set_width(width);
        encoder.set_height(height);
        encoder.set_format(format::Pixel::YUV420P);
        encoder.set_time_base(time_base);
        encoder.set_frame_rate(Some(Rational::new(settings.frame_rate.num, settings.frame_rate.den)));
        encoder.set_colorspace(color::Space::BT709);
        encoder.set_color_range(color::Range::MPEG);
        encoder.set_flags(ffmpeg::codec::Flags::GLOBAL_HEADER);
        let mut options = Dictionary::new();
        options.set("preset", "veryfast");
        options.set("crf", "23");
        options.set("x264-params", SAME_EVERY_TIME);
        let encoder = encoder.open_with(options).map_err(|e| failed("open the encoder", e))?;
        let mut stream = output.add_stream(codec).map_err(|e| failed("add a stream", e))?;
        stream.set_parameters(&encoder);
        stream.set_time_base(time_base);
        let mut options = Dictionary::new();
        options.set("movflags", "+faststart");
        output.write_header_with(options).map_err(|e| failed("write the header", e))?;
        let stream_time_base = output.stream(0).expect("one stream was added").time_base();
        let bgr = (AVPixelFormat::AV_PIX_FMT_BGR24, width.min(settings.width), height.min(settings.height));
        Ok(Self {
            output,
            encoder,
            scaler: Scaler::to_bt709(bgr, (AVPixelFormat::AV_PIX_FMT_YUV420P, width, height))?,
            size: (width, height),
            stride: 3 * settings.width as usize,
            time_base,
            stream_time_base,
            durations: BTreeMap::new(),
            last_pts: None,
        })
    }

    /// Adds a picture of packed BGR bytes, shown from `pts` for `duration` ticks. A timestamp that does not rise, as
    /// where recordings were joined, becomes the one after the last.
    pub fn write(&mut self, bgr: &[u8], pts: i64, duration: i64) -> Result<(), MediaError> {
        // The encoder may still hold the last picture: it gets a buffer of its own.
        let mut picture = frame::Video::new(format::Pixel::YUV420P, self.size.0, self.size.1);
        self.scaler.scale_from_packed(bgr, self.stride, &mut picture)?;
        let pts = self.last_pts.map_or(pts, |last| pts.max(last + 1));
        self.last_pts = Some(pts);
        picture.set_pts(Some(pts));
        self.durations.insert(pts, duration);
        self.encoder.send_frame(&picture).map_err(|e| failed("encode a frame", e))?;
        self.mux_ready_packets()
    }

    /// Writes what the encoder still holds, and the index.
    pub fn finish(mut self) -> Result<(), MediaError> {
        self.encoder.send_eof().map_err(|e| failed("end the stream", e))?;
        self.mux_ready_packets()?;
        self.output.write_trailer().map_err(|e| failed("write the index", e))
    }

    fn mux_ready_packets(&mut self) -> Result<(), MediaError> {
        loop {
            let mut packet = ffmpeg::Packet::empty();
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: libc::EAGAIN }) => return Ok(()),
                Err(e) => return Err(failed("encode a frame", e)),
            }
            packet.set_stream(0);
            packet.set_duration(packet.pts().and_then(|pts| self.durations.remove(&pts)).unwrap_or(0));
            packet.rescale_ts(self.time_base, self.stream_time_base);
            packet.write_interleaved(&mut self.output).map_err(|e| failed("write a packet", e))?;
        }
    }
}

fn error(action: &'static str, reason: impl std::fmt::Display) -> MediaError {
    MediaError::Encode { action, reason: reason.to_string() }
}

/// An error of FFmpeg's, among which those of the volume are not the encoder's fault.
fn failed(action: &'static str, reason: ffmpeg::Error) -> MediaError {
    match reason {
        ffmpeg::Error::Other { errno: libc::ENOSPC | libc::EDQUOT } => MediaError::VolumeFull,
        ffmpeg::Error::Other {
            errno: libc::EIO | libc::EROFS | libc::EACCES | libc::EMFILE | libc::ENFILE | libc::ESTALE,
        } => MediaError::VolumeIo { action, reason: reason.to_string() },
        other => error(action, other),
    }
}

impl std::fmt::Debug for Mp4Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mp4Encoder").field("time_base", &self.time_base).finish_non_exhaustive()
    }
}
