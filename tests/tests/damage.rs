//! Videos of which parts are damaged: what can be decoded is analysed, and what cannot is counted.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_contract::identity::Sha256;
use framefleet_contract::outcome::State;
use framefleet_tests::{Detector, Scratch, clip};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How bytes go bad.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Zeroed,
    Flipped,
}

/// A copy of the clip in which most of each given packet is damaged.
fn damaged(clip: &Path, name: &str, packets: &[usize], damage: Damage) -> PathBuf {
    let table = clip::packets(clip);
    let mut bytes = fs::read(clip).unwrap();
    for packet in packets {
        let (position, size) = table[*packet];
        // The first bytes are left: a length and the kind of picture.
        for byte in &mut bytes[position + 12.min(size)..position + size] {
            *byte = match damage {
                Damage::Zeroed => 0,
                Damage::Flipped => !*byte,
            };
        }
    }
    let path = clip.with_file_name(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Six seconds with a keyframe every second, and no index that gives damage away.
fn clip_of(scratch: &Scratch, codec: &str, name: &str) -> PathBuf {
    let encoder = match codec {
        "hevc" => "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=25:min-keyint=25:open-gop=0",
        _ => "-c:v libx264 -preset ultrafast -g 25 -bf 2",
    };
    scratch.clip(name, &clip::moving("160x96", 6), &format!("{encoder} -pix_fmt yuv420p"))
}

fn assert_survived(scratch: &Scratch, video: &Path, hit: u64) {
    let job = scratch.call(Detector::Colours, &[video]).run().job();
    assert_eq!(job.outcome.state, State::Succeeded);
    let frames = job.summary().frames;
    assert!(frames.damaged > 0, "{}: damage went unseen: {frames:?}", video.display());
    assert_eq!(frames.decoded, frames.inferred + frames.skipped, "{frames:?}");
    // A damaged picture may be lost, and spoils those that refer to it up to the next keyframe; the rest is there.
    assert!(frames.decoded + hit >= frames.packets && frames.decoded <= frames.packets, "{frames:?}");
    let seen = job.times_us().len() as u64;
    assert_eq!(seen, frames.inferred, "not every frame has rows, or two have the same number");
}

#[test]
fn damaged_packets_are_counted_and_the_rest_is_analysed() {
    let scratch = Scratch::new();
    let packets = [30, 31, 77];
    // HEVC with its bits turned over still decodes, to another picture, and no decoder notices.
    for (codec, damage) in [("h264", Damage::Zeroed), ("h264", Damage::Flipped), ("hevc", Damage::Zeroed)] {
        for container in ["mp4", "mkv"] {
            let whole = clip_of(&scratch, codec, &format!("{codec}.{container}"));
            let name = format!("{codec}-{damage:?}.{container}");
            assert_survived(&scratch, &damaged(&whole, &name, &packets, damage), packets.len() as u64);
        }
    }
}

#[test]
fn a_whole_clip_has_no_damage() {
    let scratch = Scratch::new();
    for codec in ["h264", "hevc"] {
        let whole = clip_of(&scratch, codec, &format!("{codec}.mp4"));
        assert_eq!(scratch.call(Detector::Colours, &[&whole]).run().job().summary().frames.damaged, 0);
    }
}

#[test]
fn a_damaged_keyframe_costs_no_more_than_its_stretch() {
    let scratch = Scratch::new();
    let whole = clip_of(&scratch, "h264", "whole.mp4");
    let video = damaged(&whole, "keyframe.mp4", &[50], Damage::Flipped);
    let job = scratch.call(Detector::Colours, &[&video]).run().job();
    let sound = scratch.call(Detector::Colours, &[&whole]).run().job();
    let outside = |frame: i64| !(48..75).contains(&frame);
    let rows = |job: &framefleet_tests::Job| {
        job.rows()
            .into_iter()
            .filter(|row| outside(row.frame))
            .map(|row| (row.frame, row.detection))
            .collect::<Vec<_>>()
    };
    assert!(job.summary().frames.damaged > 0);
    assert_eq!(rows(&job), rows(&sound), "frames away from the damage differ");
}

fn digest_of_damaged(scratch: &Scratch, out: &str, arguments: &[&str]) -> Sha256 {
    let whole = clip_of(scratch, "h264", "whole.mp4");
    let video = damaged(&whole, "damaged.mp4", &[10, 26, 27, 60, 101], Damage::Flipped);
    scratch.call(Detector::Colours, &[&video]).with(arguments).out(&scratch.join(out)).run().job().digest()
}

#[test]
fn damage_gives_the_same_result_every_time() {
    let scratch = Scratch::new();
    let first = digest_of_damaged(&scratch, "a", &["--threads", "1"]);
    assert_eq!(digest_of_damaged(&scratch, "b", &["--threads", "1"]), first);
    assert_eq!(digest_of_damaged(&scratch, "c", &["--threads", "5"]), first);
}

/// What concealment makes up depends on what was decoded before, so a damaged video is decoded as a whole.
#[test]
fn damage_gives_the_same_result_however_the_video_is_cut() {
    let scratch = Scratch::new();
    let first = digest_of_damaged(&scratch, "a", &["--segment-seconds", "1"]);
    assert_eq!(digest_of_damaged(&scratch, "b", &["--segment-seconds", "3", "--threads", "5"]), first);
    assert_eq!(digest_of_damaged(&scratch, "c", &["--segment-seconds", "1000"]), first);
    let plan = fs::read_dir(scratch.join("a/jobs")).unwrap().next().unwrap().unwrap().path().join("plan-whole.json");
    let because = fs::read_to_string(plan).unwrap();
    assert!(because.contains("is damaged"), "{because}");
}

/// The clip with one bit in so many places turned over, none of them in the header of a transport packet.
fn flipped(scratch: &Scratch, whole: &Path, flips: usize) -> PathBuf {
    let mut bytes = fs::read(whole).unwrap();
    let step = bytes.len() / flips;
    for flip in (step..bytes.len() - 32).step_by(step) {
        let at = if flip % 188 < 32 { flip + 32 } else { flip };
        bytes[at] ^= 0x10;
    }
    scratch.file(&format!("flipped-{flips}.ts"), &bytes)
}

/// FFmpeg's HEVC decoder leaves out what it cannot decode, sometimes without a word, and shows what memory held before.
#[test]
fn damaged_hevc_gives_the_same_result_every_time() {
    let scratch = Scratch::new();
    let whole = clip_of(&scratch, "hevc", "whole.ts");
    // Of the few nobody notices any; what they spoil must be the same picture all the same.
    for (flips, noticed) in [(40, 0), (1000, 5)] {
        let video = flipped(&scratch, &whole, flips);
        let run = |out: &str, arguments: &[&str]| {
            let out = scratch.join(&format!("{out}-{flips}"));
            scratch.call(Detector::Colours, &[&video]).with(arguments).out(&out).run().job()
        };
        let first = run("a", &["--threads", "1"]);
        assert!(first.summary().frames.damaged >= noticed, "{:?}", first.summary().frames);
        for (out, arguments) in
            [("b", ["--threads", "5"]), ("c", ["--segment-seconds", "1"]), ("d", ["--threads", "2"])]
        {
            assert_eq!(run(out, &arguments).digest(), first.digest(), "{flips} flips, {arguments:?}");
        }
    }
}

#[test]
fn a_transport_stream_with_lost_packets_is_analysed() {
    let scratch = Scratch::new();
    let whole = clip_of(&scratch, "h264", "whole.ts");
    let mut bytes = fs::read(&whole).unwrap();
    let lost: Range<usize> = bytes.len() / 376 * 188..bytes.len() / 376 * 188 + 20 * 188;
    bytes.drain(lost);
    let video = scratch.file("lost.ts", &bytes);
    let job = scratch.call(Detector::Colours, &[&video]).run().job();
    let frames = job.summary().frames;
    assert!(frames.damaged > 0 && frames.decoded > 100, "{frames:?}");
}

#[test]
fn a_video_that_is_mostly_damaged_fails_and_says_so() {
    let scratch = Scratch::new();
    let whole = clip_of(&scratch, "h264", "whole.mp4");
    let video = damaged(&whole, "ruin.mp4", &(0..140).collect::<Vec<_>>(), Damage::Flipped);
    let ended = scratch.call(Detector::Colours, &[&video]).run();
    let message = ended.error(1, "INPUT_CORRUPT");
    assert!(message.contains("ruin.mp4") && message.contains("150 packets"), "{message}");
    let outcome = &ended.lines()[0].outcome;
    assert_eq!((outcome.state, outcome.files.len()), (State::Failed, 0));
}

/// Hostile bytes that fuzzing found: what FFmpeg answers to them sounds like a broken disk, or never comes.
#[test]
fn sizes_and_places_that_cannot_be_are_damage_and_end() {
    let scratch = Scratch::new();
    let fragments = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -movflags +frag_keyframe+empty_moov";
    let far = scratch.clip("far.mp4", &clip::moving("160x96", 2), fragments);
    let mut bytes = fs::read(&far).unwrap();
    let header = bytes.windows(4).rposition(|four| four == b"tfhd").unwrap();
    assert_eq!(bytes[header + 7] & 1, 1, "a fragment's header with the place of its data (ISO/IEC 14496-12, 8.8.7)");
    bytes[header + 12] = 0x40;
    fs::write(&far, bytes).unwrap();

    let huge = scratch.clip("huge.ivf", &clip::moving("160x96", 1), "-c:v libvpx -deadline realtime -cpu-used 8");
    let mut bytes = fs::read(&huge).unwrap();
    let first_size = u32::from_le_bytes(bytes[32..36].try_into().unwrap()) as usize;
    let second = 32 + 12 + first_size;
    bytes[second..second + 4].copy_from_slice(&0x9000_0000_u32.to_le_bytes());
    fs::write(&huge, bytes).unwrap();

    for video in [far, huge] {
        let ended = scratch.call(Detector::Colours, &[&video]).run();
        let message = ended.error(1, "INPUT_CORRUPT");
        assert!(message.contains(&*video.file_name().unwrap().to_string_lossy()), "{message}");
    }
}
