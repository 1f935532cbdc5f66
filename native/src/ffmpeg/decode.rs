//! Decodes packets into frames: in the decoder's own buffers, or in the memory of a GPU.

pub use super::frame::Frame;

use super::MediaError;
use super::convert::Scaler;
use super::demux::{Demuxer, Packet};
use super::frame::is_planar_yuv;
use super::hardware::{Hardware, Nvdec};
use super::limits::Limits;
use super::pulse::{Pulse, Work};
use super::{input, messages};
use crate::cuda::beside_recordings;
use crate::picture::Display;
use ffmpeg::codec::threading;
use ffmpeg::ffi::{self, AVPixelFormat};
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;

/// One decoder, used by one thread.
pub struct Decoder {
    codec: ManuallyDrop<ffmpeg::decoder::Video>,
    /// Where NVDEC decodes. `codec` must be gone first.
    nvdec: Option<Nvdec>,
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

/// On what a decoder decodes.
enum Way<'a> {
    Software(Pictures),
    Nvdec(&'a Hardware),
}

impl Way<'_> {
    /// NVDEC's surfaces are none of ours to clear.
    fn clears_pictures_of(&self, codec: &str) -> bool {
        match self {
            Self::Software(pictures) => *pictures == Pictures::Cleared || !COVERS_PICTURES.contains(&codec),
            Self::Nvdec(_) => false,
        }
    }
}

/// What [`Decoder::receive`] came to.
#[derive(Debug)]
pub enum Received {
    Frame(Frame),
    /// Something in a packet could not be decoded. The next call goes on behind it.
    Damaged,
    /// Nothing until another packet is sent, or for good after [`Decoder::send_end`].
    Nothing,
}

impl Decoder {
    /// A decoder for the demuxer's video stream, in the caller's thread: with threads of its own, it decodes a damaged
    /// stream differently from run to run.
    pub fn open(demuxer: &Demuxer, display: Display, pictures: Pictures) -> Result<Self, MediaError> {
        Self::open_with(demuxer, display, &Way::Software(pictures))
    }

    /// The same on a GPU, whose frames stay there: for streams that [`Hardware::choose`] gives to it.
    ///
    /// # Errors
    /// [`MediaError::HardwareRefused`] here, with a packet or with a frame: then the stream is to be decoded in software,
    /// from its beginning.
    pub fn open_on(hardware: &Hardware, demuxer: &Demuxer, display: Display) -> Result<Self, MediaError> {
        Self::open_with(demuxer, display, &Way::Nvdec(hardware))
    }

    fn open_with(demuxer: &Demuxer, display: Display, way: &Way<'_>) -> Result<Self, MediaError> {
        let parameters = demuxer.parameters();
        let id = parameters.id();
        let codec = id.name();
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
            if way.clears_pictures_of(codec) {
                (*context.as_mut_ptr()).get_buffer2 = Some(cleared_buffer);
            }
        }
        let (nvdec, decoder) = match way {
            Way::Software(_) => (None, None),
            Way::Nvdec(hardware) => (Some(Nvdec::prepare(hardware, &mut context)?), Nvdec::codec(id)),
        };
        let opened = match decoder {
            Some(decoder) => context.decoder().open_as(decoder).and_then(ffmpeg::decoder::Opened::video),
            None => context.decoder().video(),
        };
        let codec = opened.map_err(unsupported)?;
        let pulse = Pulse::new(Work::Decode, &path, limits.stall_s);
        let codec = ManuallyDrop::new(codec);
        Ok(Self { codec, nvdec, display, to_planar: None, path, limits, pulse, complained: false })
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
        if let Some(nvdec) = &self.nvdec {
            let _working = self.pulse.working();
            let _beside = beside_recordings();
            let picture = nvdec.take(&video, &self.codec, self.display)?;
            return Ok(Received::Frame(Frame::on_device(picture, &video)));
        }
        if !is_planar_yuv(&video) {
            video = self.convert(&video)?;
        }
        Ok(Received::Frame(Frame::on_host(video, self.display)))
    }

    /// A call into the decoder, watched by the clock. Fails if it would not make room for a picture of too many pixels,
    /// which it reports as damage. Whatever else it reports is damage: also that there is no memory, since a small
    /// allocation does not fail on Linux, and one of `LARGEST_ALLOCATION` or more is a claim of the file.
    fn inside<T>(&mut self, call: impl FnOnce(&mut ffmpeg::decoder::Video) -> T) -> Result<T, MediaError> {
        let _working = self.pulse.working();
        let _beside = self.nvdec.is_some().then(beside_recordings);
        messages::take();
        let result = call(&mut self.codec);
        let words = messages::take_words();
        let said = messages::take();
        if let Some(nvdec) = &self.nvdec {
            nvdec.judge(said, words.as_deref())?;
        }
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

impl Drop for Decoder {
    fn drop(&mut self) {
        let _beside = self.nvdec.is_some().then(beside_recordings);
        // SAFETY: dropped only here, and not used any more.
        unsafe { ManuallyDrop::drop(&mut self.codec) };
        self.nvdec = None;
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("display", &self.display).finish_non_exhaustive()
    }
}
