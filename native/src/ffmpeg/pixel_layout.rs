//! What the name of a pixel format says of the samples.

use ffmpeg::ffi::{self, AVPixelFormat};
use ffmpeg_next as ffmpeg;
use std::ffi::CString;

/// Of planar YUV with integer samples of 8 to 16 bits, little endian, in three planes of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlanarLayout {
    pub depth: u32,
    pub chroma_shift_x: u32,
    pub chroma_shift_y: u32,
    /// The format itself says so: `yuvj420p` and its kin.
    pub full_range: bool,
}

impl PlanarLayout {
    /// `None` for everything else.
    pub fn of(format: AVPixelFormat) -> Option<Self> {
        // SAFETY: a known format gives a static descriptor, an unknown one null.
        let descriptor = unsafe { ffi::av_pix_fmt_desc_get(format).as_ref() }?;
        let unwanted = ffi::AV_PIX_FMT_FLAG_BE
            | ffi::AV_PIX_FMT_FLAG_PAL
            | ffi::AV_PIX_FMT_FLAG_BITSTREAM
            | ffi::AV_PIX_FMT_FLAG_HWACCEL
            | ffi::AV_PIX_FMT_FLAG_RGB
            | ffi::AV_PIX_FMT_FLAG_FLOAT;
        let wanted = ffi::AV_PIX_FMT_FLAG_PLANAR;
        if descriptor.flags & u64::try_from(unwanted).ok()? != 0 || descriptor.flags & u64::try_from(wanted).ok()? == 0
        {
            return None;
        }
        let depth = u32::try_from(descriptor.comp[0].depth).ok().filter(|depth| (8..=16).contains(depth))?;
        let step = if depth > 8 { 2 } else { 1 };
        let own_planes = (0..3).all(|i| {
            let component = descriptor.comp[i];
            component.plane == i as i32 && component.step == step && component.shift == 0 && component.offset == 0
        });
        (descriptor.nb_components >= 3 && own_planes).then(|| Self {
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

    /// Of the format that FFmpeg calls so.
    pub fn named(name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the name is a C string, and only read.
        Self::of(unsafe { ffi::av_get_pix_fmt(name.as_ptr()) })
    }

    /// Chroma of half the width and half the height.
    pub fn is_420(&self) -> bool {
        (self.chroma_shift_x, self.chroma_shift_y) == (1, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_depth_and_chroma() {
        let layout = |name| PlanarLayout::named(name).map(|layout| (layout.depth, layout.is_420(), layout.full_range));
        assert_eq!(layout("yuv420p"), Some((8, true, false)));
        assert_eq!(layout("yuvj420p"), Some((8, true, true)));
        assert_eq!(layout("yuv420p10le"), Some((10, true, false)));
        assert_eq!(layout("yuv422p"), Some((8, false, false)));
        for other in ["gray", "nv12", "cuda", "rgb24", "unknown", "", "a\0b"] {
            assert_eq!(layout(other), None, "{other}");
        }
    }
}
