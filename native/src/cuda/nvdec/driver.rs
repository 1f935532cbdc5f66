use super::{Capability, Chroma, Codec};
use crate::cuda::error::CudaError;
use crate::cuda::gpu::Gpu;
use crate::cuda::libraries::Component;
use crate::loader::said;
use libloading::os::unix::Library;
use std::ffi::{c_int, c_uchar, c_uint, c_ushort};

/// `CUVIDDECODECAPS` of NVIDIA's cuviddec.h, which has had this size since version 8 of the Video Codec SDK; the header of
/// version 11.1 gave the meanings of what was reserved before.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct DecodeCaps {
    codec_type: c_int,
    chroma_format: c_int,
    bit_depth_minus_8: c_uint,
    reserved1: [c_uint; 3],
    is_supported: c_uchar,
    num_nvdecs: c_uchar,
    output_format_mask: c_ushort,
    max_width: c_uint,
    max_height: c_uint,
    max_macroblocks: c_uint,
    min_width: c_ushort,
    min_height: c_ushort,
    is_histogram_supported: c_uchar,
    counter_bit_depth: c_uchar,
    max_histogram_bins: c_ushort,
    reserved3: [c_uint; 10],
}

type GetDecoderCaps = unsafe extern "C" fn(*mut DecodeCaps) -> c_int;

/// The call, and the GPU that it asks about.
pub(super) struct Asked {
    get: GetDecoderCaps,
    // The code of the call.
    _library: Library,
}

impl Asked {
    pub(super) fn of(gpu: &Gpu) -> Result<Self, CudaError> {
        let missing = |error| CudaError::Missing {
            what: "the NVIDIA driver's part for video is not there".to_owned(),
            reason: said(&error),
            remedy: Component::Nvdec.optional_remedy().expect("it is optional").to_owned(),
        };
        // SAFETY: a part of the driver, of which the constructors run.
        let library = unsafe { Library::new(Component::Nvdec.file()) }.map_err(missing)?;
        // SAFETY: this is the type that cuviddec.h gives the function.
        let get = *unsafe { library.get::<GetDecoderCaps>(b"cuvidGetDecoderCaps\0") }.map_err(missing)?;
        gpu.context().bind_to_thread().map_err(CudaError::of("ask what it decodes"))?;
        Ok(Self { get, _library: library })
    }

    /// What the GPU of the thread's context can do. The thread is that of [`Asked::of`].
    pub(super) fn about(&self, codec: Codec, chroma: Chroma, depth: u32) -> Result<Capability, CudaError> {
        let mut caps = question(codec, chroma, depth);
        // SAFETY: it reads and writes this one structure, which has the size that it expects.
        let status = unsafe { (self.get)(&raw mut caps) };
        match status {
            0 => Ok(answer(codec, chroma, depth, &caps)),
            // Some drivers say of a codec that they have never heard of that the value is invalid, or not supported.
            1 | 801 => Ok(answer(codec, chroma, depth, &DecodeCaps::default())),
            status => Err(CudaError::classify("ask what it decodes", status as u32, format!("CUDA error {status}"))),
        }
    }
}

fn question(codec: Codec, chroma: Chroma, depth: u32) -> DecodeCaps {
    DecodeCaps {
        codec_type: number_of(codec),
        chroma_format: match chroma {
            Chroma::Yuv420 => 1,
            Chroma::Yuv422 => 2,
            Chroma::Yuv444 => 3,
        },
        bit_depth_minus_8: depth - 8,
        ..DecodeCaps::default()
    }
}

pub(super) fn answer(codec: Codec, chroma: Chroma, depth: u32, caps: &DecodeCaps) -> Capability {
    let supported = caps.is_supported != 0;
    let if_supported = |number: u32| if supported { number } else { 0 };
    Capability {
        codec,
        chroma,
        depth,
        supported,
        least: (if_supported(caps.min_width.into()), if_supported(caps.min_height.into())),
        largest: (if_supported(caps.max_width), if_supported(caps.max_height)),
        most_macroblocks: if_supported(caps.max_macroblocks),
        // Drivers from before the number was told say 0.
        engines: if_supported(u32::from(caps.num_nvdecs).max(1)),
    }
}

/// `cudaVideoCodec` of cuviddec.h.
fn number_of(codec: Codec) -> c_int {
    match codec {
        Codec::Mpeg2 => 1,
        Codec::Mpeg4 => 2,
        Codec::Vc1 => 3,
        Codec::H264 => 4,
        Codec::Mjpeg => 5,
        Codec::Hevc => 8,
        Codec::Vp8 => 9,
        Codec::Vp9 => 10,
        Codec::Av1 => 11,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    /// As a C compiler lays out the header of libffmpeg-nvenc-dev 11.1.5.2 on `x86_64`.
    #[test]
    fn the_structure_is_laid_out_as_in_nvidias_header() {
        assert_eq!(size_of::<DecodeCaps>(), SIZE);
        assert_eq!(offset_of!(DecodeCaps, is_supported), 24);
        assert_eq!(offset_of!(DecodeCaps, num_nvdecs), 25);
        assert_eq!(offset_of!(DecodeCaps, max_width), 28);
        assert_eq!(offset_of!(DecodeCaps, max_macroblocks), 36);
        assert_eq!(offset_of!(DecodeCaps, min_height), 42);
        assert_eq!(offset_of!(DecodeCaps, reserved3), 48);
    }

    const SIZE: usize = 88;

    #[test]
    fn the_question_has_the_headers_numbers() {
        let asked = question(Codec::Hevc, Chroma::Yuv444, 12);
        assert_eq!((asked.codec_type, asked.chroma_format, asked.bit_depth_minus_8), (8, 3, 4));
    }

    #[test]
    fn what_is_not_supported_has_no_sizes() {
        let caps = DecodeCaps { max_width: 8192, num_nvdecs: 3, ..DecodeCaps::default() };
        let answered = answer(Codec::Av1, Chroma::Yuv420, 8, &caps);
        assert_eq!((answered.supported, answered.largest.0, answered.engines), (false, 0, 0));
    }
}
