//! Which streams NVDEC decodes.

use super::super::pixel_layout::PlanarLayout;

/// What decides on what a stream is decoded.
#[derive(Debug, Clone, Copy)]
pub struct StreamFacts<'a> {
    /// FFmpeg's short names.
    pub codec: &'a str,
    pub pixel_format: &'a str,
    /// Pixels as coded.
    pub width: u32,
    pub height: u32,
    /// The plan puts up with damage.
    pub clears_pictures: bool,
}

/// What a GPU is asked about: a stream whose chroma is 4:2:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// FFmpeg's short name.
    pub codec: &'a str,
    /// Bits of a sample: 8, 10 or 12.
    pub depth: u32,
    /// Pixels as coded.
    pub width: u32,
    pub height: u32,
}

/// Whether the GPU's NVDEC decodes such a stream, or why not.
pub type CanDecode = dyn Fn(&Asked<'_>) -> Result<(), String> + Send + Sync;

/// Where a stream is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HardwareChoice {
    Nvdec {
        /// What it takes of the GPU's memory at most.
        bytes: u64,
    },
    Software {
        /// To go on after "because".
        reason: String,
    },
}

/// The codecs that are decoded to the same bits by every decoder, since their standards say so, each with the most
/// surfaces that FFmpeg has NVDEC make for it: the pictures that are referred to or wait for their turn, and two.
/// NVDEC makes 32 at most.
const EXACT_CODECS: [(&str, u64); 5] = [("h264", 32), ("hevc", 20), ("vp8", 6), ("vp9", 12), ("av1", 12)];

/// Copies that wait for a model or are looked at, of one of many sources: all of them share some 128 places. One that is
/// alone has more of these, and nearly all of the memory.
const PICTURES_IN_FLIGHT: u64 = 16;

/// Where a stream is decoded, and what for.
pub fn choose(stream: &StreamFacts<'_>, can_decode: &CanDecode) -> HardwareChoice {
    match bytes_on_nvdec(stream, can_decode) {
        Ok(bytes) => HardwareChoice::Nvdec { bytes },
        Err(reason) => HardwareChoice::Software { reason },
    }
}

fn bytes_on_nvdec(stream: &StreamFacts<'_>, can_decode: &CanDecode) -> Result<u64, String> {
    let StreamFacts { codec, pixel_format, width, height, clears_pictures } = *stream;
    let Some((_, surfaces)) = EXACT_CODECS.iter().find(|(exact, _)| *exact == codec) else {
        return Err(format!("decoders of {codec} differ in the last bits, and pictures are compared between workers"));
    };
    if clears_pictures {
        return Err("the plan puts up with damage, and what NVDEC makes of damage is not to be foreseen".to_owned());
    }
    let depth = match PlanarLayout::named(pixel_format) {
        Some(layout) if layout.is_420() && matches!(layout.depth, 8 | 10 | 12) => layout.depth,
        _ => return Err(format!("its pixels are {pixel_format}, and those from NVDEC are 4:2:0 of 8, 10 or 12 bits")),
    };
    can_decode(&Asked { codec, depth, width, height })?;
    // Each surface is copied to another one before FFmpeg gives it.
    Ok((2 * surfaces + PICTURES_IN_FLIGHT) * picture_bytes(depth, width, height))
}

/// Rows begin at multiples of 256 bytes, and blocks of 64 rows are whole.
fn picture_bytes(depth: u32, width: u32, height: u32) -> u64 {
    let row = (u64::from(width) * if depth > 8 { 2 } else { 1 }).next_multiple_of(256);
    let luma = row.saturating_mul(u64::from(height).next_multiple_of(64));
    luma.saturating_add(luma / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HD: StreamFacts<'_> =
        StreamFacts { codec: "h264", pixel_format: "yuv420p", width: 1920, height: 1080, clears_pictures: false };

    fn reason(stream: &StreamFacts<'_>, can_decode: &CanDecode) -> String {
        match choose(stream, can_decode) {
            HardwareChoice::Software { reason } => reason,
            HardwareChoice::Nvdec { .. } => String::new(),
        }
    }

    #[test]
    fn what_the_gpu_can_do_is_decoded_on_it() {
        let bytes = |stream: &StreamFacts<'_>, depth| {
            let asked = Asked { codec: "hevc", depth, width: stream.width, height: stream.height };
            let choice = choose(stream, &move |seen| {
                assert_eq!((seen.codec, seen.depth), (asked.codec, asked.depth));
                assert_eq!((seen.width, seen.height), (1920, 1080));
                Ok(())
            });
            match choice {
                HardwareChoice::Nvdec { bytes } => bytes,
                HardwareChoice::Software { reason } => panic!("{reason}"),
            }
        };
        let hevc = StreamFacts { codec: "hevc", ..HD };
        let usual = bytes(&hevc, 8);
        // 56 pictures of 2048 x 1088 and half of it.
        assert_eq!(usual, 56 * 2048 * 1088 * 3 / 2);
        let deep = bytes(&StreamFacts { pixel_format: "yuv420p10le", ..hevc }, 10);
        assert_eq!(deep, usual / 2048 * 3840, "two bytes a sample, 3840 is a multiple of 256");
        assert_eq!(bytes(&StreamFacts { pixel_format: "yuvj420p", ..hevc }, 8), usual);
        assert_eq!(bytes(&StreamFacts { pixel_format: "yuv420p12le", ..hevc }, 12), deep);
    }

    #[test]
    fn codecs_whose_decoders_differ_stay_in_software() {
        for codec in ["mpeg2video", "mpeg4", "vc1", "mjpeg", "prores"] {
            let said = reason(&StreamFacts { codec, ..HD }, &|_| Ok(()));
            assert!(said.contains(codec) && said.contains("last bits"), "{said}");
        }
        for codec in ["h264", "hevc", "vp8", "vp9", "av1"] {
            assert_eq!(reason(&StreamFacts { codec, ..HD }, &|_| Ok(())), "");
        }
    }

    #[test]
    fn damage_stays_in_software() {
        let said = reason(&StreamFacts { clears_pictures: true, ..HD }, &|_| Ok(()));
        assert!(said.contains("damage"), "{said}");
    }

    #[test]
    fn pixels_that_nvdec_does_not_give_stay_in_software() {
        for pixel_format in ["gray", "yuv422p", "yuv444p10le", "yuv420p9le", "gbrp", "unknown"] {
            let said = reason(&StreamFacts { pixel_format, ..HD }, &|_| Ok(()));
            assert!(said.contains(pixel_format) && said.contains("4:2:0"), "{said}");
        }
    }

    #[test]
    fn what_the_gpu_cannot_do_stays_in_software_with_its_words() {
        assert_eq!(reason(&HD, &|asked| Err(format!("{} is too wide", asked.width))), "1920 is too wide");
    }
}
