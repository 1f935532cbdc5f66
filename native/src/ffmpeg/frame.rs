//! A decoded frame, in host memory or on a GPU.

use super::MediaError;
use super::colours::{matrix_of, range_of};
use super::pixel_layout::PlanarLayout;
use super::semi_planar::planar_from;
use crate::cuda::DevicePicture;
use crate::picture::{Display, Picture, Plane, Range};
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;
use std::sync::Arc;

/// A decoded frame: planar YUV in host memory, shared with the decoder and freed when dropped, or a picture on a GPU.
pub struct Frame {
    stored: Stored,
    display: Display,
    times: Times,
    is_damaged: bool,
}

enum Stored {
    Host(frame::Video),
    Device(Arc<DevicePicture>),
}

/// In ticks.
#[derive(Debug, Clone, Copy)]
struct Times {
    pts: Option<i64>,
    best_effort_pts: Option<i64>,
    duration: i64,
}

impl Frame {
    /// `video` is planar YUV, as [`is_planar_yuv`] says.
    pub(super) fn on_host(video: frame::Video, display: Display) -> Self {
        let (times, is_damaged) = (Times::of(&video), is_damaged(&video));
        Self { stored: Stored::Host(video), display, times, is_damaged }
    }

    /// `video` is what the picture was copied from.
    pub(super) fn on_device(picture: DevicePicture, video: &frame::Video) -> Self {
        let display = picture.layout().display;
        Self {
            stored: Stored::Device(Arc::new(picture)),
            display,
            times: Times::of(video),
            is_damaged: is_damaged(video),
        }
    }

    /// What was given to [`Decoder::send`](super::decode::Decoder::send) with the packet of this picture, or the packet's
    /// own timestamp.
    pub fn pts(&self) -> Option<i64> {
        self.times.pts
    }

    /// FFmpeg's guess where packets lack timestamps, in ticks.
    pub fn best_effort_pts(&self) -> Option<i64> {
        self.times.best_effort_pts
    }

    /// How long it is shown, in ticks; 0 if unknown.
    pub fn duration(&self) -> i64 {
        self.times.duration
    }

    /// Whether the decoder had to make parts of the picture up.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }

    pub fn display(&self) -> Display {
        self.display
    }

    /// The planes, where the decoder put them; `None` for a picture on a GPU, which only a decoder of
    /// [`Decoder::open_on`](super::decode::Decoder::open_on) gives.
    pub fn picture(&self) -> Option<Picture<'_>> {
        self.video().map(|video| picture_of(video, self.display))
    }

    /// `None` for a picture in host memory. Whoever reads it keeps it until that is done.
    pub fn device_picture(&self) -> Option<&Arc<DevicePicture>> {
        match &self.stored {
            Stored::Host(_) => None,
            Stored::Device(picture) => Some(picture),
        }
    }

    /// A copy in host memory, with the samples that a decoder in software would have put there.
    pub fn to_host(&self) -> Result<Self, MediaError> {
        let video = match &self.stored {
            Stored::Host(video) => video.clone(),
            Stored::Device(picture) => planar_from(&picture.download()?, picture.layout())?,
        };
        Ok(Self { stored: Stored::Host(video), ..*self })
    }

    /// `None` for a picture on a GPU.
    pub(super) fn video(&self) -> Option<&frame::Video> {
        match &self.stored {
            Stored::Host(video) => Some(video),
            Stored::Device(_) => None,
        }
    }
}

impl Times {
    fn of(video: &frame::Video) -> Self {
        Self { pts: video.pts(), best_effort_pts: video.timestamp(), duration: video.packet().duration }
    }
}

fn is_damaged(video: &frame::Video) -> bool {
    video.is_corrupt() || video.has_decode_errors()
}

/// The planes of a frame that is planar YUV.
pub(super) fn picture_of(video: &frame::Video, display: Display) -> Picture<'_> {
    let layout = PlanarLayout::of(video.format().into()).expect("frames are made of planar YUV only");
    let (width, height) = (video.width() as usize, video.height() as usize);
    let chroma_width = width.div_ceil(1 << layout.chroma_shift_x);
    let chroma_height = height.div_ceil(1 << layout.chroma_shift_y);
    let sample = if layout.depth > 8 { 2 } else { 1 };
    Picture {
        width,
        height,
        planes: [
            plane(video, 0, width * sample, height),
            plane(video, 1, chroma_width * sample, chroma_height),
            plane(video, 2, chroma_width * sample, chroma_height),
        ],
        depth: layout.depth,
        chroma_shift_x: layout.chroma_shift_x,
        chroma_shift_y: layout.chroma_shift_y,
        matrix: matrix_of(video),
        range: if layout.full_range { Range::Full } else { range_of(video) },
        display,
    }
}

fn plane(video: &frame::Video, index: usize, row_bytes: usize, rows: usize) -> Plane<'_> {
    // SAFETY: a frame from the decoder, the scaler or `planar_from` has, for each plane of its format, `rows` rows of at
    // least `row_bytes` bytes, `linesize` bytes apart, in a buffer that lives as long as the frame. `is_planar_yuv` has made
    // sure that the planes exist and that `linesize` is positive.
    unsafe {
        let frame = video.as_ptr();
        let stride = (*frame).linesize[index] as usize;
        let bytes = stride * (rows - 1) + row_bytes;
        Plane { data: std::slice::from_raw_parts((*frame).data[index], bytes), stride }
    }
}

pub(super) fn is_planar_yuv(video: &frame::Video) -> bool {
    // SAFETY: the frame is allocated; two plain fields are copied.
    let (data, strides) = unsafe { ((*video.as_ptr()).data, (*video.as_ptr()).linesize) };
    let planes_exist = data[..3].iter().all(|plane| !plane.is_null()) && strides[..3].iter().all(|stride| *stride > 0);
    planes_exist && PlanarLayout::of(video.format().into()).is_some()
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame").field("pts", &self.pts()).field("display", &self.display).finish_non_exhaustive()
    }
}
