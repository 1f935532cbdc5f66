//! Decodes packets into frames that stay in the decoder's own buffers.

use super::MediaError;
use super::convert::Scaler;
use super::demux::{Demuxer, Packet};
use super::limits::Limits;
use super::pulse::{Pulse, Work};
use super::{input, messages};
use crate::picture::{Display, Matrix, Picture, Plane, Range};
use ffmpeg::codec::threading;
use ffmpeg::ffi::{self, AVPixelFormat};
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;
use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::Arc;

/// One decoder, used by one thread.
pub struct Decoder {
    codec: ffmpeg::decoder::Video,
    display: Display,
    /// For pictures that are not planar YUV.
    to_planar: Option<Scaler>,
    path: PathBuf,
    limits: Limits,
    pulse: Arc<Pulse>,
    /// FFmpeg met something that cannot be, and nobody was told yet.
    complained: bool,
}

/// What is in a picture before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pictures {
    /// Some picture that is not needed any more: of a sound stream, all of it is decoded over. Cleared nevertheless
    /// where a decoder might leave gaps and not say so.
    Reused,
    /// Nothing. Where damage keeps parts from being decoded, an old picture would show through, another one every time.
    Cleared,
}

/// Decoders that fill every picture, with a guess where they find nothing. Others, that of HEVC above all, end a picture
/// early without an error.
const COVERS_PICTURES: [&str; 7] = ["h264", "vp8", "vp9", "av1", "mpeg4", "mpeg1video", "mpeg2video"];

/// What [`Decoder::receive`] came to.
#[derive(Debug)]
pub enum Received {
    Frame(Frame),
    /// Something in a packet could not be decoded. The next call goes on behind it.
    Damaged,
    /// Nothing until another packet is sent, or for good after [`Decoder::send_end`].
    Nothing,
}

/// A decoded frame: planar YUV in host memory, shared with the decoder and freed when dropped.
pub struct Frame {
    video: frame::Video,
    display: Display,
}

impl Decoder {
    /// A decoder for the demuxer's video stream, in the caller's thread: with threads of its own, it decodes a damaged
    /// stream differently from run to run.
    pub fn open(demuxer: &Demuxer, display: Display, pictures: Pictures) -> Result<Self, MediaError> {
        let parameters = demuxer.parameters();
        let codec = parameters.id().name();
        let unsupported = |reason: ffmpeg::Error| MediaError::CodecUnsupported {
            codec: codec.to_owned(),
            reason: reason.to_string(),
        };
        let mut context = ffmpeg::codec::Context::from_parameters(parameters).map_err(unsupported)?;
        let mut threading = threading::Config::count(1);
        threading.kind = threading::Type::Frame;
        context.set_threading(threading);
        let (limits, path) = (demuxer.limits(), demuxer.path().to_owned());
        // SAFETY: the context is not open yet; plain fields are set that FFmpeg looks at when it makes room for a
        // picture.
        unsafe {
            (*context.as_mut_ptr()).max_pixels = limits.pixels_of_buffer() as i64;
            if pictures == Pictures::Cleared || !COVERS_PICTURES.contains(&codec) {
                (*context.as_mut_ptr()).get_buffer2 = Some(cleared_buffer);
            }
        }
        let decoder = context.decoder().video().map_err(unsupported)?;
        let pulse = Pulse::new(Work::Decode, &path, limits.stall_s);
        Ok(Self { codec: decoder, display, to_planar: None, path, limits, pulse, complained: false })
    }

    /// Hands a packet over, its picture to carry `pts`. Take frames with [`Decoder::receive`] until there are none
    /// before the next one. `false` if the decoder refused the packet as damaged.
    pub fn send(&mut self, packet: &mut Packet, pts: i64) -> Result<bool, MediaError> {
        packet.0.set_pts(Some(pts));
        packet.0.set_dts(Some(pts));
        self.send_as_is(packet)
    }

    /// Hands a packet over with the timestamps that it has.
    pub fn send_as_is(&mut self, packet: &Packet) -> Result<bool, MediaError> {
        let sent = self.inside(|codec| codec.send_packet(&packet.0))?;
        let complained = std::mem::take(&mut self.complained);
        Ok(sent.is_ok() && !complained)
    }

    /// No more packets: the frames that the decoder holds back come out.
    pub fn send_end(&mut self) -> Result<(), MediaError> {
        // If that fails, what it held back is damaged; there may be more behind it.
        let _ended = self.inside(|codec| codec.send_eof())?;
        Ok(())
    }

    pub fn receive(&mut self) -> Result<Received, MediaError> {
        if std::mem::take(&mut self.complained) {
            return Ok(Received::Damaged);
        }
        let mut video = frame::Video::empty();
        match self.inside(|codec| codec.receive_frame(&mut video))? {
            Ok(()) => {}
            Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { errno: libc::EAGAIN }) => {
                return Ok(if std::mem::take(&mut self.complained) { Received::Damaged } else { Received::Nothing });
            }
            Err(_) => {
                self.complained = false;
                return Ok(Received::Damaged);
            }
        }
        if video.width() == 0 || video.height() == 0 {
            return Ok(Received::Damaged);
        }
        input::refuse_picture(&self.path, video.width(), video.height(), self.limits)?;
        if !is_planar_yuv(&video) {
            video = self.convert(&video)?;
        }
        Ok(Received::Frame(Frame { video, display: self.display }))
    }

    /// A call into the decoder, watched by the clock. Fails if it would not make room for a picture of too many pixels,
    /// which it reports as damage. Whatever else it reports is damage: also that there is no memory, since a small
    /// allocation does not fail on Linux, and one of `LARGEST_ALLOCATION` or more is a claim of the file.
    fn inside<T>(&mut self, call: impl FnOnce(&mut ffmpeg::decoder::Video) -> T) -> Result<T, MediaError> {
        let _working = self.pulse.working();
        messages::take();
        let result = call(&mut self.codec);
        let said = messages::take();
        self.complained |= said.damage;
        if let Some((width, height)) = said.picture {
            input::refuse_picture(&self.path, width, height, self.limits)?;
        }
        Ok(result)
    }

    fn convert(&mut self, video: &frame::Video) -> Result<frame::Video, MediaError> {
        let target = (AVPixelFormat::AV_PIX_FMT_YUV444P, video.width(), video.height());
        let scaler = match self.to_planar.take().filter(|scaler| scaler.fits(video, target)) {
            Some(scaler) => scaler,
            None => Scaler::new(video, target)?,
        };
        let scaler = self.to_planar.insert(scaler);
        let mut planar = frame::Video::new(AVPixelFormat::AV_PIX_FMT_YUV444P.into(), video.width(), video.height());
        scaler.scale_frame(video, &mut planar)?;
        planar.set_pts(video.pts());
        // SAFETY: both frames are allocated and owned here; only plain fields are copied. The scaler has turned
        // everything into BT.601 of limited range, which is what these two mean.
        unsafe {
            (*planar.as_mut_ptr()).best_effort_timestamp = (*video.as_ptr()).best_effort_timestamp;
            (*planar.as_mut_ptr()).pkt_duration = (*video.as_ptr()).pkt_duration;
            (*planar.as_mut_ptr()).colorspace = ffi::AVColorSpace::AVCOL_SPC_SMPTE170M;
            (*planar.as_mut_ptr()).color_range = ffi::AVColorRange::AVCOL_RANGE_MPEG;
        }
        Ok(planar)
    }
}

impl Frame {
    /// What was given to [`Decoder::send`] with the packet of this picture, or the packet's own timestamp.
    pub fn pts(&self) -> Option<i64> {
        self.video.pts()
    }

    /// FFmpeg's guess where packets lack timestamps, in ticks.
    pub fn best_effort_pts(&self) -> Option<i64> {
        self.video.timestamp()
    }

    /// How long it is shown, in ticks; 0 if unknown.
    pub fn duration(&self) -> i64 {
        self.video.packet().duration
    }

    /// Whether the decoder had to make parts of the picture up.
    pub fn is_damaged(&self) -> bool {
        self.video.is_corrupt() || self.video.has_decode_errors()
    }

    pub fn display(&self) -> Display {
        self.display
    }

    /// The planes, where the decoder put them.
    pub fn picture(&self) -> Picture<'_> {
        let layout = planar_layout(&self.video).expect("frames are made of planar YUV only");
        let (width, height) = (self.video.width() as usize, self.video.height() as usize);
        let chroma_width = width.div_ceil(1 << layout.chroma_shift_x);
        let chroma_height = height.div_ceil(1 << layout.chroma_shift_y);
        let sample = if layout.depth > 8 { 2 } else { 1 };
        Picture {
            width,
            height,
            planes: [
                self.plane(0, width * sample, height),
                self.plane(1, chroma_width * sample, chroma_height),
                self.plane(2, chroma_width * sample, chroma_height),
            ],
            depth: layout.depth,
            chroma_shift_x: layout.chroma_shift_x,
            chroma_shift_y: layout.chroma_shift_y,
            matrix: matrix_of(&self.video),
            range: if layout.full_range { Range::Full } else { range_of(&self.video) },
            display: self.display,
        }
    }

    pub(super) fn video(&self) -> &frame::Video {
        &self.video
    }

    fn plane(&self, index: usize, row_bytes: usize, rows: usize) -> Plane<'_> {
        // SAFETY: a frame from the decoder or the scaler has, for each plane of its format, `rows` rows of at least
        // `row_bytes` bytes, `linesize` bytes apart, in a buffer that lives as long as the frame. `is_planar_yuv` has
        // made sure that the planes exist and that `linesize` is positive.
        unsafe {
            let frame = self.video.as_ptr();
            let stride = (*frame).linesize[index] as usize;
            let bytes = stride * (rows - 1) + row_bytes;
            Plane { data: std::slice::from_raw_parts((*frame).data[index], bytes), stride }
        }
    }
}

unsafe extern "C" fn cleared_buffer(codec: *mut ffi::AVCodecContext, frame: *mut ffi::AVFrame, flags: c_int) -> c_int {
    // SAFETY: FFmpeg calls this with an open decoder and a frame to be given buffers, which its own function does.
    let answer = unsafe { ffi::avcodec_default_get_buffer2(codec, frame, flags) };
    if answer >= 0 {
        // SAFETY: the frame now holds references to buffers of the sizes that they tell, or null behind the last one.
        // Nobody else has them: they came from a pool a moment ago.
        unsafe {
            for buffer in (*frame).buf.iter().take_while(|buffer| !buffer.is_null()) {
                ((**buffer).data).write_bytes(0, (**buffer).size);
            }
        }
    }
    answer
}

struct PlanarLayout {
    depth: u32,
    chroma_shift_x: u32,
    chroma_shift_y: u32,
    /// The format itself says so: `yuvj420p` and its kin.
    full_range: bool,
}

fn is_planar_yuv(video: &frame::Video) -> bool {
    // SAFETY: the frame is allocated; two plain fields are copied.
    let (data, strides) = unsafe { ((*video.as_ptr()).data, (*video.as_ptr()).linesize) };
    let planes_exist = data[..3].iter().all(|plane| !plane.is_null()) && strides[..3].iter().all(|stride| *stride > 0);
    planes_exist && planar_layout(video).is_some()
}

/// `None` for everything but planar YUV with integer samples of 8 to 16 bits, little endian, in three planes of their own.
fn planar_layout(video: &frame::Video) -> Option<PlanarLayout> {
    let format: AVPixelFormat = video.format().into();
    // SAFETY: a known format gives a static descriptor, an unknown one null.
    let descriptor = unsafe { ffi::av_pix_fmt_desc_get(format).as_ref() }?;
    let unwanted = ffi::AV_PIX_FMT_FLAG_BE
        | ffi::AV_PIX_FMT_FLAG_PAL
        | ffi::AV_PIX_FMT_FLAG_BITSTREAM
        | ffi::AV_PIX_FMT_FLAG_HWACCEL
        | ffi::AV_PIX_FMT_FLAG_RGB
        | ffi::AV_PIX_FMT_FLAG_FLOAT;
    let wanted = ffi::AV_PIX_FMT_FLAG_PLANAR;
    if descriptor.flags & u64::try_from(unwanted).ok()? != 0 || descriptor.flags & u64::try_from(wanted).ok()? == 0 {
        return None;
    }
    let depth = u32::try_from(descriptor.comp[0].depth).ok().filter(|depth| (8..=16).contains(depth))?;
    let step = if depth > 8 { 2 } else { 1 };
    let own_planes = (0..3).all(|i| {
        let component = descriptor.comp[i];
        component.plane == i as i32 && component.step == step && component.shift == 0 && component.offset == 0
    });
    (descriptor.nb_components >= 3 && own_planes).then(|| PlanarLayout {
        depth,
        chroma_shift_x: u32::from(descriptor.log2_chroma_w),
        chroma_shift_y: u32::from(descriptor.log2_chroma_h),
        full_range: matches!(
            format,
            AVPixelFormat::AV_PIX_FMT_YUVJ420P
                | AVPixelFormat::AV_PIX_FMT_YUVJ422P
                | AVPixelFormat::AV_PIX_FMT_YUVJ440P
                | AVPixelFormat::AV_PIX_FMT_YUVJ444P
                | AVPixelFormat::AV_PIX_FMT_YUVJ411P
        ),
    })
}

/// A frame's colour matrix and range as the integers that they are. A file can hold any value there, also such that
/// FFmpeg's enums have no name for and that must not become a Rust enum.
pub(super) fn colours_of(video: &frame::Video) -> (i32, i32) {
    // SAFETY: the frame is allocated; the fields are C enums, which have the size of an `int`.
    unsafe {
        let frame = video.as_ptr();
        ((&raw const (*frame).colorspace).cast::<i32>().read(), (&raw const (*frame).color_range).cast::<i32>().read())
    }
}

fn matrix_of(video: &frame::Video) -> Matrix {
    const BT709: i32 = ffi::AVColorSpace::AVCOL_SPC_BT709 as i32;
    const BT2020_NCL: i32 = ffi::AVColorSpace::AVCOL_SPC_BT2020_NCL as i32;
    const BT2020_CL: i32 = ffi::AVColorSpace::AVCOL_SPC_BT2020_CL as i32;
    match colours_of(video).0 {
        BT709 => Matrix::Bt709,
        BT2020_NCL | BT2020_CL => Matrix::Bt2020,
        _ => Matrix::Bt601,
    }
}

fn range_of(video: &frame::Video) -> Range {
    if colours_of(video).1 == FULL_RANGE { Range::Full } else { Range::Limited }
}

pub(super) const FULL_RANGE: i32 = ffi::AVColorRange::AVCOL_RANGE_JPEG as i32;

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("display", &self.display).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("pts", &self.pts()).field("display", &self.display).finish_non_exhaustive()
    }
}
