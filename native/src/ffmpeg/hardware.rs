//! Decoding on a GPU's NVDEC, through FFmpeg's `cuda` way.
//!
//! ```text
//! choose: can NVDEC? ─► admit: is there room? ─► Nvdec: one decoder's way ─► DevicePicture
//!    └ no: software         └ larger than all: software      └ refused: MediaError::HardwareRefused ─► software
//! ```
//!
//! FFmpeg 5.1 gives NVDEC's own surfaces, of which there are 32 at most: who keeps them stops the decoder. So each picture
//! is copied to memory of ours on the device as soon as it comes out, and its surface is given back.

mod admission;
mod choice;
mod device_context;
mod negotiation;

pub use admission::{Admission, Admitted, DecodeBudget, Permit};
pub use choice::{Asked, CanDecode, HardwareChoice, StreamFacts};

use super::MediaError;
use super::colours::{matrix_of, range_of};
use super::messages::Reasons;
use super::pixel_layout::PlanarLayout;
use crate::cuda::{CudaError, DevicePicture, Gpu, SemiPlanar, Surface};
use crate::picture::{Display, Range};
use device_context::DeviceContext;
use ffmpeg::ffi;
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;
use negotiation::{Agreed, Negotiation, Refusal};
use std::sync::Arc;

/// A GPU that decodes, shared by all sources.
pub struct Hardware {
    /// `None` for one that nobody has: see [`Hardware::refusing`].
    gpu: Option<Arc<Gpu>>,
    can_decode: Box<CanDecode>,
    admission: Admission,
}

impl Hardware {
    /// The NVDEC of a GPU, with so many engines. What it takes of memory follows from what is free now.
    pub fn new(gpu: Arc<Gpu>, engines: u32, can_decode: Box<CanDecode>) -> Result<Arc<Self>, CudaError> {
        let budget = DecodeBudget::of(engines, gpu.memory()?.free as u64);
        gpu.keep_freed(budget.bytes)?;
        Ok(Arc::new(Self { gpu: Some(gpu), can_decode, admission: Admission::new(budget) }))
    }

    /// One that FFmpeg refuses when a decoder asks for it, as it refuses a GPU whose driver fails: so what follows from that
    /// can be seen without a GPU.
    pub fn refusing(budget: DecodeBudget, can_decode: Box<CanDecode>) -> Arc<Self> {
        Arc::new(Self { gpu: None, can_decode, admission: Admission::new(budget) })
    }

    /// Where a stream is decoded.
    pub fn choose(&self, stream: &StreamFacts<'_>) -> HardwareChoice {
        choice::choose(stream, &*self.can_decode)
    }

    /// Lets in what [`Hardware::choose`] chose.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}

impl std::fmt::Debug for Hardware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { gpu, admission, .. } = self;
        f.debug_struct("Hardware").field("gpu", gpu).field("admission", admission).finish_non_exhaustive()
    }
}

/// One decoder's way to NVDEC. Must outlive the decoder's context.
#[derive(Debug)]
pub(super) struct Nvdec {
    negotiation: Arc<Negotiation>,
    gpu: Option<Arc<Gpu>>,
    device: Option<DeviceContext>,
}

impl Nvdec {
    /// Prepares a context that is not open yet.
    pub(super) fn prepare(hardware: &Hardware, context: &mut ffmpeg::codec::Context) -> Result<Self, MediaError> {
        let negotiation = Arc::<Negotiation>::default();
        negotiation.install(context);
        let gpu = hardware.gpu.clone();
        let device = gpu.as_deref().map(DeviceContext::new).transpose()?;
        if let Some(device) = &device {
            device.install(context);
        }
        Ok(Self { negotiation, gpu, device })
    }

    /// The decoder to open, where FFmpeg would take one that knows no hardware.
    pub(super) fn codec(id: ffmpeg::codec::Id) -> Option<ffmpeg::Codec> {
        (id == ffmpeg::codec::Id::AV1).then(|| ffmpeg::decoder::find_by_name("av1")).flatten()
    }

    /// Fails where the call before, of which FFmpeg said these things, was not done by NVDEC.
    pub(super) fn judge(&self, said: Reasons, words: Option<&str>) -> Result<(), MediaError> {
        if said.cuda
            && let Some(gpu) = &self.gpu
        {
            gpu.check("decode a picture")?;
        }
        let in_words = |or: &str| words.unwrap_or(or).to_owned();
        let reason = match self.negotiation.agreed() {
            Agreed::Software(Refusal::NotOffered) => "FFmpeg's decoder offers no NVDEC for such a stream".to_owned(),
            Agreed::Software(Refusal::NotSetUp) => in_words("NVDEC could not be set up"),
            Agreed::Software(Refusal::Changed) => "the stream's parameters change on the way".to_owned(),
            Agreed::Nothing | Agreed::Hardware if said.cuda => in_words("NVDEC failed"),
            Agreed::Nothing | Agreed::Hardware => return Ok(()),
        };
        Err(MediaError::HardwareRefused { reason })
    }

    /// Copies what came out of the decoder, which may then have its surface back.
    pub(super) fn take(
        &self,
        video: &frame::Video,
        context: &ffmpeg::codec::Context,
        display: Display,
    ) -> Result<DevicePicture, MediaError> {
        let refused = |reason: &'static str| MediaError::HardwareRefused { reason: reason.to_owned() };
        // SAFETY: the context is live; plain fields are copied. The software format was chosen by FFmpeg.
        let (software, properties) = unsafe { ((*context.as_ptr()).sw_pix_fmt, (*context.as_ptr()).properties) };
        if properties & ffi::FF_CODEC_PROPERTY_FILM_GRAIN as u32 != 0 {
            return Err(refused("it has film grain, which AV1 leaves to each decoder"));
        }
        let layout = PlanarLayout::of(software).filter(PlanarLayout::is_420);
        let layout = layout.ok_or_else(|| refused("its pictures are not 4:2:0"))?;
        let range = if layout.full_range { Range::Full } else { range_of(video) };
        let layout = SemiPlanar::packed(video.width() as usize, video.height() as usize, layout.depth).seen_as(
            matrix_of(video),
            range,
            display,
        );
        let surface = surface_of(video).map_err(refused)?;
        let stream = self.device.as_ref().ok_or_else(|| refused("there is no GPU"))?.stream();
        // SAFETY: both planes are mapped as long as `video` lives, and hold a picture of at least its size in the layout that
        // its depth stands for. NVDEC writes them on this very stream.
        Ok(unsafe { DevicePicture::copy_of(stream, &surface, layout) }?)
    }
}

/// Where NVDEC put a frame's picture, or why it is none to be copied.
fn surface_of(video: &frame::Video) -> Result<Surface, &'static str> {
    // SAFETY: the frame is live; plain fields are copied, none of which is an enum.
    let (format, data, strides, crop) = unsafe {
        let frame = video.as_ptr();
        let crop = ((*frame).crop_left, (*frame).crop_top);
        ((*frame).format, (*frame).data, (*frame).linesize, crop)
    };
    if format != ffi::AVPixelFormat::AV_PIX_FMT_CUDA as i32 {
        return Err("a picture came out that is not NVDEC's");
    }
    // FFmpeg leaves these to whoever takes the picture, and in software it cuts less than it is told.
    if crop != (0, 0) {
        return Err("its pictures are cut on the left or above");
    }
    let [luma, chroma] = [data[0] as u64, data[1] as u64];
    match [strides[0], strides[1]].map(usize::try_from) {
        [Ok(luma_pitch), Ok(chroma_pitch)] if luma != 0 && chroma != 0 => {
            Ok(Surface { luma, chroma, pitch: [luma_pitch, chroma_pitch] })
        }
        _ => Err("a picture came out without planes"),
    }
}
