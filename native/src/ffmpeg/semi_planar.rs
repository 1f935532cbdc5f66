//! NVDEC's pictures, in which both chromas share a plane, as the planar ones that a decoder in software gives.

use super::MediaError;
use crate::cuda::SemiPlanar;
use crate::picture::{Matrix, Range};
use ffmpeg::ffi::{self, AVPixelFormat};
use ffmpeg::frame;
use ffmpeg_next as ffmpeg;

/// The same samples in planes of their own, in the low bits. `bytes` are both planes as `layout` says.
///
/// # Errors
/// For a depth other than 8, 10 or 12, and where `bytes` are fewer than the layout's.
pub(super) fn planar_from(bytes: &[u8], layout: &SemiPlanar) -> Result<frame::Video, MediaError> {
    let failed = |reason: String| MediaError::Failed { action: "part the planes of a picture", reason };
    let format = match layout.depth {
        8 => AVPixelFormat::AV_PIX_FMT_YUV420P,
        10 => AVPixelFormat::AV_PIX_FMT_YUV420P10LE,
        12 => AVPixelFormat::AV_PIX_FMT_YUV420P12LE,
        other => return Err(failed(format!("its samples have {other} bits"))),
    };
    if bytes.len() < layout.bytes() || layout.width == 0 || layout.height == 0 {
        return Err(failed(format!("{} bytes do not hold {layout:?}", bytes.len())));
    }
    let mut video = frame::Video::new(format.into(), layout.width as u32, layout.height as u32);
    if !super::frame::is_planar_yuv(&video) {
        return Err(failed("there is no memory for it".to_owned()));
    }
    // SAFETY: the frame is owned here; only plain fields are set.
    unsafe {
        (*video.as_mut_ptr()).colorspace = match layout.matrix {
            Matrix::Bt601 => ffi::AVColorSpace::AVCOL_SPC_SMPTE170M,
            Matrix::Bt709 => ffi::AVColorSpace::AVCOL_SPC_BT709,
            Matrix::Bt2020 => ffi::AVColorSpace::AVCOL_SPC_BT2020_NCL,
        };
        (*video.as_mut_ptr()).color_range = match layout.range {
            Range::Limited => ffi::AVColorRange::AVCOL_RANGE_MPEG,
            Range::Full => ffi::AVColorRange::AVCOL_RANGE_JPEG,
        };
    }
    let (luma, chroma) = bytes.split_at(layout.chroma_offset());
    let sample = layout.sample_bytes();
    let luma_rows = luma.chunks_exact(layout.pitch).map(|row| &row[..layout.luma_row_bytes()]);
    fill(&mut video, 0, layout, luma_rows.map(|row| row.chunks_exact(sample)));
    for index in [1, 2] {
        let chroma_rows = chroma.chunks_exact(layout.pitch).map(|row| &row[..layout.chroma_row_bytes()]);
        let own =
            chroma_rows.map(|row| row.chunks_exact(2 * sample).map(|pair| &pair[(index - 1) * sample..][..sample]));
        fill(&mut video, index, layout, own);
    }
    Ok(video)
}

/// Writes one plane, row by row and sample by sample.
fn fill<'a, R: Iterator<Item = &'a [u8]>>(
    video: &mut frame::Video,
    index: usize,
    layout: &SemiPlanar,
    rows: impl Iterator<Item = R>,
) {
    let stride = video.stride(index);
    let sample = layout.sample_bytes();
    for (target, row) in video.data_mut(index).chunks_mut(stride).zip(rows) {
        for (target, source) in target.chunks_exact_mut(sample).zip(row) {
            match *source {
                [low, high] => {
                    let value = u16::from_le_bytes([low, high]) >> (16 - layout.depth);
                    target.copy_from_slice(&value.to_le_bytes());
                }
                _ => target.copy_from_slice(source),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffmpeg::checksum::checksum_of;
    use crate::ffmpeg::frame::picture_of;
    use crate::picture::{Display, Picture, Plane, Rotation};

    const DISPLAY: Display = Display { width: 1, height: 1, rotation: Rotation::None };

    /// Samples of a picture by plane, row by row.
    struct Samples {
        width: usize,
        height: usize,
        depth: u32,
        planes: [Vec<u16>; 3],
    }

    impl Samples {
        fn new(width: usize, height: usize, depth: u32) -> Self {
            let of = |plane: usize, samples: usize| {
                (0..samples).map(|i| ((i * 37 + plane * 101 + 5) % (1 << depth)) as u16).collect()
            };
            let chroma = width.div_ceil(2) * height.div_ceil(2);
            Self { width, height, depth, planes: [of(0, width * height), of(1, chroma), of(2, chroma)] }
        }

        /// As a decoder in software gives it, without padding.
        fn planar_checksum(&self) -> u32 {
            let bytes = |plane: &Vec<u16>| -> Vec<u8> {
                if self.depth > 8 {
                    plane.iter().flat_map(|sample| sample.to_le_bytes()).collect()
                } else {
                    plane.iter().map(|sample| *sample as u8).collect()
                }
            };
            let planes = self.planes.each_ref().map(bytes);
            let sample = if self.depth > 8 { 2 } else { 1 };
            let chroma = self.width.div_ceil(2);
            let plane = |index: usize, columns: usize| Plane { data: &planes[index], stride: columns * sample };
            checksum_of(&Picture {
                width: self.width,
                height: self.height,
                planes: [plane(0, self.width), plane(1, chroma), plane(2, chroma)],
                depth: self.depth,
                chroma_shift_x: 1,
                chroma_shift_y: 1,
                matrix: Matrix::Bt709,
                range: Range::Limited,
                display: DISPLAY,
            })
        }

        /// As NVDEC gives it, with other bytes between the rows.
        fn semi_planar(&self) -> (Vec<u8>, SemiPlanar) {
            let layout =
                SemiPlanar::packed(self.width, self.height, self.depth).seen_as(Matrix::Bt709, Range::Full, DISPLAY);
            let mut bytes = vec![0xa5; layout.bytes()];
            let mut put = |at: usize, value: u16| {
                if self.depth > 8 {
                    bytes[at..at + 2].copy_from_slice(&(value << (16 - self.depth)).to_le_bytes());
                } else {
                    bytes[at] = value as u8;
                }
            };
            let (sample, columns) = (layout.sample_bytes(), self.width.div_ceil(2));
            for (i, value) in self.planes[0].iter().enumerate() {
                put(i / self.width * layout.pitch + i % self.width * sample, *value);
            }
            for (second, plane) in self.planes[1..].iter().enumerate() {
                for (i, value) in plane.iter().enumerate() {
                    let row = layout.chroma_offset() + i / columns * layout.pitch;
                    put(row + (2 * (i % columns) + second) * sample, *value);
                }
            }
            (bytes, layout)
        }
    }

    #[test]
    fn a_picture_from_the_gpu_has_the_checksum_of_the_same_one_from_software() {
        for (width, height) in [(64, 48), (1, 1), (35, 17), (258, 3)] {
            for depth in [8, 10, 12] {
                let samples = Samples::new(width, height, depth);
                let (bytes, layout) = samples.semi_planar();
                let video = planar_from(&bytes, &layout).unwrap();
                let picture = picture_of(&video, DISPLAY);
                assert_eq!(checksum_of(&picture), samples.planar_checksum(), "{width}x{height} of {depth} bits");
                assert_eq!((picture.matrix, picture.range), (Matrix::Bt709, Range::Full));
            }
        }
    }

    #[test]
    fn the_checksum_sees_every_plane() {
        let samples = Samples::new(35, 17, 10);
        for plane in 0..3 {
            let mut other = Samples::new(35, 17, 10);
            *other.planes[plane].last_mut().unwrap() ^= 1;
            assert_ne!(samples.planar_checksum(), other.planar_checksum());
        }
    }

    #[test]
    fn bytes_that_do_not_hold_the_picture_are_an_error() {
        let (bytes, layout) = Samples::new(4, 4, 8).semi_planar();
        assert!(planar_from(&bytes[1..], &layout).is_err());
        assert!(planar_from(&bytes, &SemiPlanar { depth: 9, ..layout }).is_err());
        assert!(planar_from(&bytes, &SemiPlanar { height: 0, ..layout }).is_err());
    }
}
