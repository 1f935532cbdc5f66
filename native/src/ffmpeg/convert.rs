//! Conversion between pixel formats and sizes by swscale, for the pictures that are not on the hot path.

use super::MediaError;
use super::colours::{FULL_RANGE, colours_of};
use super::frame::Frame;
use crate::picture::Rotation;
use ffmpeg::ffi::{self, AVPixelFormat};
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;
use std::ptr;

/// Pixel format, width and height.
pub(super) type Shape = (AVPixelFormat, u32, u32);

/// A swscale context from one shape of picture to another.
pub(super) struct Scaler {
    context: *mut ffi::SwsContext,
    source: Shape,
    /// The source's colour matrix and range, as FFmpeg's integers.
    colours: (i32, i32),
    target: Shape,
}

impl Scaler {
    /// From pictures like `source` to `target`, honouring the source's colour matrix and range.
    pub(super) fn new(source: &frame::Video, target: Shape) -> Result<Self, MediaError> {
        let colours = colours_of(source);
        let scaler = Self::open(shape_of(source), colours, target)?;
        // Formats without a YUV side ignore the matrix and answer with an error, which changes nothing.
        let _ = scaler.set_colours(colours, ffi::SWS_CS_DEFAULT);
        Ok(scaler)
    }

    /// From BGR to limited-range BT.709.
    pub(super) fn to_bt709(source: Shape, target: Shape) -> Result<Self, MediaError> {
        let colours = (ffi::SWS_CS_DEFAULT, 0);
        let scaler = Self::open(source, colours, target)?;
        scaler.set_colours(colours, ffi::SWS_CS_ITU709)?;
        Ok(scaler)
    }

    pub(super) fn fits(&self, source: &frame::Video, target: Shape) -> bool {
        self.source == shape_of(source) && self.colours == colours_of(source) && self.target == target
    }

    fn open(source: Shape, colours: (i32, i32), target: Shape) -> Result<Self, MediaError> {
        let flags = ffi::SWS_BICUBIC | ffi::SWS_ACCURATE_RND;
        // SAFETY: formats come from FFmpeg itself, sizes are positive; null filters and parameters are allowed.
        let context = unsafe {
            ffi::sws_getContext(
                source.1 as i32,
                source.2 as i32,
                source.0,
                target.1 as i32,
                target.2 as i32,
                target.0,
                flags,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null(),
            )
        };
        if context.is_null() {
            return Err(failed("set up a pixel format conversion"));
        }
        Ok(Self { context, source, colours, target })
    }

    fn set_colours(&self, (source_matrix, source_range): (i32, i32), target_matrix: i32) -> Result<(), MediaError> {
        const UNITY: i32 = 1 << 16;
        // SAFETY: the context is live; coefficient tables are static.
        let result = unsafe {
            ffi::sws_setColorspaceDetails(
                self.context,
                ffi::sws_getCoefficients(source_matrix),
                i32::from(source_range == FULL_RANGE),
                ffi::sws_getCoefficients(target_matrix),
                0,
                0,
                UNITY,
                UNITY,
            )
        };
        if result < 0 { Err(failed("set a colour matrix")) } else { Ok(()) }
    }

    /// Into an allocated frame of the target's shape.
    pub(super) fn scale_frame(&mut self, source: &frame::Video, target: &mut frame::Video) -> Result<(), MediaError> {
        // SAFETY: the frame is allocated and of this scaler's target shape, so its planes hold the picture.
        let (data, strides) = unsafe { ((*target.as_ptr()).data, (*target.as_ptr()).linesize) };
        // SAFETY: as above; the source's planes belong to a live frame of the source's shape.
        unsafe { self.scale(&(*source.as_ptr()).data, &(*source.as_ptr()).linesize, &data, &strides) }
    }

    /// Into packed bytes, rows without padding. `bytes` must hold the whole picture.
    pub(super) fn scale_to_packed(&mut self, source: &frame::Video, bytes: &mut [u8]) -> Result<(), MediaError> {
        assert_eq!(bytes.len(), packed_bgr_bytes(self.target.1, self.target.2), "the buffer is made for this picture");
        let mut data = [ptr::null_mut(); 8];
        data[0] = bytes.as_mut_ptr();
        let mut strides = [0; 8];
        strides[0] = self.target.1 as i32 * 3;
        // SAFETY: one plane of `height` rows of `3 * width` bytes, as long as the slice.
        unsafe { self.scale(&(*source.as_ptr()).data, &(*source.as_ptr()).linesize, &data, &strides) }
    }

    /// From BGR bytes in rows of `stride` bytes into an allocated frame.
    pub(super) fn scale_from_packed(
        &mut self,
        bytes: &[u8],
        stride: usize,
        target: &mut frame::Video,
    ) -> Result<(), MediaError> {
        let (width, height) = (self.source.1 as usize, self.source.2 as usize);
        assert!(stride >= 3 * width && bytes.len() >= stride * height, "the buffer is made for this picture");
        let mut data = [ptr::null_mut(); 8];
        data[0] = bytes.as_ptr().cast_mut();
        let mut strides = [0; 8];
        strides[0] = stride as i32;
        // SAFETY: one plane of `height` rows of `3 * width` bytes, `stride` apart, inside the slice, only read; the target is
        // allocated in the target's shape.
        unsafe { self.scale(&data, &strides, &(*target.as_mut_ptr()).data, &(*target.as_mut_ptr()).linesize) }
    }

    /// # Safety
    /// The planes must hold pictures of the scaler's source and target shapes.
    unsafe fn scale(
        &mut self,
        source: &[*mut u8; 8],
        source_strides: &[i32; 8],
        target: &[*mut u8; 8],
        target_strides: &[i32; 8],
    ) -> Result<(), MediaError> {
        // SAFETY: promised by the caller.
        let rows = unsafe {
            ffi::sws_scale(
                self.context,
                source.as_ptr().cast(),
                source_strides.as_ptr(),
                0,
                self.source.2 as i32,
                target.as_ptr().cast(),
                target_strides.as_ptr(),
            )
        };
        if rows <= 0 { Err(failed("convert a picture")) } else { Ok(()) }
    }
}

impl Drop for Scaler {
    fn drop(&mut self) {
        // SAFETY: made by `sws_getContext`, freed once.
        unsafe { ffi::sws_freeContext(self.context) };
    }
}

/// Turns frames into packed BGR of the displayed size, not yet rotated.
#[derive(Default)]
pub struct BgrConverter {
    scaler: Option<Scaler>,
}

impl BgrConverter {
    /// Width and height of the picture in square pixels before its rotation.
    pub fn size(frame: &Frame) -> (u32, u32) {
        let display = frame.display();
        match display.rotation {
            Rotation::None | Rotation::Half => (display.width, display.height),
            Rotation::Quarter | Rotation::ThreeQuarters => (display.height, display.width),
        }
    }

    /// `bgr` holds `3 * width * height` bytes of [`BgrConverter::size`]. A picture on a GPU is copied to the host first.
    pub fn convert(&mut self, frame: &Frame, bgr: &mut [u8]) -> Result<(), MediaError> {
        let Some(video) = frame.video() else { return self.convert(&frame.to_host()?, bgr) };
        let (width, height) = Self::size(frame);
        let target = (AVPixelFormat::AV_PIX_FMT_BGR24, width, height);
        let scaler = match self.scaler.take().filter(|scaler| scaler.fits(video, target)) {
            Some(scaler) => scaler,
            None => Scaler::new(video, target)?,
        };
        self.scaler.insert(scaler).scale_to_packed(video, bgr)
    }
}

impl std::fmt::Debug for BgrConverter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BgrConverter").finish_non_exhaustive()
    }
}

fn packed_bgr_bytes(width: u32, height: u32) -> usize {
    3 * width as usize * height as usize
}

fn shape_of(video: &frame::Video) -> Shape {
    (video.format().into(), video.width(), video.height())
}

fn failed(action: &'static str) -> MediaError {
    MediaError::Failed { action, reason: "swscale refused".to_owned() }
}
