//! Reads the packets of a file's video stream.

use super::idr::IdrFinder;
use super::limits::Limits;
use super::{MediaError, initialise};
use crate::picture::Rotation;
use ffmpeg::codec::packet;
use ffmpeg::format::context::Input;
use ffmpeg::format::stream::Disposition;
use ffmpeg::packet::Ref as _;
use ffmpeg::{Dictionary, Discard, ffi, media};
use ffmpeg_next as ffmpeg;
use framefleet_contract::plan::Ratio;
use std::path::{Path, PathBuf};

/// Containers that are opened. Playlists and other text formats that name further files or hosts are not among them.
const FORMATS: &str = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,ivf,obu,flv,\
                       live_flv,asf,ogg,mxf,nut,wtv,rm,mjpeg,mjpeg_2000,yuv4mpegpipe,dv,gif";

/// An index may name a place that cannot exist, and FFmpeg's MP4 demuxer stays in front of it for ever.
const MAX_BAD_PACKETS: u32 = 10_000;

/// One open file and its video stream.
pub struct Demuxer {
    input: Input,
    stream: usize,
    path: PathBuf,
    limits: Limits,
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

    /// CRC-32 of the data.
    pub fn checksum(&self) -> u32 {
        crc32fast::hash(self.data())
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
    /// Opens a regular file. Only the file itself is read, whatever it says of other files or hosts.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, MediaError> {
        initialise();
        let name = path.to_str().filter(|name| !name.contains('\0')).ok_or_else(|| MediaError::PathDenied {
            path: path.to_owned(),
            reason: "its name is not UTF-8; rename it".to_owned(),
        })?;
        let mut options = Dictionary::new();
        options.set("probesize", &limits.probe_bytes.to_string());
        options.set("protocol_whitelist", "file");
        options.set("format_whitelist", FORMATS);
        let input =
            ffmpeg::format::input_with_dictionary(&format!("file:{name}"), options).map_err(|e| open_error(path, e))?;
        let stream = video_stream(&input).ok_or_else(|| no_video(path, "it has no video stream".to_owned()))?;
        let mut demuxer = Self { input, stream, path: path.to_owned(), limits };
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
        let extradata = match usize::try_from(raw.extradata_size) {
            Ok(size) if size > 0 && !raw.extradata.is_null() => {
                // SAFETY: FFmpeg allocates `extradata_size` bytes, and keeps them as long as the parameters.
                unsafe { std::slice::from_raw_parts(raw.extradata, size) }
            }
            _ => &[],
        };
        let time_base = ratio(stream.time_base().into())
            .ok_or_else(|| no_video(&self.path, "its time base is not a positive number".to_owned()))?;
        Ok(StreamInfo {
            container: self.input.format().name().to_owned(),
            pixel_format: pixel_format_name(raw.format),
            width,
            height,
            sample_aspect: self.sample_aspect(),
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
        let mut bad = 0;
        while bad < MAX_BAD_PACKETS {
            let mut packet = ffmpeg::Packet::empty();
            match packet.read(&mut self.input) {
                Ok(()) if packet.stream() == self.stream => return Ok(Some(Packet(packet))),
                Ok(()) => bad = 0,
                Err(ffmpeg::Error::Eof) => return self.end_of_file(),
                // One bad packet: the demuxer goes on behind it.
                Err(ffmpeg::Error::InvalidData) if !self.at_end() => bad += 1,
                Err(ffmpeg::Error::InvalidData) => {
                    let reason = "its last packet cannot be read".to_owned();
                    return Err(MediaError::Corrupt { path: self.path.clone(), reason });
                }
                Err(e) => return Err(self.unreadable(e)),
            }
        }
        let reason = format!("{MAX_BAD_PACKETS} packets in a row cannot be read");
        Err(MediaError::Corrupt { path: self.path.clone(), reason })
    }

    /// Goes to a keyframe at or before the decoding timestamp `dts`, in ticks. A hint only: what is read next tells where it is.
    pub fn seek_before(&mut self, dts: i64) -> Result<(), MediaError> {
        // SAFETY: the context is open and the stream index is one of its own.
        let result =
            unsafe { ffi::av_seek_frame(self.input.as_mut_ptr(), self.stream as i32, dts, ffi::AVSEEK_FLAG_BACKWARD) };
        if result < 0 {
            return Err(self.unreadable(ffmpeg::Error::from(result)));
        }
        Ok(())
    }

    pub(super) fn parameters(&self) -> ffmpeg::codec::Parameters {
        self.input.stream(self.stream).expect("the stream was found in this input").parameters()
    }

    fn skip_other_streams(&mut self) {
        let video = self.stream;
        for mut stream in self.input.streams_mut().filter(|stream| stream.index() != video) {
            // SAFETY: the pointer is that of a stream of this open input; `discard` is meant to be set by the caller.
            unsafe { (*stream.as_mut_ptr()).discard = Discard::All.into() };
        }
    }

    /// FFmpeg also says "end of file" where the file could not be read further.
    fn end_of_file(&self) -> Result<Option<Packet>, MediaError> {
        match self.io_error() {
            Some(error) => Err(self.unreadable(error)),
            None => Ok(None),
        }
    }

    /// What the file itself answered last, if that was an error.
    fn io_error(&self) -> Option<ffmpeg::Error> {
        // SAFETY: the context is open; its I/O context is null or valid.
        let error = unsafe { (*self.input.as_ptr()).pb.as_ref() }.map_or(0, |io| io.error);
        (error < 0 && error != ffi::AVERROR_EOF).then(|| ffmpeg::Error::from(error))
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

    fn input_ptr(&self) -> *mut ffi::AVFormatContext {
        // SAFETY: only taken for functions that read.
        unsafe { self.input.as_ptr().cast_mut() }
    }

    /// The file's disk is to blame only where reading it failed: demuxers also answer with `EIO` and `ENOMEM` to sizes
    /// and places that make no sense.
    fn unreadable(&self, error: ffmpeg::Error) -> MediaError {
        let path = self.path.clone();
        match self.io_error() {
            Some(error) => MediaError::Unreadable { path, reason: error.to_string() },
            None => MediaError::Corrupt { path, reason: format!("its packets make no sense: {error}") },
        }
    }
}

/// The stream to look at: FFmpeg's own choice, unless that is a cover picture.
fn video_stream(input: &Input) -> Option<usize> {
    let best = input.streams().best(media::Type::Video)?;
    (!best.disposition().contains(Disposition::ATTACHED_PIC)).then(|| best.index())
}

fn open_error(path: &Path, error: ffmpeg::Error) -> MediaError {
    let path = path.to_owned();
    match error {
        ffmpeg::Error::InvalidData if looks_like_mp4(&path) => MediaError::Corrupt {
            path,
            reason: "an MP4 file without its index, the moov box: recording or copying stopped early".to_owned(),
        },
        ffmpeg::Error::InvalidData | ffmpeg::Error::Eof => {
            no_video(&path, "FFmpeg recognises no video format in it".to_owned())
        }
        ffmpeg::Error::Other { errno: libc::EINVAL } => {
            MediaError::FormatDenied { path, reason: "its format is not on the list of allowed ones".to_owned() }
        }
        ffmpeg::Error::Other { errno: libc::ENOENT | libc::EACCES | libc::ENOMEM | libc::EMFILE | libc::ESTALE } => {
            MediaError::Unreadable { path, reason: error.to_string() }
        }
        // The first bytes were read a moment ago: what FFmpeg says here, EIO too, is of what they hold.
        _ => MediaError::Corrupt { path, reason: "its headers make no sense".to_owned() },
    }
}

/// Whether the file begins with a box that only ISO base media files begin with (ISO/IEC 14496-12, 4.3).
fn looks_like_mp4(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 8];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && matches!(&head[4..], b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip")
}

fn no_video(path: &Path, reason: String) -> MediaError {
    MediaError::NoVideo { path: path.to_owned(), reason }
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
