//! Codecs, containers, pixel formats, sizes and timings: every frame is seen, once, at its time, upright and in its colours.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::detection_file::Row;
use framefleet_tests::agreement::{Demand, assert_same, greatest_difference};
use framefleet_tests::{Detector, Job, Scratch, clip, repository};
use std::path::{Path, PathBuf};

/// Fails unless the program sees the frames that `ffprobe` does, at the times that it gives.
fn assert_every_frame_is_seen(scratch: &Scratch, path: &Path) -> Job {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let expected = clip::frame_times_us(path);
    assert!(expected.len() > 1 && expected.is_sorted(), "{name} is no clip to test with: {expected:?}");
    let job = scratch.call(Detector::Colours, &[path]).run().job();
    let times = job.times_us();
    let numbers: Vec<i64> = times.keys().copied().collect();
    assert_eq!(numbers, (0..expected.len() as i64).collect::<Vec<_>>(), "{name}: frame numbers");
    assert_eq!(times.into_values().collect::<Vec<_>>(), expected, "{name}: times");
    let frames = job.summary().frames;
    assert_eq!((frames.decoded, frames.inferred), (expected.len() as u64, expected.len() as u64), "{name}");
    assert_eq!((frames.damaged, frames.skipped, frames.dropped), (0, 0, 0), "{name}");
    job
}

fn assert_containers_agree(encoder: &str, containers: &[&str]) {
    let scratch = Scratch::new();
    for container in containers {
        let path = scratch.clip(&format!("clip.{container}"), &clip::moving("160x96", 1), encoder);
        assert_every_frame_is_seen(&scratch, &path);
    }
}

const X264: &str = "-c:v libx264 -preset ultrafast";
/// As much of the picture as the pixel format holds.
const LOSSLESS: &str = "-c:v libx264 -preset ultrafast -qp 0";

#[test]
fn h264_with_b_frames_in_mp4_mov_mkv_avi_and_ts() {
    let encoder = format!("{X264} -bf 2 -x264-params b-adapt=0 -pix_fmt yuv420p");
    assert_containers_agree(&encoder, &["mp4", "mov", "mkv", "avi", "ts"]);
}

#[test]
fn hevc_with_b_frames_in_mp4_mov_mkv_and_ts() {
    let encoder = "-c:v libx265 -preset ultrafast -x265-params log-level=error:bframes=2:b-adapt=0 -pix_fmt yuv420p";
    assert_containers_agree(encoder, &["mp4", "mov", "mkv", "ts"]);
}

#[test]
fn vp9_in_mp4_mkv_webm_and_avi() {
    let encoder = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p";
    assert_containers_agree(encoder, &["mp4", "mkv", "webm", "avi"]);
}

/// Good quality makes pictures that are decoded and never shown.
#[test]
fn vp9_with_hidden_reference_pictures() {
    let encoder = "-c:v libvpx-vp9 -deadline good -cpu-used 5 -auto-alt-ref 1 -lag-in-frames 16 -pix_fmt yuv420p";
    assert_containers_agree(encoder, &["mp4", "webm"]);
}

#[test]
fn av1_of_libaom_in_mp4_mkv_webm_and_avi() {
    let encoder = "-c:v libaom-av1 -usage realtime -cpu-used 8 -pix_fmt yuv420p";
    assert_containers_agree(encoder, &["mp4", "mkv", "webm", "avi"]);
}

#[test]
fn av1_of_svt_in_mp4_mkv_and_webm() {
    assert_containers_agree("-c:v libsvtav1 -preset 12 -pix_fmt yuv420p", &["mp4", "mkv", "webm"]);
}

#[test]
fn mpeg4_with_b_frames_in_mp4_mov_mkv_avi_and_ts() {
    assert_containers_agree("-c:v mpeg4 -bf 2 -pix_fmt yuv420p", &["mp4", "mov", "mkv", "avi", "ts"]);
}

#[test]
fn mpeg2_with_b_frames_in_mp4_mov_mkv_avi_and_ts() {
    assert_containers_agree("-c:v mpeg2video -bf 2 -pix_fmt yuv420p", &["mp4", "mov", "mkv", "avi", "ts"]);
}

#[test]
fn interlaced_mpeg2_and_h264() {
    assert_containers_agree("-c:v mpeg2video -flags +ildct+ilme -pix_fmt yuv420p", &["ts", "mkv"]);
    assert_containers_agree(&format!("{X264} -x264-params tff=1 -pix_fmt yuv420p"), &["ts", "mp4"]);
}

#[test]
fn mjpeg_in_mp4_mov_mkv_and_avi() {
    assert_containers_agree("-c:v mjpeg -pix_fmt yuvj420p", &["mp4", "mov", "mkv", "avi"]);
}

#[test]
fn fragmented_mp4_and_an_offset_start() {
    let scratch = Scratch::new();
    for (name, options) in [
        ("fragmented.mp4", "-g 10 -movflags frag_keyframe+empty_moov"),
        ("late.mkv", "-output_ts_offset 7.3"),
        ("late.ts", "-output_ts_offset 3600"),
    ] {
        let options = format!("{X264} -bf 2 -pix_fmt yuv420p {options}");
        assert_every_frame_is_seen(&scratch, &scratch.clip(name, &clip::moving("160x96", 1), &options));
    }
}

/// The start is cut off by an edit list, which hides pictures that others are made from.
#[test]
fn an_edit_list_hides_what_comes_before_it() {
    let scratch = Scratch::new();
    let options = format!("{X264} -g 25 -bf 2 -pix_fmt yuv420p");
    let whole = scratch.clip("whole.mp4", &clip::moving("160x96", 2), &options);
    let from = [vec!["-ss".to_owned(), "0.5".to_owned()], clip::from(&whole)].concat();
    let cut = scratch.clip("cut.mp4", &from, "-c copy");
    let frames = assert_every_frame_is_seen(&scratch, &cut).summary().frames;
    assert!(frames.decoded < frames.packets, "no picture is hidden: {frames:?}");
}

#[test]
fn a_variable_frame_rate_keeps_every_time() {
    let scratch = Scratch::new();
    // Frames 40 ms apart, of which two in five are left out, and a pause of a second after the 20th.
    let timing = "-vf select='lt(mod(n\\,5)\\,3)',setpts='PTS+gte(N\\,20)/TB' -vsync vfr -enc_time_base 1/1000";
    for name in ["uneven.mp4", "uneven.mkv", "uneven.ts"] {
        let options = format!("{timing} {X264} -bf 2 -pix_fmt yuv420p");
        let path = scratch.clip(name, &clip::moving("160x96", 2), &options);
        let times = assert_every_frame_is_seen(&scratch, &path).times_us();
        let steps: Vec<i64> = times.values().zip(times.values().skip(1)).map(|(a, b)| b - a).collect();
        assert!(
            steps.iter().any(|step| *step > 900_000) && steps.iter().any(|step| *step < 50_000),
            "{name}: {steps:?}"
        );
    }
}

#[test]
fn odd_and_tiny_pictures() {
    let scratch = Scratch::new();
    for (name, size, options) in [
        ("odd.mp4", "161x91", format!("{X264} -pix_fmt yuv444p")),
        ("odd.mkv", "161x91", "-c:v mpeg4 -pix_fmt yuv420p".to_owned()),
        ("odd.webm", "161x91", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p".to_owned()),
        ("odd.avi", "161x91", "-c:v mjpeg -pix_fmt yuvj420p".to_owned()),
        ("odd.mov", "91x161", "-c:v libaom-av1 -usage realtime -cpu-used 8 -f mp4 -pix_fmt yuv420p".to_owned()),
        ("two.mp4", "2x2", format!("{X264} -pix_fmt yuv420p")),
        ("narrow.mkv", "2x64", format!("{X264} -pix_fmt yuv420p")),
        ("line.mkv", "64x1", "-c:v mjpeg -pix_fmt yuvj444p".to_owned()),
        ("one.webm", "1x1", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p".to_owned()),
    ] {
        let scaled = format!("-vf scale={},setsar=1 {options}", size.replace('x', ":"));
        let path = scratch.clip(name, &clip::moving("192x96", 1), &scaled);
        let job = assert_every_frame_is_seen(&scratch, &path);
        let video = job.plan().video;
        assert_eq!(format!("{}x{}", video.width, video.height), size, "{name}");
        let (width, height) = (video.width as f32, video.height as f32);
        let outside = |row: &&Row| {
            let d = row.detection;
            !(0.0 <= d.x1 && d.x1 < d.x2 && d.x2 <= width && 0.0 <= d.y1 && d.y1 < d.y2 && d.y2 <= height)
        };
        assert_eq!(job.rows().iter().find(outside), None, "{name}: a box beyond the picture, or of no size");
    }
}

/// One second of the sample, large enough for the detector that ships.
fn street_as(scratch: &Scratch, name: &str, options: &str) -> PathBuf {
    scratch.clip(name, &clip::from(&repository::street()), &format!("-frames:v 25 {options}"))
}

/// A variant of the same picture gives the same detections, and the same colours up to `difference` (of 1).
fn assert_same_picture(scratch: &Scratch, plain: &Path, variant: &Path, difference: f32) {
    assert_same_colours(scratch, plain, variant, difference);
    let name = variant.file_name().unwrap().to_string_lossy().into_owned();
    let rows = |detector, path| scratch.call(detector, &[path]).run().job().rows();
    let demand = Demand { sure: 0.6, likely: 0.3, iou: 0.8 };
    let (plain, variant) = (rows(Detector::Street, plain), rows(Detector::Street, variant));
    assert_same(&plain, &variant, demand, 0.97, &name);
}

fn assert_same_colours(scratch: &Scratch, plain: &Path, variant: &Path, difference: f32) {
    let rows = |path| scratch.call(Detector::Colours, &[path]).run().job().rows();
    let found = greatest_difference(&rows(plain), &rows(variant));
    assert!(found <= difference, "{}: a cell's colour differs by {found}", variant.display());
}

#[test]
fn bit_depth_and_chroma_do_not_change_the_picture() {
    let scratch = Scratch::new();
    let plain = street_as(&scratch, "plain.mkv", &format!("{LOSSLESS} -pix_fmt yuv420p"));
    let x265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error:lossless=1";
    for (name, options) in [
        ("h264-high10.mp4", format!("{LOSSLESS} -pix_fmt yuv420p10le")),
        ("hevc-main10.mp4", format!("{x265} -pix_fmt yuv420p10le")),
        ("hevc-main12.mkv", format!("{x265} -pix_fmt yuv422p12le")),
        ("h264-422.mkv", format!("{LOSSLESS} -pix_fmt yuv422p")),
        ("h264-444.mp4", format!("{LOSSLESS} -pix_fmt yuv444p")),
        ("h264-444-10.mkv", format!("{LOSSLESS} -pix_fmt yuv444p10le")),
        ("hevc-444.mp4", format!("{x265} -pix_fmt yuv444p")),
        ("h264-rgb.mkv", "-c:v libx264rgb -preset ultrafast -qp 0 -pix_fmt bgr24".to_owned()),
    ] {
        assert_same_picture(&scratch, &plain, &street_as(&scratch, name, &options), 0.02);
    }
}

#[test]
fn a_grey_picture_is_decoded_as_grey() {
    let scratch = Scratch::new();
    let grey = street_as(&scratch, "grey.mkv", &format!("{LOSSLESS} -pix_fmt gray"));
    let coloured = street_as(&scratch, "grey420.mkv", &format!("-vf format=gray,format=yuv420p {LOSSLESS}"));
    assert_same_picture(&scratch, &coloured, &grey, 0.02);
}

/// Colour matrix as it is marked and as FFmpeg's scaler calls it, range, and container.
const COLOURS: [(&str, &str, &str, &str); 6] = [
    ("bt709", "bt709", "pc", "mp4"),
    ("bt709", "bt709", "pc", "mkv"),
    ("smpte170m", "smpte170m", "tv", "mp4"),
    ("smpte170m", "smpte170m", "pc", "mkv"),
    ("bt2020nc", "bt2020", "tv", "mkv"),
    ("bt2020nc", "bt2020", "pc", "mp4"),
];

fn colour_options(matrix: &str, scaler_name: &str, range: &str) -> String {
    let marks = format!("-colorspace {matrix} -color_range {range}");
    format!("-vf scale=out_color_matrix={scaler_name}:out_range={range} {LOSSLESS} -pix_fmt yuv420p {marks}")
}

#[test]
fn colour_matrix_and_range_do_not_change_what_is_detected() {
    let scratch = Scratch::new();
    let plain = street_as(&scratch, "plain.mkv", &format!("{LOSSLESS} -pix_fmt yuv420p"));
    for (matrix, scaler_name, range, container) in COLOURS {
        let name = format!("{matrix}-{range}.{container}");
        let variant = street_as(&scratch, &name, &colour_options(matrix, scaler_name, range));
        assert_same_picture(&scratch, &plain, &variant, 0.03);
    }
}

/// Colours as strong as they can be: read with another matrix or range, they are off by several times the tolerance.
#[test]
fn colour_matrix_and_range_do_not_change_strong_colours() {
    let scratch = Scratch::new();
    let bars = clip::bars("256x192");
    let plain = scratch.clip("plain.mkv", &bars, &colour_options("bt709", "bt709", "tv"));
    for (matrix, scaler_name, range, container) in COLOURS {
        let name = format!("{matrix}-{range}.{container}");
        let variant = scratch.clip(&name, &bars, &colour_options(matrix, scaler_name, range));
        assert_eq!(clip::stream_field(&variant, "color_space"), matrix, "the clip is not marked");
        assert_eq!(clip::stream_field(&variant, "color_range"), range, "the clip is not marked");
        assert_same_colours(&scratch, &plain, &variant, 0.015);
    }
}

#[test]
fn full_range_mjpeg_keeps_its_colours() {
    let scratch = Scratch::new();
    let plain = street_as(&scratch, "plain.mkv", &format!("{LOSSLESS} -pix_fmt yuv420p"));
    let jpeg = street_as(&scratch, "jpeg.avi", "-c:v mjpeg -q:v 1 -pix_fmt yuvj420p");
    assert_same_picture(&scratch, &plain, &jpeg, 0.03);
}

#[test]
fn boxes_are_where_they_are_in_the_upright_picture() {
    let scratch = Scratch::new();
    let upright = street_as(&scratch, "upright.mp4", &format!("{LOSSLESS} -pix_fmt yuv420p"));
    for (degrees, opposite, matrix) in clip::TURNS {
        let name = format!("turned-{degrees}.mp4");
        let turned = street_as(&scratch, &name, &format!("-vf {opposite} {LOSSLESS} -pix_fmt yuv420p"));
        clip::set_display_matrix(&turned, matrix);
        assert_same_picture(&scratch, &upright, &turned, 0.02);
        let job = scratch.call(Detector::Colours, &[&turned]).run().job();
        let video = job.plan().video;
        assert_eq!((video.rotation_degrees, video.width, video.height), (degrees, 640, 360));
    }
}

/// Mirroring is not undone, and above all not taken for half a turn.
#[test]
fn a_mirrored_picture_is_taken_as_it_is_stored() {
    let scratch = Scratch::new();
    let plain = street_as(&scratch, "plain.mp4", &format!("{LOSSLESS} -pix_fmt yuv420p"));
    let mirrored = scratch.join("mirrored.mp4");
    std::fs::copy(&plain, &mirrored).unwrap();
    clip::set_display_matrix(&mirrored, [-1, 0, 0, 1]);
    assert_same_picture(&scratch, &plain, &mirrored, 0.0001);
}

#[test]
fn boxes_are_in_square_pixels() {
    let scratch = Scratch::new();
    let square = street_as(&scratch, "square.mp4", &format!("{LOSSLESS} -pix_fmt yuv420p"));
    let squeezed =
        street_as(&scratch, "squeezed.mp4", &format!("-vf scale=480:360,setsar=4/3 {LOSSLESS} -pix_fmt yuv420p"));
    let rows = |path| {
        let job = scratch.call(Detector::Street, &[path]).run().job();
        let video = job.plan().video;
        assert_eq!((video.width, video.height), (640, 360));
        job.rows()
    };
    let demand = Demand { sure: 0.6, likely: 0.1, iou: 0.8 };
    assert_same(&rows(&square), &rows(&squeezed), demand, 0.9, "squeezed");
}

/// Twice as wide as it is stored: a cell's corners follow from the displayed size alone.
#[test]
fn a_sample_aspect_of_two_doubles_the_width() {
    let scratch = Scratch::new();
    let options = format!("-vf setsar=2/1 {X264} -pix_fmt yuv420p");
    for name in ["wide.mp4", "wide.mkv"] {
        let wide = scratch.clip(name, &clip::moving("96x96", 1), &options);
        let job = assert_every_frame_is_seen(&scratch, &wide);
        let video = job.plan().video;
        assert_eq!((video.width, video.height, video.coded_width), (192, 96, 96));
        let right = job.rows().iter().map(|row| row.detection.x2).fold(0.0, f32::max);
        assert!(right > 180.0 && right <= 192.0, "the rightmost box ends at {right}");
    }
}
