//! `annotated.mp4`: the same frames at the same times, upright, with something drawn in.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::{Detector, Scratch, clip, repository};
use std::path::{Path, PathBuf};

/// Width, height and the path of the annotated copy, whose codec and times were checked.
fn annotate(scratch: &Scratch, video: &Path) -> (u32, u32, PathBuf) {
    let job = scratch.call(Detector::Colours, &[video]).with(&["--annotate"]).run().job();
    let annotated = job.folder.join("annotated.mp4");
    let name = video.file_name().unwrap().to_string_lossy().into_owned();
    assert_eq!(clip::stream_field(&annotated, "codec_name"), "h264", "{name}");
    assert_eq!(clip::stream_field(&annotated, "pix_fmt"), "yuv420p", "{name}: what every player plays");
    let (ours, theirs) = (clip::frame_times_us(&annotated), clip::frame_times_us(video));
    assert_eq!(ours.len(), theirs.len(), "{name}: frames");
    for (frame, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert!((ours - theirs).abs() <= 1000, "{name}: frame {frame} is at {ours} us instead of {theirs}");
    }
    let seconds = |path| clip::format_field(path, "duration").parse::<f64>().unwrap();
    let (ours, theirs) = (seconds(&annotated), seconds(video));
    assert!((ours - theirs).abs() <= 0.041, "{name}: {ours} s instead of {theirs} s");
    let side = |field| clip::stream_field(&annotated, field).parse().unwrap();
    (side("width"), side("height"), annotated)
}

const X264: &str = "-c:v libx264 -preset ultrafast -bf 2 -pix_fmt yuv420p";

#[test]
fn a_constant_frame_rate_is_kept() {
    let scratch = Scratch::new();
    for (name, rate) in [("pal.mp4", "25"), ("ntsc.mkv", "30000/1001"), ("fast.mp4", "120"), ("slow.mp4", "3")] {
        let video = scratch.clip(name, &clip::moving("160x96", 2), &format!("-r {rate} {X264}"));
        assert_eq!(annotate(&scratch, &video).0, 160);
    }
}

#[test]
fn a_variable_frame_rate_is_kept() {
    let scratch = Scratch::new();
    let timing = "-vf select='lt(mod(n\\,5)\\,3)',setpts='PTS+gte(N\\,20)/TB' -vsync vfr -enc_time_base 1/1000";
    for name in ["uneven.mp4", "uneven.mkv"] {
        annotate(&scratch, &scratch.clip(name, &clip::moving("160x96", 2), &format!("{timing} {X264}")));
    }
}

#[test]
fn other_codecs_and_containers_are_annotated() {
    let scratch = Scratch::new();
    for (name, options) in [
        ("clip.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -pix_fmt yuv420p"),
        ("clip.ts", "-c:v mpeg2video -bf 2 -pix_fmt yuv420p"),
        ("clip.avi", "-c:v mjpeg -pix_fmt yuvj420p"),
        ("deep.mp4", "-c:v libx264 -preset ultrafast -pix_fmt yuv444p10le"),
    ] {
        annotate(&scratch, &scratch.clip(name, &clip::moving("160x96", 1), options));
    }
}

/// H.264 with halved chroma has even sizes only: the last column and row go.
#[test]
fn odd_sizes_lose_a_line() {
    let scratch = Scratch::new();
    let options = "-vf scale=161:91,setsar=1 -c:v libx264 -preset ultrafast -pix_fmt yuv444p";
    let video = scratch.clip("odd.mp4", &clip::moving("192x96", 1), options);
    let (width, height, _) = annotate(&scratch, &video);
    assert_eq!((width, height), (160, 90));
}

#[test]
fn a_turned_video_comes_out_upright() {
    let scratch = Scratch::new();
    let lossless = "-c:v libx264 -preset ultrafast -qp 0 -pix_fmt yuv420p";
    let upright = scratch.clip("upright.mp4", &clip::moving("160x96", 1), lossless);
    let (_, _, expected) = annotate(&scratch, &upright);
    for (degrees, opposite, matrix) in clip::TURNS {
        let turned = scratch.clip(
            &format!("turned-{degrees}.mp4"),
            &clip::moving("160x96", 1),
            &format!("-vf {opposite} {lossless}"),
        );
        clip::set_display_matrix(&turned, matrix);
        let (width, height, annotated) = annotate(&scratch, &turned);
        assert_eq!((width, height), (160, 96), "{degrees} degrees");
        let likeness = clip::likeness(&annotated, &expected);
        assert!(likeness > 0.9, "{degrees} degrees: SSIM {likeness} with the upright one");
    }
}

#[test]
fn wide_pixels_come_out_square() {
    let scratch = Scratch::new();
    let video = scratch.clip("wide.mp4", &clip::moving("96x96", 1), &format!("-vf setsar=2/1 {X264}"));
    let (width, height, annotated) = annotate(&scratch, &video);
    assert_eq!((width, height), (192, 96));
    let aspect = clip::stream_field(&annotated, "sample_aspect_ratio");
    assert!(matches!(aspect.as_str(), "1:1" | "N/A" | "0:1"), "{aspect}");
}

/// Boxes are drawn where tracks are, and nothing else is changed but what the encoder loses.
#[test]
fn tracks_are_drawn() {
    let scratch = Scratch::new();
    let sample = scratch.clip("street.mp4", &clip::from(&repository::street()), "-frames:v 50 -c copy");
    let annotated = |confidence| {
        let call = scratch.call(Detector::Street, &[&sample]).with(&["--annotate", "--confidence", confidence]);
        let job = call.run().job();
        (job.summary().tracks, clip::likeness(&job.folder.join("annotated.mp4"), &sample))
    };
    let (tracks, drawn_on) = annotated("0.1");
    let (none, plain) = annotated("1");
    assert!(tracks > 0 && none == 0, "{tracks} and {none} tracks");
    assert!(plain > 0.96, "a copy without tracks differs: SSIM {plain}");
    assert!(drawn_on < plain - 0.01, "nothing was drawn: SSIM {drawn_on}, and {plain} without tracks");
}

/// Recordings that were joined begin again at zero; in the copy time goes on.
#[test]
fn joined_recordings_are_annotated_to_the_end() {
    let scratch = Scratch::new();
    let part = scratch.clip("part.ts", &clip::moving("160x96", 1), X264);
    let bytes = std::fs::read(&part).unwrap();
    let joined = scratch.join("joined.ts");
    std::fs::write(&joined, [bytes.as_slice(), &bytes].concat()).unwrap();
    let job = scratch.call(Detector::Colours, &[&joined]).with(&["--annotate"]).run().job();
    let times = clip::frame_times_us(&job.folder.join("annotated.mp4"));
    assert_eq!(times.len() as u64, job.summary().frames.decoded);
    assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
}

#[test]
fn the_smallest_pictures_are_annotated() {
    let scratch = Scratch::new();
    for size in ["1x1", "17x1", "1x17", "2x2", "3x3"] {
        let options = format!("-vf scale={} -c:v ffv1 -pix_fmt yuv444p", size.replace('x', ":"));
        let video = scratch.clip(&format!("{size}.mkv"), &clip::moving("160x96", 1), &options);
        let job = scratch.call(Detector::Colours, &[&video]).with(&["--annotate"]).run().job();
        assert_eq!(clip::frame_times_us(&job.folder.join("annotated.mp4")).len(), 25, "{size}");
    }
}
