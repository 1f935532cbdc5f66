//! What a GPU's decoder of video (NVDEC) can do: asked of the driver, since it differs from one GPU to the next.

mod driver;

use super::error::CudaError;
use super::gpu::Gpu;
use std::fmt;

/// The codecs that are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    H264,
    Hevc,
    Vp8,
    Vp9,
    Av1,
    Mpeg2,
    Mpeg4,
    Vc1,
    Mjpeg,
}

/// How chroma is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chroma {
    Yuv420,
    Yuv422,
    Yuv444,
}

/// What the decoder can do with one kind of video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capability {
    pub codec: Codec,
    pub chroma: Chroma,
    /// Bits of a sample.
    pub depth: u32,
    /// The others are 0 where this is false.
    pub supported: bool,
    /// As coded, in pixels.
    pub least: (u32, u32),
    /// As coded, in pixels.
    pub largest: (u32, u32),
    /// Of 16x16 pixels, in a picture.
    pub most_macroblocks: u32,
    /// Decoders on the GPU that can do it, side by side.
    pub engines: u32,
}

/// Everything that was asked of one GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities(Vec<Capability>);

/// Asks the GPU's driver about every codec, chroma and depth.
///
/// # Errors
/// [`CudaError::Missing`] where the driver's part for video is not installed.
pub fn capabilities(gpu: &Gpu) -> Result<Capabilities, CudaError> {
    let asked = driver::Asked::of(gpu)?;
    let mut all = Vec::new();
    for &codec in Codec::ALL {
        for &chroma in Chroma::ALL {
            for depth in DEPTHS {
                all.push(asked.about(codec, chroma, depth)?);
            }
        }
    }
    Ok(Capabilities(all))
}

const DEPTHS: [u32; 3] = [8, 10, 12];

impl Capabilities {
    pub fn all(&self) -> &[Capability] {
        &self.0
    }

    /// The kinds of video of this codec that can be decoded.
    pub fn of(&self, codec: Codec) -> impl Iterator<Item = &Capability> {
        self.0.iter().filter(move |capability| capability.codec == codec && capability.supported)
    }

    /// Decoders on the GPU, which work side by side.
    pub fn engines(&self) -> u32 {
        self.0.iter().map(|capability| capability.engines).max().unwrap_or(0)
    }

    /// Whether a video of this kind can be decoded, or a sentence that says why not. Width and height are as coded, in
    /// pixels; depth is the bits of a sample.
    pub fn can_decode(
        &self,
        codec: Codec,
        chroma: Chroma,
        depth: u32,
        (width, height): (u32, u32),
    ) -> Result<(), String> {
        if self.of(codec).next().is_none() {
            return Err(format!("this GPU's decoder has no {codec}"));
        }
        let Some(able) = self.of(codec).find(|able| able.chroma == chroma && able.depth == depth) else {
            let kinds: Vec<String> = self.of(codec).map(|able| format!("{} {} bit", able.chroma, able.depth)).collect();
            let kinds = kinds.join(", ");
            return Err(format!("this GPU's decoder has {codec} as {kinds}, and not as {chroma} {depth} bit"));
        };
        let ((least_width, least_height), (most_width, most_height)) = (able.least, able.largest);
        if width < least_width || height < least_height {
            return Err(format!(
                "this GPU's decoder has {codec} from {least_width}x{least_height} pixels on, and this video has {width}x{height}"
            ));
        }
        let macroblocks = u64::from(width.div_ceil(16)) * u64::from(height.div_ceil(16));
        if width > most_width || height > most_height || macroblocks > u64::from(able.most_macroblocks) {
            let megapixels = f64::from(able.most_macroblocks) * 256.0 / 1e6;
            return Err(format!(
                "this GPU's decoder has {codec} up to {most_width}x{most_height} pixels and {megapixels:.1} megapixels, and this video has {width}x{height}"
            ));
        }
        Ok(())
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().collect())
    }
}

impl Codec {
    pub const ALL: &'static [Self] =
        &[Self::H264, Self::Hevc, Self::Vp8, Self::Vp9, Self::Av1, Self::Mpeg2, Self::Mpeg4, Self::Vc1, Self::Mjpeg];
}

impl Chroma {
    pub const ALL: &'static [Self] = &[Self::Yuv420, Self::Yuv422, Self::Yuv444];
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Vp8 => "VP8",
            Self::Vp9 => "VP9",
            Self::Av1 => "AV1",
            Self::Mpeg2 => "MPEG-2",
            Self::Mpeg4 => "MPEG-4",
            Self::Vc1 => "VC-1",
            Self::Mjpeg => "MJPEG",
        })
    }
}

impl fmt::Display for Chroma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Yuv420 => "4:2:0",
            Self::Yuv422 => "4:2:2",
            Self::Yuv444 => "4:4:4",
        })
    }
}

#[cfg(test)]
mod tests;
