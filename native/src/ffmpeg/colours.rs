//! What a frame says of its colours.

use crate::picture::{Matrix, Range};
use ffmpeg::{ffi, frame};
use ffmpeg_next as ffmpeg;

/// A frame's colour matrix and range as the integers that they are. A file can hold any value there, also such that
/// FFmpeg's enums have no name for and that must not become a Rust enum.
pub(super) fn colours_of(video: &frame::Video) -> (i32, i32) {
    // SAFETY: the frame is allocated; the fields are C enums, which have the size of an `int`.
    unsafe {
        let frame = video.as_ptr();
        ((&raw const (*frame).colorspace).cast::<i32>().read(), (&raw const (*frame).color_range).cast::<i32>().read())
    }
}

pub(super) fn matrix_of(video: &frame::Video) -> Matrix {
    const BT709: i32 = ffi::AVColorSpace::AVCOL_SPC_BT709 as i32;
    const BT2020_NCL: i32 = ffi::AVColorSpace::AVCOL_SPC_BT2020_NCL as i32;
    const BT2020_CL: i32 = ffi::AVColorSpace::AVCOL_SPC_BT2020_CL as i32;
    match colours_of(video).0 {
        BT709 => Matrix::Bt709,
        BT2020_NCL | BT2020_CL => Matrix::Bt2020,
        _ => Matrix::Bt601,
    }
}

pub(super) fn range_of(video: &frame::Video) -> Range {
    if colours_of(video).1 == FULL_RANGE { Range::Full } else { Range::Limited }
}

pub(super) const FULL_RANGE: i32 = ffi::AVColorRange::AVCOL_RANGE_JPEG as i32;
