//! Whatever segment a resumed job begins with, and however well the container seeks, the bytes are the same.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

use framefleet_tests::{Detector, Scratch, clip};
use std::fs;
use std::path::{Path, PathBuf};

const H264: &str =
    "-c:v libx264 -preset ultrafast -g 25 -bf 3 -x264-params b-adapt=0:b-pyramid=normal:scenecut=0 -pix_fmt yuv420p";

/// Six seconds with a keyframe every second.
fn keyed(scratch: &Scratch, name: &str, options: &str) -> PathBuf {
    scratch.clip(name, &clip::moving("160x96", 6), &format!("{H264} {options}"))
}

/// Does a job, and then again with only the first segments left, each time from another one on.
fn assert_any_segment_can_be_next(scratch: &Scratch, video: &Path) {
    let call = || scratch.call(Detector::Colours, &[video]).with(&["--segment-seconds", "1"]);
    let job = call().run().job();
    let digest = job.digest();
    let segments = job.plan().segments.len();
    assert_eq!(segments, 6, "{}", video.display());
    for first in 1..segments {
        for name in ["outcome.json", "summary.json", "tracks.parquet"] {
            fs::remove_file(job.folder.join(name)).unwrap();
        }
        for index in first..segments {
            fs::remove_file(job.folder.join(format!("segments/{index:05}.parquet"))).unwrap();
        }
        let again = call().run().job();
        assert_eq!(again.digest(), digest, "{} from segment {first} on", video.display());
        assert_eq!(again.summary().segments.found as usize, first);
    }
}

#[test]
fn a_job_on_mp4_goes_on_at_any_segment() {
    let scratch = Scratch::new();
    assert_any_segment_can_be_next(&scratch, &keyed(&scratch, "whole.mp4", ""));
    assert_any_segment_can_be_next(&scratch, &keyed(&scratch, "fragments.mp4", "-movflags +frag_keyframe+empty_moov"));
}

#[test]
fn a_job_on_mkv_goes_on_at_any_segment_whatever_its_index_holds() {
    let scratch = Scratch::new();
    let indexed = keyed(&scratch, "indexed.mkv", "");
    assert_any_segment_can_be_next(&scratch, &indexed);
    assert_any_segment_can_be_next(&scratch, &keyed(&scratch, "no-index.mkv", "-live 1"));
    let sparse = scratch.join("sparse.mkv");
    fs::copy(&indexed, &sparse).unwrap();
    assert_eq!(thin_out_index(&sparse, 5), 4, "entries removed");
    assert_any_segment_can_be_next(&scratch, &sparse);
}

/// Leaves every `keep`-th entry of a Matroska file's index and turns the others into `Void` elements, which readers pass
/// over (RFC 8794, 11.3.2). Gives how many went.
fn thin_out_index(path: &Path, keep: usize) -> usize {
    const CUES: [u8; 4] = [0x1c, 0x53, 0xbb, 0x6b];
    const CUE_POINT: u8 = 0xbb;
    const VOID: u8 = 0xec;
    const CRC_32: u8 = 0xbf;
    let mut bytes = fs::read(path).unwrap();
    let cues = bytes.windows(4).rposition(|id| id == CUES).expect("an index");
    // The size of the index has as many bytes as its first one has leading zero bits, and one.
    let mut at = cues + 5 + bytes[cues + 4].leading_zeros() as usize;
    // A checksum in front would be wrong afterwards.
    if bytes[at] == CRC_32 {
        bytes[at] = VOID;
        at += 6;
    }
    let mut removed = 0;
    for entry in 0.. {
        if bytes.get(at) != Some(&CUE_POINT) {
            break;
        }
        let size = usize::from(bytes[at + 1] & 0x7f);
        assert_eq!(bytes[at + 1] & 0x80, 0x80, "an entry's size has one byte");
        if entry % keep != 0 {
            bytes[at] = VOID;
            removed += 1;
        }
        at += 2 + size;
    }
    fs::write(path, bytes).unwrap();
    removed
}
