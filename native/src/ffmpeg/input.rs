//! Opens a file with FFmpeg, within the limits: what it claims is looked at before FFmpeg acts on it.

use super::boxes::{self, Claims, Unknown};
use super::limits::Limits;
use super::messages::{self, Reasons};
use super::origin::Origin;
use super::pulse::Pulse;
use super::source_file::{SourceFile, Watch};
use super::{LARGEST_ALLOCATION, MediaError};
use ffmpeg::format::context::{Input, StreamIo};
use ffmpeg::format::stream::Disposition;
use ffmpeg::{Dictionary, Discard, ffi, media};
use ffmpeg_next as ffmpeg;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr;
use std::sync::Arc;

/// Formats that are opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Formats {
    /// FFmpeg's names for them.
    names: &'static str,
    /// What FFmpeg is told that the file is called; its own name where there is none.
    called: Option<&'static CStr>,
}

/// Containers. Playlists and other text formats that name further files or hosts are not among them.
pub(super) const VIDEOS: Formats = Formats {
    names: "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,h264,hevc,m4v,ivf,obu,flv,\
            live_flv,asf,ogg,mxf,nut,wtv,rm,mjpeg,mjpeg_2000,yuv4mpegpipe,dv,gif",
    called: None,
};

/// Single pictures. By a name such as `x.jpg`, FFmpeg would take one for part of a sequence of files.
pub(super) const PICTURES: Formats =
    Formats { names: "jpeg_pipe,png_pipe,bmp_pipe,webp_pipe,tiff_pipe,ppm_pipe", called: Some(c"picture") };
/// Samples of all tracks of an MP4 file: as many as one index can have, with 24 bytes of memory for each. Eight days at 30
/// frames/s.
const MOST_SAMPLES: u64 = (LARGEST_ALLOCATION / size_of::<ffi::AVIndexEntry>()) as u64;
/// Samples that a byte of a file can hold: the smallest entry of an index has half a byte.
const MOST_SAMPLES_PER_BYTE: u64 = 2;

/// Streams with pictures into which FFmpeg may look: each takes the memory of some pictures, and all at a time.
const MOST_DECODERS: usize = 4;

/// A file with its video stream.
pub(super) struct Opened {
    pub input: Input,
    pub stream: usize,
    pub watch: Arc<Watch>,
}

/// Opens the file if it is of one of the formats, and reads enough of it to know its streams.
pub(super) fn open(origin: &Origin, limits: Limits, formats: Formats) -> Result<Opened, MediaError> {
    let path = origin.shown();
    let name = origin.file_name().and_then(|name| CString::new(format!("file:{name}")).ok());
    let name = name.ok_or_else(|| MediaError::PathDenied {
        path: path.to_owned(),
        reason: "its name is not UTF-8; rename it".to_owned(),
    })?;
    let name = formats.called.map_or(name, CStr::to_owned);
    let file = SourceFile::open(origin, limits)?;
    let watch = file.watch();
    let working = watch.pulse.working();
    refuse_claims(path, &watch)?;
    messages::take();
    let opening = Opening { path, limits, formats, watch: &watch };
    let mut input = opening.read_header(&name, file)?;
    opening.check(&input, video_stream(&input))?;
    let one_of_many = one_of_many(&input);
    opening.find_streams(&mut input, one_of_many)?;
    let stream = one_of_many.or_else(|| video_stream(&input));
    opening.check(&input, stream)?;
    let stream = stream.ok_or_else(|| no_video(path, "it has no video stream".to_owned()))?;
    opening.check_duration(&input, stream)?;
    drop(working);
    Ok(Opened { input, stream, watch })
}

/// The stream to look at: FFmpeg's own choice, unless that is a cover picture.
fn video_stream(input: &Input) -> Option<usize> {
    input.streams().best(media::Type::Video).filter(|best| !is_cover(best)).map(|best| best.index())
}

/// The stream to look at where there are too many to look into, or none where there are not: FFmpeg's choice by what the
/// container says, or the first one.
fn one_of_many(input: &Input) -> Option<usize> {
    let pictures = || input.streams().filter(|stream| stream.parameters().medium() == media::Type::Video);
    if pictures().count() <= MOST_DECODERS {
        return None;
    }
    let first = || pictures().find(|stream| !is_cover(stream)).map(|stream| stream.index());
    video_stream(input).or_else(first)
}

/// Has FFmpeg pass over the stream's packets.
pub(super) fn discard(stream: &mut ffmpeg::StreamMut<'_>) {
    // SAFETY: the pointer is that of a stream of an open input; `discard` is meant to be set by the caller.
    unsafe { (*stream.as_mut_ptr()).discard = Discard::All.into() };
}

fn is_cover(stream: &ffmpeg::Stream<'_>) -> bool {
    stream.disposition().contains(Disposition::ATTACHED_PIC)
}

fn no_video(path: &Path, reason: String) -> MediaError {
    MediaError::NoVideo { path: path.to_owned(), reason }
}

pub(super) fn refuse_picture(path: &Path, width: u32, height: u32, limits: Limits) -> Result<(), MediaError> {
    if limits.refuse_picture(width, height) {
        return Err(MediaError::PixelsLimit { path: path.to_owned(), width, height, limit: limits.pixels });
    }
    Ok(())
}

/// `what` goes on with the seconds.
pub(super) fn refuse_duration(path: &Path, what: &str, seconds: f64, limits: Limits) -> Result<(), MediaError> {
    if seconds > limits.duration_s {
        let reason = format!("{what} {seconds:.0} s");
        return Err(MediaError::DurationLimit { path: path.to_owned(), reason, limit: limits.duration_s });
    }
    Ok(())
}

fn refuse_claims(path: &Path, watch: &Watch) -> Result<(), MediaError> {
    let bytes = watch.len();
    let claims = boxes::claims(bytes, &mut |buffer, position| watch.read_exact_at(buffer, position).is_ok());
    watch.refusal().map_or(Ok(()), Err)?;
    let Claims { samples, no_time_scale } = claims.map_err(|unknown| unknown_claims(path, unknown))?;
    let most = MOST_SAMPLES.min(bytes.saturating_mul(MOST_SAMPLES_PER_BYTE));
    if samples > most {
        return Err(MediaError::SamplesLimit { path: path.to_owned(), samples, bytes, most });
    }
    if no_time_scale {
        let reason = "a second has 0 ticks".to_owned();
        return Err(MediaError::TimestampsInvalid { path: path.to_owned(), reason });
    }
    Ok(())
}

fn unknown_claims(path: &Path, unknown: Unknown) -> MediaError {
    let path = path.to_owned();
    let corrupt = |reason: &str| MediaError::Corrupt { path: path.clone(), reason: reason.to_owned() };
    match unknown {
        Unknown::TooManyBoxes => corrupt("its index, the moov box, lies behind or among more boxes than any video has"),
        Unknown::OutOfPlace => corrupt("the description of a track's format has tables of samples in it"),
        Unknown::Compressed => {
            MediaError::FormatDenied { path, reason: "its index is compressed, a cmov box".to_owned() }
        }
    }
}

struct Opening<'a> {
    path: &'a Path,
    limits: Limits,
    formats: Formats,
    watch: &'a Watch,
}

impl Opening<'_> {
    fn read_header(&self, name: &CString, file: SourceFile) -> Result<Input, MediaError> {
        let mut io = StreamIo::from_read_seek(file).map_err(|e| self.error(e))?;
        let mut options = Dictionary::new();
        options.set("probesize", &self.limits.probe_bytes.to_string());
        options.set("protocol_whitelist", "file");
        options.set("format_whitelist", self.formats.names);
        // One more, so that FFmpeg does not run out of memory, as it puts it, at a file that has just so many.
        options.set("max_streams", &self.limits.streams.saturating_add(1).min(i32::MAX as u32).to_string());
        // SAFETY: `io` outlives the context: FFmpeg frees the context where it fails, and `Input` owns both where it does
        // not. The file inside `io` owns a share of the pulse, so that this outlives the context as well.
        unsafe {
            let mut context = ffi::avformat_alloc_context();
            if context.is_null() {
                return Err(self.error(ffmpeg::Error::from(ffi::AVERROR(ffi::ENOMEM))));
            }
            (*context).pb = io.as_mut_ptr();
            (*context).flags |= ffi::AVFMT_FLAG_CUSTOM_IO;
            (*context).io_open = Some(open_no_other_file);
            (*context).interrupt_callback.callback = Some(is_late);
            (*context).interrupt_callback.opaque = Arc::as_ptr(&self.watch.pulse).cast_mut().cast();
            let mut options = options.disown();
            let result = ffi::avformat_open_input(&raw mut context, name.as_ptr(), ptr::null_mut(), &raw mut options);
            drop(Dictionary::own(options));
            if result < 0 {
                return Err(self.error(ffmpeg::Error::from(result)));
            }
            Ok(Input::wrap_with_custom_io(context, io))
        }
    }

    /// Has FFmpeg look into the packets, of one stream only where one is given. Its decoders, too, make no room for a
    /// picture that is too large; those of other streams for none.
    fn find_streams(&self, input: &mut Input, only: Option<usize>) -> Result<(), MediaError> {
        let is_wanted = |stream: usize| only.is_none_or(|only| only == stream);
        let of_decoder = |stream: usize| {
            let mut options = Dictionary::new();
            let pixels = if is_wanted(stream) { self.limits.pixels_of_buffer() } else { 1 };
            options.set("max_pixels", &pixels.to_string());
            options
        };
        for mut stream in input.streams_mut().filter(|stream| !is_wanted(stream.index())) {
            discard(&mut stream);
        }
        // SAFETY: the context is open, there is one dictionary for each stream that it has now, and each is freed once.
        let result = unsafe {
            let mut options: Vec<_> = input.streams().map(|stream| of_decoder(stream.index()).disown()).collect();
            let first = if options.is_empty() { ptr::null_mut() } else { options.as_mut_ptr() };
            let result = ffi::avformat_find_stream_info(input.as_mut_ptr(), first);
            for options in options {
                drop(Dictionary::own(options));
            }
            result
        };
        if result < 0 { Err(self.error(ffmpeg::Error::from(result))) } else { Ok(()) }
    }

    /// Before and after the packets were looked into.
    fn check(&self, input: &Input, stream: Option<usize>) -> Result<(), MediaError> {
        let reasons = messages::take();
        if let Some(refusal) = self.watch.refusal() {
            return Err(refusal);
        }
        if reasons.too_many_streams || input.nb_streams() > self.limits.streams {
            return Err(self.streams_limit());
        }
        let Some(stream) = stream.and_then(|index| input.stream(index)) else { return Ok(()) };
        if reasons.time_base {
            return Err(self.no_time_base());
        }
        let parameters = stream.parameters();
        // SAFETY: the parameters belong to a stream of this input; two plain fields are read.
        let (width, height) = unsafe { ((*parameters.as_ptr()).width, (*parameters.as_ptr()).height) };
        let (width, height) = (width.max(0) as u32, height.max(0) as u32);
        // A size that FFmpeg refused is not among the parameters.
        let (width, height) = reasons.any_picture().filter(|_| width == 0 || height == 0).unwrap_or((width, height));
        refuse_picture(self.path, width, height, self.limits)
    }

    /// What the container says, where it says so and FFmpeg does not estimate it from the file's size.
    fn check_duration(&self, input: &Input, stream: usize) -> Result<(), MediaError> {
        const BY_BITRATE: u32 = ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE as u32;
        // SAFETY: the context is open; the enum is read as the integer that it is.
        let (ticks, method) = unsafe {
            let context = input.as_ptr();
            ((*context).duration, (&raw const (*context).duration_estimation_method).cast::<u32>().read())
        };
        if method != BY_BITRATE {
            let seconds = ticks as f64 / f64::from(ffi::AV_TIME_BASE);
            refuse_duration(self.path, "claims to last", seconds, self.limits)?;
        }
        let stream = input.stream(stream).expect("the stream was found in this input");
        // All bits set stand for "unknown" in MP4 (ISO/IEC 14496-12, 8.4.2.3).
        let ticks = Some(stream.duration()).filter(|ticks| method != BY_BITRATE && *ticks != i64::from(u32::MAX));
        let seconds = ticks.unwrap_or(0) as f64 * f64::from(stream.time_base());
        refuse_duration(self.path, "claims to last", seconds, self.limits)
    }

    /// What FFmpeg's refusal comes to.
    fn error(&self, error: ffmpeg::Error) -> MediaError {
        let reasons = messages::take();
        let Reasons { too_many_streams, time_base, .. } = reasons;
        let path = self.path.to_owned();
        if let Some(refusal) = self.watch.refusal() {
            return refusal;
        }
        if too_many_streams {
            return self.streams_limit();
        }
        if time_base {
            return self.no_time_base();
        }
        if let Some(error) = reasons.any_picture().and_then(|(w, h)| refuse_picture(self.path, w, h, self.limits).err())
        {
            return error;
        }
        match error {
            ffmpeg::Error::InvalidData if self.looks_like_mp4() => MediaError::Corrupt {
                path,
                reason: "an MP4 file without its index, the moov box: recording or copying stopped early".to_owned(),
            },
            ffmpeg::Error::InvalidData | ffmpeg::Error::Eof => {
                no_video(&path, "FFmpeg recognises no video format in it".to_owned())
            }
            ffmpeg::Error::Other { errno: libc::EINVAL } => {
                MediaError::FormatDenied { path, reason: "its format is not on the list of allowed ones".to_owned() }
            }
            ffmpeg::Error::Exit => self.watch.pulse.error(),
            // A small allocation does not fail on Linux: this is one of `LARGEST_ALLOCATION` or more.
            ffmpeg::Error::Other { errno: libc::ENOMEM } => {
                MediaError::Corrupt { path, reason: "its headers claim more than memory can hold".to_owned() }
            }
            // The file itself could be read: what FFmpeg says here, EIO too, is of what it holds.
            _ => MediaError::Corrupt { path, reason: "its headers make no sense".to_owned() },
        }
    }

    fn streams_limit(&self) -> MediaError {
        MediaError::StreamsLimit { path: self.path.to_owned(), limit: self.limits.streams }
    }

    fn no_time_base(&self) -> MediaError {
        let reason = "its time base is not a positive number".to_owned();
        MediaError::TimestampsInvalid { path: self.path.to_owned(), reason }
    }

    /// Whether the file begins with a box that only ISO base media files begin with (ISO/IEC 14496-12, 4.3).
    fn looks_like_mp4(&self) -> bool {
        let mut head = [0; 8];
        let read = self.watch.read_exact_at(&mut head, 0);
        read.is_ok() && matches!(&head[4..], b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip")
    }
}

/// For the files that a container refers to.
unsafe extern "C" fn open_no_other_file(
    _: *mut ffi::AVFormatContext,
    _: *mut *mut ffi::AVIOContext,
    _: *const c_char,
    _: c_int,
    _: *mut *mut ffi::AVDictionary,
) -> c_int {
    ffi::AVERROR(ffi::EPERM)
}

/// FFmpeg asks between two pieces of work.
unsafe extern "C" fn is_late(pulse: *mut c_void) -> c_int {
    // SAFETY: the pointer was set to a pulse that outlives the context.
    c_int::from(unsafe { &*pulse.cast_const().cast::<Pulse>() }.is_late())
}
