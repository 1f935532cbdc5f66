//! Decoding on a GPU without one: FFmpeg's own NVDEC code and the driver's binding run on a pretended driver, which gives the
//! right pictures in the way of a GPU. What comes out must be what software gives.

#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "pretended_gpu/driver.rs"]
mod pretended_gpu;

use framefleet_contract::ErrorCode;
use framefleet_contract::detection_file::DecodedOn;
use framefleet_native::cuda::Gpu;
use framefleet_native::ffmpeg::decode::Frame;
use framefleet_native::ffmpeg::hardware::Hardware;
use framefleet_worker::decode::{DecodeCounts, DecodedFrame};
use framefleet_worker::error::Result;
use pretended_gpu::{Clip, Counts, Encoding, Held, PretendedGpu, in_its_own_process, nvdec_of};
use std::sync::{Arc, mpsc};
use std::thread;

const FRAMES: usize = 75;
const H264: &str = "-c:v libx264 -bf 3 -x264-params scenecut=0";
/// What comes out is what goes in next.
const H264_IN_ORDER: &str = "-c:v libx264 -bf 0 -x264-params scenecut=0";
const HEVC: &str = "-c:v libx265 -x265-params log-level=error:scenecut=0";
const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -auto-alt-ref 0";

/// A frame's number, its time, its samples, and whether it was on the GPU.
type Seen = (i64, i64, u32, bool);

/// Three seconds in pieces of one, encoded so.
fn clip(encoder: &str, pixel_format: &str) -> Clip {
    let input = "-f lavfi -i testsrc2=size=150x90:rate=25:duration=3";
    let encoder = &format!("{encoder} -g 25");
    let clip = Clip::new("clip", Encoding { input, encoder, pixel_format, segment: 1.0 });
    assert_eq!(clip.plan.segments.len(), 3);
    clip
}

fn decode(clip: &Clip, hardware: Option<&Arc<Hardware>>) -> Result<(Vec<Seen>, Vec<DecodeCounts>)> {
    let mut seen = Vec::new();
    // Pictures are kept for longer than NVDEC has surfaces, and dropped where nobody else calls the driver.
    let (keep, kept) = mpsc::channel::<Frame>();
    let counts = thread::scope(|scope| {
        let keep = keep;
        scope.spawn(move || drop(kept.iter().collect::<Vec<_>>()));
        clip.decode(hardware, &mut |decoded: DecodedFrame| {
            let DecodedFrame { number, pts_us, frame, .. } = decoded;
            seen.push((number, pts_us, frame.checksum().unwrap(), frame.device_picture().is_some()));
            keep.send(frame).unwrap();
            true
        })
    });
    counts.map(|counts| (seen, counts))
}

/// With the first frames on the GPU.
fn on_the_gpu(seen: &[Seen], frames: usize) -> Vec<Seen> {
    seen.iter().enumerate().map(|(i, seen)| (seen.0, seen.1, seen.2, i < frames)).collect()
}

fn comes_out_as_from_software(encoder: &str, pixel_format: &str) -> Counts {
    let clip = clip(encoder, pixel_format);
    let (expected, in_software) = decode(&clip, None).unwrap();
    let (seen, counts) = decode(&clip, Some(&nvdec_of(&PretendedGpu::SOUND.take_up()))).unwrap();
    let on_nvdec = |counts: &DecodeCounts| DecodeCounts { decoded_on: DecodedOn::Nvdec, ..counts.clone() };
    assert_eq!(counts, in_software.iter().map(on_nvdec).collect::<Vec<_>>());
    assert_eq!(seen.len(), FRAMES);
    assert_eq!(seen, on_the_gpu(&expected, FRAMES));
    let counts = Counts::at_the_end();
    assert_eq!(counts.uploaded_bytes, 0);
    counts
}

#[test]
fn h264_comes_out_as_from_software() {
    in_its_own_process(|| {
        let counts = comes_out_as_from_software(H264, "yuv420p");
        // Each segment but the last one decodes the first picture of the next one too.
        assert_eq!(counts.decoded_pictures as usize, FRAMES + 2);
    });
}

#[test]
fn hevc_of_ten_bits_comes_out_as_from_software() {
    in_its_own_process(|| {
        comes_out_as_from_software(HEVC, "yuv420p10le");
    });
}

#[test]
fn vp9_comes_out_as_from_software() {
    in_its_own_process(|| {
        comes_out_as_from_software(VP9, "yuv420p");
    });
}

/// A GPU that fails at the 41st picture, and its decoder.
fn failing(error: u32) -> (Arc<Gpu>, Arc<Hardware>) {
    let gpu = PretendedGpu { failing_picture: Some((40, error)), ..PretendedGpu::SOUND }.take_up();
    let hardware = nvdec_of(&gpu);
    (gpu, hardware)
}

#[test]
fn where_nvdec_fails_software_goes_on_with_the_next_frame() {
    in_its_own_process(|| {
        let clip = clip(H264_IN_ORDER, "yuv420p");
        let (expected, _) = decode(&clip, None).unwrap();
        // Invalid value: an error that passes.
        let (gpu, hardware) = failing(1);
        let (seen, counts) = decode(&clip, Some(&hardware)).unwrap();
        let from = seen.iter().filter(|seen| seen.3).count();
        assert!((26..40).contains(&from), "{from} frames are from the GPU");
        assert_eq!(seen, on_the_gpu(&expected, from));
        let on: Vec<_> = counts.iter().map(|counts| counts.decoded_on).collect();
        assert_eq!(on, [DecodedOn::Nvdec, DecodedOn::Software, DecodedOn::Software]);
        let reasons: Vec<_> = counts.iter().map(|counts| counts.software_because.clone()).collect();
        assert_eq!((&reasons[0], &reasons[1]), (&None, &reasons[2]));
        let said = reasons[1].as_deref().unwrap();
        assert!(said.contains("cuvidDecodePicture") && said.contains("CUDA_ERROR_PRETENDED"), "{said}");
        drop((gpu, hardware));
        assert_eq!(Counts::at_the_end().decoded_pictures, 41);
    });
}

#[test]
fn a_gpu_that_is_lost_ends_the_work() {
    in_its_own_process(|| {
        let clip = clip(H264_IN_ORDER, "yuv420p");
        // Unspecified launch failure: an error that stays.
        let (gpu, hardware) = failing(719);
        let error = decode(&clip, Some(&hardware)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeviceLost, "{error}");
        drop((gpu, hardware));
        // A lost GPU takes nothing back but what the host has of it.
        let Counts { held: Held { decoders, streams, .. }, calls_without_context, decoded_pictures, .. } =
            Counts::now();
        assert_eq!((decoders, streams, calls_without_context, decoded_pictures), (0, 0, 0, 41));
    });
}
