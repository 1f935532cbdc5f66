//! However a video is cut, the pieces decode to the same frames, at the same times, with the same pixels as the whole.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::plan::Numbering;
use framefleet_tests::{Detector, Job, Scratch, clip};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn run(scratch: &Scratch, video: &Path, arguments: &[&str]) -> Job {
    let out = scratch.join(&format!("{}-{}", video.file_name().unwrap().display(), arguments.join("")));
    scratch.call(Detector::Colours, &[video]).with(arguments).out(&out).run().job()
}

/// The whole, and pieces of one and of nearly three seconds: as many as given, or fewer where frames show that the plan
/// did not hold.
fn assert_cuts_are_exact(scratch: &Scratch, video: &Path, segments: [usize; 2]) {
    let name = video.display();
    let whole = run(scratch, video, &["--segment-seconds", "1000", "--threads", "1"]);
    let times: Vec<i64> = whole.times_us().into_values().collect();
    assert_eq!(times, clip::frame_times_us(video), "{name}");
    for (seconds, expected) in ["1", "2.9"].into_iter().zip(segments) {
        let cut = run(scratch, video, &["--segment-seconds", seconds]);
        assert_eq!(cut.plan().segments.len(), expected, "{name} cut at {seconds} s: {:?}", cut.plan());
        assert!(cut.next_plans().is_empty(), "{name} cut at {seconds} s: {:?}", cut.next_plans());
        assert_eq!(cut.digest(), whole.digest(), "{name} cut at {seconds} s");
        assert_eq!(cut.summary().frames, whole.summary().frames, "{name} cut at {seconds} s");
    }
}

/// In every one of the containers, into ten and into four pieces.
fn assert_all_are_cut(encoder: &str, containers: &[&str]) {
    assert_all_are_cut_into([10, 4], encoder, containers);
}

fn assert_all_are_cut_into(segments: [usize; 2], encoder: &str, containers: &[&str]) {
    let scratch = Scratch::new();
    for container in containers {
        let (name, options) = match *container {
            "fragmented" => ("fragmented.mp4".to_owned(), "-movflags frag_keyframe+empty_moov"),
            other => (format!("clip.{other}"), ""),
        };
        assert_cuts_are_exact(&scratch, &scratch.keyed(&name, &format!("{encoder} {options}")), segments);
    }
}

const ISO_AND_MATROSKA: [&str; 4] = ["mp4", "mov", "fragmented", "mkv"];
const WITH_TS: [&str; 5] = ["mp4", "mov", "fragmented", "mkv", "ts"];

fn hevc(group: u32, open_gop: u8) -> String {
    let parameters =
        format!("log-level=error:keyint={group}:min-keyint={group}:scenecut=0:bframes=3:open-gop={open_gop}");
    format!("-c:v libx265 -preset ultrafast -x265-params {parameters}")
}

/// With three B-frames in a row, groups of 26 end within such a row: the rest of it refers across the keyframe.
const OPEN_GROUP: u32 = 26;

#[test]
fn h264_with_b_frames() {
    assert_all_are_cut(clip::H264, &WITH_TS);
}

#[test]
fn h264_with_open_groups() {
    let encoder = format!("{} -g {OPEN_GROUP} -x264opts open-gop=1", clip::H264);
    let scratch = Scratch::new();
    assert!(clip::leading_packets(&scratch.keyed("open.mp4", &encoder)) >= 9, "no group is open");
    assert_all_are_cut(&encoder, &WITH_TS);
}

/// No picture is whole by itself: each refreshes a column.
#[test]
fn h264_with_intra_refresh() {
    assert_all_are_cut("-c:v libx264 -preset ultrafast -g 25 -x264-params intra-refresh=1", &WITH_TS);
}

#[test]
fn h264_interlaced_and_intra_only() {
    let interlaced = "-c:v libx264 -preset ultrafast -g 25 -flags +ildct+ilme -x264-params tff=1";
    assert_all_are_cut(interlaced, &["mp4", "ts"]);
    // Of many keyframes one in twelve is a place to cut.
    assert_all_are_cut_into([7, 3], "-c:v libx264 -preset ultrafast -g 1", &["mp4", "mkv"]);
}

#[test]
fn hevc_with_closed_and_open_groups() {
    assert_all_are_cut(&hevc(25, 0), &WITH_TS);
    let open = hevc(OPEN_GROUP, 1);
    let scratch = Scratch::new();
    assert!(clip::leading_packets(&scratch.keyed("open.mp4", &open)) >= 9, "no group is open");
    assert_all_are_cut(&open, &WITH_TS);
}

/// Frames that are never shown have packets of their own in VP8, and are part of others in VP9.
#[test]
fn vp8_and_vp9_with_hidden_frames() {
    let hiding = "-deadline good -cpu-used 5 -g 25 -auto-alt-ref 1 -lag-in-frames 16 -b:v 300k";
    let scratch = Scratch::new();
    let log = scratch.join("passes");
    let vp8 = [1, 2].map(|pass| {
        let passes = format!("-pass {pass} -passlogfile {}", log.display());
        scratch.keyed(&format!("pass-{pass}.webm"), &format!("-c:v libvpx {hiding} {passes}"))
    });
    let vp8 = &vp8[1];
    assert!(clip::packets(vp8).len() > 250, "no hidden frame in the clip");
    assert_cuts_are_exact(&scratch, vp8, [10, 4]);
    assert_all_are_cut(&format!("-c:v libvpx-vp9 {hiding}"), &["webm", "mkv", "mp4"]);
}

#[test]
fn av1() {
    assert_all_are_cut("-c:v libaom-av1 -cpu-used 8 -usage realtime -g 25", &["mp4", "webm", "mkv"]);
}

#[test]
fn mpeg4_mpeg2_and_mjpeg() {
    // Their groups are a little shorter than a second, so that a piece takes one more.
    assert_all_are_cut_into([6, 3], "-c:v mpeg4 -g 25 -bf 2", &["mp4", "mkv", "ts"]);
    assert_all_are_cut_into([6, 3], "-c:v mpeg2video -g 25 -bf 2", &["mp4", "mkv", "ts"]);
    assert_all_are_cut_into([7, 3], "-c:v mjpeg -q:v 3 -color_range pc", &ISO_AND_MATROSKA);
}

/// AVI has no presentation times, raw streams have none at all.
#[test]
fn what_has_no_timestamps_is_one_segment_with_its_reason() {
    let scratch = Scratch::new();
    for (name, encoder) in [("clip.avi", clip::H264), ("mpeg4.avi", "-c:v mpeg4 -g 25 -bf 2"), ("raw.h264", clip::H264)]
    {
        let video = scratch.keyed(name, encoder);
        let whole = run(&scratch, &video, &["--segment-seconds", "1000", "--threads", "1"]);
        let cut = run(&scratch, &video, &["--segment-seconds", "1"]);
        assert_eq!(cut.digest(), whole.digest(), "{name}");
        assert_eq!(cut.plan().numbering, Numbering::Output, "{name}");
        let reason = cut.plan().one_segment_because.unwrap();
        assert!(reason.contains("timestamp"), "{name}: {reason}");
    }
}

/// Two recordings in one file, of which the second begins at the first one's time again.
#[test]
fn timestamps_that_begin_anew_make_one_segment() {
    let scratch = Scratch::new();
    let first = fs::read(scratch.keyed("first.ts", clip::H264)).unwrap();
    let video = scratch.file("joined.ts", &[first.clone(), first].concat());
    let whole = run(&scratch, &video, &["--segment-seconds", "1000", "--threads", "1"]);
    let cut = run(&scratch, &video, &["--segment-seconds", "1"]);
    assert_eq!(cut.digest(), whole.digest());
    assert!(cut.plan().one_segment_because.unwrap().contains("go back"));
}

/// A recording that begins in the middle of a group: its first pictures never come out, and are not counted.
#[test]
fn a_recording_that_begins_between_keyframes_is_cut_exactly() {
    let scratch = Scratch::new();
    for (name, encoder) in [("h264.ts", clip::H264.to_owned()), ("hevc.ts", hevc(OPEN_GROUP, 1))] {
        let whole = fs::read(scratch.keyed(name, &encoder)).unwrap();
        let from = whole.len() / 188 / 20 * 188;
        let video = scratch.file(&format!("late-{name}"), &whole[from..]);
        let whole = run(&scratch, &video, &["--segment-seconds", "1000", "--threads", "1"]);
        assert_eq!(whole.rows().first().map(|row| (row.frame, row.pts_us)), Some((0, 0)), "{name}");
        let cut = run(&scratch, &video, &["--segment-seconds", "1"]);
        assert_eq!(cut.digest(), whole.digest(), "{name}");
        assert!(cut.plan().segments.len() > 5, "{name}: {:?}", cut.plan());
    }
}

/// Where a container calls a picture a keyframe that is none, decoding from it shows, and the whole is decoded in order.
#[test]
fn a_keyframe_that_is_none_is_found_out() {
    let scratch = Scratch::new();
    let sound = scratch.keyed("sound.mkv", "-c:v flv -g 250");
    let video = scratch.join("lying.mkv");
    let mut bytes = fs::read(&sound).unwrap();
    let mut lies = 0;
    for (position, _) in clip::packets(&sound).into_iter().skip(25).step_by(25) {
        // The content of a SimpleBlock: the track's number, two bytes of time, and the flags.
        assert_eq!(bytes[position], 0x81, "not a block of the first track");
        bytes[position + 3] |= 0x80;
        lies += 1;
    }
    assert_eq!(lies, 9);
    fs::write(&video, bytes).unwrap();
    let whole = run(&scratch, &sound, &["--segment-seconds", "1000"]);
    let cut = run(&scratch, &video, &["--segment-seconds", "1"]);
    assert!(cut.plan().segments.len() > 1, "nobody believed the container: {:?}", cut.plan());
    let [whole_plan] = &cut.next_plans()[..] else { panic!("{:?}", cut.next_plans()) };
    let because = whole_plan.one_segment_because.clone().unwrap();
    assert!(because.contains("does not begin with the picture"), "{because}");
    assert_eq!(cut.digest(), whole.digest(), "other frames than those of the honest file");
}

/// A packet for which no frame comes out, though nothing is damaged: only counting tells the frames' numbers.
#[test]
fn a_packet_that_gives_no_frame_is_found_out() {
    let scratch = Scratch::new();
    let sound = scratch.keyed("sound.mkv", "-c:v mpeg4 -g 50 -bf 0");
    let video = scratch.join("skipping.mkv");
    let mut bytes = fs::read(&sound).unwrap();
    // Track, time and flags; then the VOP (ISO/IEC 14496-2, 6.2.5): start code, type, time, a marker, `vop_coded`.
    let (position, size) = clip::packets(&sound)[60];
    let vop = &mut bytes[position + 4..position + 4 + size];
    assert_eq!((&vop[..4], vop[4] >> 6), ([0, 0, 1, 0xb6].as_slice(), 1), "not a P-VOP");
    vop[5] &= 0b1100_0000;
    vop[6..].fill(0);
    fs::write(&video, bytes).unwrap();
    let whole = run(&scratch, &video, &["--segment-seconds", "1000"]);
    let cut = run(&scratch, &video, &["--segment-seconds", "1"]);
    assert_eq!((whole.summary().frames.decoded, whole.summary().frames.damaged), (249, 0));
    assert_eq!(whole.times_us().into_keys().collect::<Vec<i64>>(), (0..249).collect::<Vec<i64>>());
    let numberings = |job: &Job| job.next_plans().iter().map(|plan| plan.numbering).collect::<Vec<_>>();
    assert_eq!(numberings(&whole), [Numbering::Packets, Numbering::Output]);
    assert_eq!(numberings(&cut), [Numbering::Packets, Numbering::Output]);
    let because = cut.next_plans()[0].one_segment_because.clone().unwrap();
    assert!(because.contains("frame 61 came where 60 was due"), "{because}");
    assert_eq!(cut.digest(), whole.digest());
}

/// Without seeks every segment would read the file from its beginning.
#[test]
fn seeks_arrive() {
    let scratch = Scratch::new();
    for name in ["clip.mp4", "clip.mkv", "clip.ts"] {
        let video = scratch.keyed(name, &format!("{} -g {OPEN_GROUP} -x264opts open-gop=1", clip::H264));
        let call = scratch.call(Detector::Colours, &[&video]).with(&["--segment-seconds", "1"]);
        let ended = call.out(&scratch.join(&format!("out-{name}"))).env("FRAMEFLEET_LOG", "info").run();
        let plan = ended.lines()[0].plan();
        assert!(plan.segments.iter().filter(|segment| segment.seek_to > 0).count() >= 7, "{plan:?}");
        assert!(ended.stderr.contains("ready") && !ended.stderr.contains("seeking was of no use"), "{ended}");
    }
}

/// The codecs that a clip can have, with a group's length and B-frames filled in.
fn encoder(codec: &str, group: u32, b_frames: u32) -> String {
    match codec {
        "hevc" => format!(
            "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint={group}:min-keyint={group}:bframes={b_frames}"
        ),
        "h264" => format!("-c:v libx264 -preset veryfast -g {group} -bf {b_frames}"),
        "vp9" => format!("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g {group}"),
        codec => format!("-c:v {codec} -g {group} -bf {b_frames}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 0, ..ProptestConfig::default() })]
    #[test]
    fn any_clip_is_cut_exactly(
        (codec, container) in prop::sample::select(vec![
            ("h264", "mp4"), ("h264", "mkv"), ("h264", "ts"), ("hevc", "mp4"), ("hevc", "ts"), ("vp9", "webm"),
            ("mpeg4", "mp4"), ("mpeg4", "ts"), ("mpeg2video", "ts"), ("mpeg2video", "mkv"),
        ]),
        group in 5u32..60,
        b_frames in 0u32..4,
        rate in prop::sample::select(vec!["10", "25", "30000/1001", "60"]),
        seconds in 0.3f64..3.0,
        every in 1u32..4,
    ) {
        let rate = if codec == "mpeg2video" && rate == "10" { "25" } else { rate };
        let scratch = Scratch::new();
        let input = ["-f", "lavfi", "-i"].map(String::from).into_iter();
        let input: Vec<String> = input.chain([format!("testsrc2=size=160x96:rate={rate}:duration=5")]).collect();
        let encoder = format!("{} -pix_fmt yuv420p", encoder(codec, group, b_frames));
        let video = scratch.clip(&format!("clip.{container}"), &input, &encoder);
        let every = every.to_string();
        let whole = run(&scratch, &video, &["--every", &every, "--segment-seconds", "1000", "--threads", "1"]);
        let cut = run(&scratch, &video, &["--every", &every, "--segment-seconds", &seconds.to_string()]);
        prop_assert!(cut.next_plans().is_empty(), "{} cut at {} s, {:?}", encoder, seconds, cut.next_plans());
        let cuttable = f64::from(group) < 24.0 && seconds < 1.5;
        prop_assert!(!cuttable || cut.plan().segments.len() > 1, "{} cut at {} s, {:?}", encoder, seconds, cut.plan());
        prop_assert!(cut.digest() == whole.digest(), "{} cut at {} s, {:?}", encoder, seconds, cut.plan());
    }
}
