use super::*;

/// Of an H100: H.264 in 4:2:0 with 8 bits, HEVC with up to 12 and 4:4:4, VP9 in 4:2:0, no AV1 (NVIDIA's support matrix of NVDEC).
fn h100() -> Capabilities {
    let capability = |codec, chroma, depth, side: u32| Capability {
        codec,
        chroma,
        depth,
        supported: true,
        least: (48, 16),
        largest: (side, side),
        most_macroblocks: side * side / 256,
        engines: 7,
    };
    let unable =
        Capability { supported: false, largest: (0, 0), engines: 0, ..capability(Codec::Av1, Chroma::Yuv420, 8, 0) };
    let hevc = [8, 10, 12]
        .into_iter()
        .flat_map(|depth| [Chroma::Yuv420, Chroma::Yuv444].map(|chroma| capability(Codec::Hevc, chroma, depth, 8192)));
    [capability(Codec::H264, Chroma::Yuv420, 8, 4096), capability(Codec::Vp9, Chroma::Yuv420, 8, 8192), unable]
        .into_iter()
        .chain(hevc)
        .collect()
}

#[test]
fn what_the_table_has_can_be_decoded() {
    assert_eq!(h100().can_decode(Codec::H264, Chroma::Yuv420, 8, (1920, 1088)), Ok(()));
    assert_eq!(h100().can_decode(Codec::Hevc, Chroma::Yuv444, 12, (8192, 8192)), Ok(()));
    assert_eq!(h100().engines(), 7);
}

#[test]
fn a_codec_that_the_gpu_lacks_is_refused_by_its_name() {
    for codec in [Codec::Av1, Codec::Mjpeg] {
        let refused = h100().can_decode(codec, Chroma::Yuv420, 8, (1920, 1080)).unwrap_err();
        assert_eq!(refused, format!("this GPU's decoder has no {codec}"));
    }
}

#[test]
fn another_chroma_or_depth_is_refused_with_what_there_is() {
    let refused = h100().can_decode(Codec::H264, Chroma::Yuv422, 10, (1920, 1080)).unwrap_err();
    assert_eq!(refused, "this GPU's decoder has H.264 as 4:2:0 8 bit, and not as 4:2:2 10 bit");
    assert!(h100().can_decode(Codec::H264, Chroma::Yuv420, 10, (1920, 1080)).is_err());
}

#[test]
fn pictures_that_are_too_small_or_too_large_are_refused_with_the_bound() {
    let small = h100().can_decode(Codec::H264, Chroma::Yuv420, 8, (32, 32)).unwrap_err();
    assert!(small.contains("48x16") && small.contains("32x32"), "{small}");
    let large = h100().can_decode(Codec::H264, Chroma::Yuv420, 8, (7680, 4320)).unwrap_err();
    assert!(large.contains("4096x4096") && large.contains("7680x4320"), "{large}");
}

#[test]
fn a_picture_within_both_sides_can_have_too_many_macroblocks() {
    let mut able = h100();
    for capability in &mut able.0 {
        capability.most_macroblocks = 36_864;
    }
    assert_eq!(able.can_decode(Codec::H264, Chroma::Yuv420, 8, (4096, 2304)), Ok(()));
    let refused = able.can_decode(Codec::H264, Chroma::Yuv420, 8, (4096, 2320)).unwrap_err();
    assert!(refused.contains("9.4 megapixels"), "{refused}");
}
