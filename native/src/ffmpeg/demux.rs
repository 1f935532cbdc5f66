//! Reads the packets of a file's video stream.

use super::idr::IdrFinder;
use super::input::{self, Opened};
use super::limits::Limits;
use super::origin::Origin;
use super::source_file::Watch;
use super::{MediaError, initialise};
use crate::picture::Rotation;
use ffmpeg::codec::packet;
use ffmpeg::ffi;
use ffmpeg::format::context::Input;
use ffmpeg::packet::Ref as _;
use ffmpeg_next as ffmpeg;
use framefleet_contract::plan::Ratio;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Packets a second, on average, from which timestamps are a mistake: results are stored in microseconds.
const FASTEST_RATE: f64 = 10_000.0;
/// A hundred years: from here on a duration is no duration that a setting might allow, but a mistake.
const LONGEST_SECONDS: f64 = 3.2e9;

/// An index may name a place that cannot exist, and FFmpeg's MP4 demuxer stays in front of it for ever.
const MAX_BAD_PACKETS: u32 = 10_000;

/// One open file and its video stream.
pub struct Demuxer {
    pub(super) input: Input,
    pub(super) stream: usize,
    path: PathBuf,
    limits: Limits,
    pub(super) watch: Arc<Watch>,
    clock: PacketClock,
}

/// What the container says of the video stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    /// FFmpeg's short names.
    pub container: String,
    pub codec: String,
    pub pixel_format: String,
    /// Pixels as coded.
    pub width: u32,
    pub height: u32,
    /// Width of a pixel divided by its height; 1 where the container gives none, or one beyond 16:1.
    pub sample_aspect: Ratio,
    pub rotation: Rotation,
    /// Seconds per tick.
    pub time_base: Ratio,
    /// Frames per second as the container gives or FFmpeg estimates it; `None` if neither does.
    pub frame_rate: Option<Ratio>,
    /// Where the last packet ends that the container's index names, in bytes from the start of the file. Beyond the
    /// end of the file, where a copy was cut short.
    pub indexed_end: Option<u64>,
    /// Finds the packets at which H.264 and HEVC can be cut.
    pub idr_finder: Option<IdrFinder>,
}

/// A packet of the video stream.
pub struct Packet(pub(super) ffmpeg::Packet);

impl Packet {
    /// Presentation timestamp, in ticks.
    pub fn pts(&self) -> Option<i64> {
        self.0.pts()
    }

    /// Decoding timestamp, in ticks.
    pub fn dts(&self) -> Option<i64> {
        self.0.dts()
    }

    /// How long its picture is shown, in ticks; 0 if unknown.
    pub fn duration(&self) -> i64 {
        self.0.duration()
    }

    /// Byte position in the file.
    pub fn position(&self) -> Option<i64> {
        let position = self.0.position() as i64;
        (position >= 0).then_some(position)
    }

    pub fn data(&self) -> &[u8] {
        self.0.data().unwrap_or_default()
    }

    /// The data without zero bytes in front. Those belong to neither of two packets that start codes part, and a parser
    /// may give them to either.
    pub fn payload(&self) -> &[u8] {
        let data = self.data();
        &data[data.iter().position(|byte| *byte != 0).unwrap_or(data.len())..]
    }

    /// CRC-32 of the payload.
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(self.payload())
    }

    pub fn is_key(&self) -> bool {
        self.0.is_key()
    }

    /// Whether the decoder is given new parameters with this packet, which hold for all that follow it.
    pub fn changes_parameters(&self) -> bool {
        self.0.side_data().any(|data| {
            matches!(data.kind(), packet::side_data::Type::NewExtraData | packet::side_data::Type::ParamChange)
        })
    }

    pub fn is_corrupt(&self) -> bool {
        self.0.is_corrupt()
    }

    /// Whether the picture is decoded but not shown.
    pub fn is_discard(&self) -> bool {
        // SAFETY: the packet is live; a plain field is read.
        unsafe { (*self.0.as_ptr()).flags & ffi::AV_PKT_FLAG_DISCARD != 0 }
    }
}

impl Demuxer {
    /// Opens a regular file, or what is at a URL. Only that itself is read, whatever it says of other files or hosts, and
    /// only as far as the limits allow.
    pub fn open(origin: impl Into<Origin>, limits: Limits) -> Result<Self, MediaError> {
        Self::open_as(&origin.into(), limits, input::VIDEOS)
    }

    /// The same for a single picture, such as a JPEG or a PNG.
    pub fn open_picture(path: &Path, limits: Limits) -> Result<Self, MediaError> {
        Self::open_as(&path.into(), limits, input::PICTURES)
    }

    fn open_as(origin: &Origin, limits: Limits, formats: input::Formats) -> Result<Self, MediaError> {
        initialise();
        let Opened { input, stream, watch } = input::open(origin, limits, formats)?;
        let path = origin.shown().to_owned();
        let mut demuxer = Self { input, stream, path, limits, watch, clock: PacketClock::default() };
        demuxer.skip_other_streams();
        Ok(demuxer)
    }

    pub fn info(&self) -> Result<StreamInfo, MediaError> {
        let stream = self.input.stream(self.stream).expect("the stream was found in this input");
        let parameters = stream.parameters();
        // SAFETY: the parameters belong to the stream of `self.input`, which outlives this borrow.
        let raw = unsafe { &*parameters.as_ptr() };
        let (width, height) = (raw.width.max(0) as u32, raw.height.max(0) as u32);
        if width == 0 || height == 0 {
            return Err(MediaError::DimensionsInvalid { width, height });
        }
        let codec = parameters.id().name().to_owned();
        if parameters.id() == ffmpeg::codec::Id::None {
            let reason = "its headers name no codec for the video".to_owned();
            return Err(MediaError::Corrupt { path: self.path.clone(), reason });
        }
        let sample_aspect = self.sample_aspect();
        self.refuse_stretched(width, height, sample_aspect)?;
        let extradata = match usize::try_from(raw.extradata_size) {
            Ok(size) if size > 0 && !raw.extradata.is_null() => {
                // SAFETY: FFmpeg allocates `extradata_size` bytes, and keeps them as long as the parameters.
                unsafe { std::slice::from_raw_parts(raw.extradata, size) }
            }
            _ => &[],
        };
        let time_base = ratio(stream.time_base().into())
            .ok_or_else(|| self.timestamps_invalid("its time base is not a positive number".to_owned()))?;
        Ok(StreamInfo {
            container: self.input.format().name().to_owned(),
            pixel_format: pixel_format_name(raw.format),
            width,
            height,
            sample_aspect,
            rotation: rotation_of(&stream),
            time_base,
            frame_rate: self.frame_rate(),
            indexed_end: self.indexed_end(),
            idr_finder: IdrFinder::new(&codec, extradata),
            codec,
        })
    }

    /// The next packet of the video stream in the order of the file, or `None` at its end.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, MediaError> {
        let watch = self.watch.clone();
        let working = watch.pulse.working();
        let mut bad = 0;
        while bad < MAX_BAD_PACKETS {
            let mut packet = ffmpeg::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.stream => return self.clocked(Packet(packet)).map(Some),
                Ok(()) => {
                    bad = 0;
                    working.again();
                }
                Err(ffmpeg::Error::Eof) => return self.end_of_file(),
                // One bad packet: the demuxer goes on behind it.
                Err(e) if is_damage(e) && !self.at_end() => bad += 1,
                Err(e) if is_damage(e) => {
                    let reason = "its last packet cannot be read".to_owned();
                    let corrupt = MediaError::Corrupt { path: self.path.clone(), reason };
                    return Err(self.watch.refusal().unwrap_or(corrupt));
                }
                Err(e) => return Err(self.unreadable(e)),
            }
        }
        let reason = format!("{MAX_BAD_PACKETS} packets in a row cannot be read");
        Err(MediaError::Corrupt { path: self.path.clone(), reason })
    }

    /// Bytes of the file, when it was opened.
    pub fn file_bytes(&self) -> u64 {
        self.watch.len()
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn parameters(&self) -> ffmpeg::codec::Parameters {
        self.input.stream(self.stream).expect("the stream was found in this input").parameters()
    }

    fn skip_other_streams(&mut self) {
        let video = self.stream;
        for mut stream in self.input.streams_mut().filter(|stream| stream.index() != video) {
            input::discard(&mut stream);
        }
    }

    /// FFmpeg also says "end of file" where the file could not be read further.
    fn end_of_file(&self) -> Result<Option<Packet>, MediaError> {
        // SAFETY: the context is open; its I/O context is null or valid.
        let error = unsafe { (*self.input.as_ptr()).pb.as_ref() }.map_or(0, |io| io.error);
        if error < 0 && error != ffi::AVERROR_EOF {
            return Err(self.unreadable(ffmpeg::Error::from(error)));
        }
        self.watch.refusal().map_or(Ok(()), Err)?;
        self.watch.check_unchanged()?;
        self.clock.refuse_rate(self.time_base()).map_err(|reason| self.timestamps_invalid(reason))?;
        Ok(None)
    }

    /// Fails if the video has become longer than allowed by this packet.
    fn clocked(&mut self, packet: Packet) -> Result<Packet, MediaError> {
        let Some(ticks) = packet.pts().or(packet.dts()) else { return Ok(packet) };
        let span = self.clock.tick(ticks);
        let seconds = self.time_base().map_or(0.0, |base| span as f64 * base.as_f64());
        if seconds > LONGEST_SECONDS {
            let reason = format!("two packets are {seconds:e} s apart");
            return Err(self.timestamps_invalid(reason));
        }
        input::refuse_duration(&self.path, "has packets that are", seconds, self.limits)?;
        Ok(packet)
    }

    fn time_base(&self) -> Option<Ratio> {
        ratio(self.input.stream(self.stream)?.time_base().into())
    }

    /// The picture is stretched to square pixels, which is a question of size too.
    fn refuse_stretched(&self, width: u32, height: u32, sample_aspect: Ratio) -> Result<(), MediaError> {
        let stretched = (f64::from(width) * sample_aspect.as_f64()).round() as u32;
        input::refuse_picture(&self.path, stretched.max(width), height, self.limits)
    }

    fn timestamps_invalid(&self, reason: String) -> MediaError {
        MediaError::TimestampsInvalid { path: self.path.clone(), reason }
    }

    fn at_end(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.input.as_ptr()).pb.as_ref() }.is_none_or(|io| io.eof_reached != 0)
    }

    fn indexed_end(&self) -> Option<u64> {
        // SAFETY: the context and its stream are open; an entry is valid until the next read, and is copied at once.
        unsafe {
            let stream = *(*self.input_ptr()).streams.add(self.stream);
            let entries = ffi::avformat_index_get_entries_count(stream);
            let ends = (0..entries).filter_map(|i| {
                let entry = ffi::avformat_index_get_entry(stream, i).as_ref()?;
                u64::try_from(entry.pos.saturating_add(i64::from(entry.size()))).ok()
            });
            ends.max()
        }
    }

    fn sample_aspect(&self) -> Ratio {
        let context = self.input_ptr();
        // SAFETY: the context and its stream are open, the function only reads; a null frame is allowed.
        let ratio_of_stream = unsafe {
            let stream = *(*context).streams.add(self.stream);
            ffi::av_guess_sample_aspect_ratio(context, stream, std::ptr::null_mut())
        };
        let plausible = |ratio: &Ratio| (1.0 / 16.0..=16.0).contains(&ratio.as_f64());
        ratio(ratio_of_stream).filter(plausible).unwrap_or(Ratio { num: 1, den: 1 })
    }

    fn frame_rate(&self) -> Option<Ratio> {
        let context = self.input_ptr();
        // SAFETY: as above.
        let rate = unsafe {
            let stream = *(*context).streams.add(self.stream);
            ffi::av_guess_frame_rate(context, stream, std::ptr::null_mut())
        };
        ratio(rate)
    }

    pub(super) fn input_ptr(&self) -> *mut ffi::AVFormatContext {
        // SAFETY: only taken for functions that read.
        unsafe { self.input.as_ptr().cast_mut() }
    }

    /// What an error while reading comes to: the file knows whether it was the disk's, and all else is of its content,
    /// a packet too large for any memory too.
    pub(super) fn unreadable(&self, error: ffmpeg::Error) -> MediaError {
        let (path, reason) = (self.path.clone(), error.to_string());
        self.watch.refusal().unwrap_or(match error {
            ffmpeg::Error::Exit => self.watch.pulse.error(),
            _ => MediaError::Corrupt { path, reason },
        })
    }
}

/// How far the timestamps of a pass reach.
#[derive(Debug, Default)]
struct PacketClock {
    packets: u64,
    /// The least and the greatest, in ticks.
    reach: Option<(i64, i64)>,
}

impl PacketClock {
    /// Takes a packet's timestamp, and gives the ticks between the least and the greatest.
    fn tick(&mut self, ticks: i64) -> u64 {
        self.packets += 1;
        let (least, greatest) = self.reach.map_or((ticks, ticks), |(least, most)| (least.min(ticks), most.max(ticks)));
        self.reach = Some((least, greatest));
        greatest.abs_diff(least)
    }

    /// At the end of the file. Packets that all have one timestamp have none, and are no reason.
    fn refuse_rate(&self, time_base: Option<Ratio>) -> Result<(), String> {
        let (Some((least, greatest)), Some(base)) = (self.reach, time_base) else { return Ok(()) };
        let rate = self.packets.saturating_sub(1) as f64 / (greatest.abs_diff(least) as f64 * base.as_f64());
        let absurd = rate.is_finite() && rate > FASTEST_RATE;
        if absurd { Err(format!("{rate:.0} packets a second, and {FASTEST_RATE} are the most")) } else { Ok(()) }
    }
}

/// MPEG-TS asks to try again where it has lost its packets and looks for the next.
fn is_damage(error: ffmpeg::Error) -> bool {
    matches!(error, ffmpeg::Error::InvalidData | ffmpeg::Error::Other { errno: libc::EAGAIN })
}

fn ratio(value: ffi::AVRational) -> Option<Ratio> {
    (value.num > 0 && value.den > 0).then_some(Ratio { num: value.num, den: value.den })
}

fn pixel_format_name(format: i32) -> String {
    let known = (0..ffi::AVPixelFormat::AV_PIX_FMT_NB as i32).contains(&format);
    // SAFETY: the integer is one of the enum's, and the name it gives is a static string.
    let name = known.then(|| unsafe {
        let descriptor = ffi::av_pix_fmt_desc_get(std::mem::transmute::<i32, ffi::AVPixelFormat>(format));
        descriptor.as_ref().map(|d| std::ffi::CStr::from_ptr(d.name))
    });
    let name = name.flatten();
    name.map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// From the container's display matrix (ISO/IEC 14496-12, 8.3.2), rounded to a quarter turn.
fn rotation_of(stream: &ffmpeg::Stream<'_>) -> Rotation {
    let matrix = stream.side_data().find(|data| data.kind() == packet::side_data::Type::DisplayMatrix);
    let cells: Vec<f64> = matrix.map_or_else(Vec::new, |matrix| {
        let cells = matrix.data().chunks_exact(4);
        cells.map(|cell| f64::from(i32::from_ne_bytes([cell[0], cell[1], cell[2], cell[3]]))).collect()
    });
    let [a, b, _, c, d, ..] = cells[..] else { return Rotation::None };
    // A mirrored picture is taken as it is stored: half a turn would put it upside down.
    if a * d - b * c < 0.0 {
        return Rotation::None;
    }
    let quarters = (b.atan2(a).to_degrees() / 90.0).round() as i32;
    match quarters.rem_euclid(4) {
        1 => Rotation::Quarter,
        2 => Rotation::Half,
        3 => Rotation::ThreeQuarters,
        _ => Rotation::None,
    }
}

impl std::fmt::Debug for Demuxer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Demuxer").field("path", &self.path).field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packet").field("pts", &self.pts()).field("dts", &self.dts()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(ticks: &[i64]) -> PacketClock {
        let mut clock = PacketClock::default();
        for tick in ticks {
            clock.tick(*tick);
        }
        clock
    }

    #[test]
    fn the_reach_of_the_whole_range_is_no_overflow() {
        let mut clock = clock(&[i64::MAX]);
        assert_eq!(clock.tick(i64::MIN), u64::MAX);
    }

    #[test]
    fn a_rate_is_absurd_from_timestamps_that_differ() {
        let base = Some(Ratio { num: 1, den: 1_000_000 });
        assert!(clock(&[0, 1, 2]).refuse_rate(base).is_err());
        assert!(clock(&[0, 40_000, 80_000]).refuse_rate(base).is_ok());
        assert!(clock(&[7, 7, 7]).refuse_rate(base).is_ok());
        assert!(clock(&[7]).refuse_rate(base).is_ok());
        assert!(clock(&[]).refuse_rate(None).is_ok());
    }
}
