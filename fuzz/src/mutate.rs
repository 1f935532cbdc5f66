//! Makes hostile files from good ones.

use crate::clips::Clip;
use crate::random::Random;

/// A file to be tried: what it was made from gives it its extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutant {
    pub name: String,
    pub bytes: Vec<u8>,
}

/// Nothing longer is tried: these clips have some kilobytes.
const MAX_BYTES: usize = 1 << 18;
/// Headers lie at the beginning, indexes at the end.
const HEADER_BYTES: usize = 1500;

/// What lengths, counts, sizes and rates go wrong at.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    3,
    15,
    16,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    u64::MAX,
];

/// Codecs as containers name them: those of the clips, and others with decoders of their own.
const FOURCCS: [&[u8; 4]; 44] = [
    b"avc1", b"H264", b"hev1", b"hvc1", b"vp08", b"VP80", b"vp09", b"VP90", b"av01", b"mp4v", b"DIVX", b"XVID",
    b"FMP4", b"MJPG", b"jpeg", b"mjp2", b"MP43", b"DIV3", b"WMV1", b"WMV2", b"WMV3", b"WVC1", b"HFYU", b"FFV1",
    b"apcn", b"rle ", b"png ", b"cvid", b"SVQ1", b"SVQ3", b"VP60", b"VP6F", b"IV50", b"RV20", b"RV40", b"dvc ",
    b"m2v1", b"AVdn", b"s263", b"tscc", b"CRAM", b"MSS2", b"G2M4", b"Hap1",
];

/// Input `index` of the run `seed`.
pub fn mutant(clips: &[Clip], seed: u64, index: u64) -> Mutant {
    let mut random = Random::new(seed, index);
    let clip = random.pick(clips);
    let mut bytes = clip.bytes.clone();
    // Mostly few mutations, so that much of the file is still understood; sometimes many.
    let mutations = if random.one_in(8) { 1 + random.below(40) } else { 1 + random.below(4) };
    for _ in 0..mutations {
        mutate(&mut bytes, clips, &mut random);
    }
    bytes.truncate(MAX_BYTES);
    Mutant { name: format!("{index}-{}", clip.name), bytes }
}

fn mutate(bytes: &mut Vec<u8>, clips: &[Clip], random: &mut Random) {
    if bytes.is_empty() {
        return;
    }
    match random.below(16) {
        0..=2 => flip_bit(bytes, random),
        3 => set_byte(bytes, random),
        4 | 5 => set_integer(bytes, random),
        6..=8 => resize_element(bytes, random),
        9 | 10 => spoil_nal_header(bytes, random),
        11 => change_codec(bytes, random),
        12 => truncate(bytes, random),
        13 => remove(bytes, random),
        14 => repeat(bytes, random),
        _ => splice(bytes, clips, random),
    }
}

/// Half of the places are in the headers.
fn place(bytes: &[u8], random: &mut Random) -> usize {
    let near = random.below(bytes.len().min(HEADER_BYTES));
    match random.below(6) {
        0 | 1 => near,
        2 => bytes.len() - 1 - near,
        _ => random.below(bytes.len()),
    }
}

fn flip_bit(bytes: &mut [u8], random: &mut Random) {
    let at = place(bytes, random);
    bytes[at] ^= 1 << random.below(8);
}

fn set_byte(bytes: &mut [u8], random: &mut Random) {
    let at = place(bytes, random);
    bytes[at] = random.number() as u8;
}

fn set_integer(bytes: &mut [u8], random: &mut Random) {
    let at = place(bytes, random);
    write_integer(bytes, at, random);
}

/// An edge, or one that is near what is there, in two, four or eight bytes.
fn write_integer(bytes: &mut [u8], at: usize, random: &mut Random) {
    let width = *random.pick(&[2, 4, 4, 8]);
    let Some(field) = bytes.get_mut(at..at + width) else { return };
    let little = random.one_in(3);
    let read = field.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let value = match random.below(4) {
        0 => read.wrapping_add(random.below(17) as u64).wrapping_sub(8),
        1 => random.number(),
        _ => *random.pick(&EDGES),
    };
    let value = if little { value.to_le_bytes() } else { value.to_be_bytes() };
    let value = if little { &value[..width] } else { &value[8 - width..] };
    field.copy_from_slice(value);
}

/// The length in front of or behind a name of four letters (ISO boxes, RIFF chunks), or the first bytes behind an ID of
/// Matroska's; and what follows it.
fn resize_element(bytes: &mut [u8], random: &mut Random) {
    let names: Vec<usize> = (0..bytes.len().saturating_sub(4)).filter(|at| is_element(&bytes[*at..*at + 4])).collect();
    if names.is_empty() {
        return flip_bit(bytes, random);
    }
    let name = *random.pick(&names);
    match random.below(3) {
        0 => write_integer(bytes, name.saturating_sub(4), random),
        1 => write_integer(bytes, name + 4, random),
        _ => write_integer(bytes, name + 4 + random.below(64), random),
    }
}

fn is_element(four: &[u8]) -> bool {
    let letters = four.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b' ' || *byte == b'_');
    // The level 1 elements of Matroska, and its tracks' codec and video settings.
    let matroska = matches!(four, [0x1a, 0x45, 0xdf, 0xa3] | [0x18, 0x53, 0x80, 0x67] | [0x11, 0x4d, 0x9b, 0x74])
        || matches!(four, [0x16, 0x54, 0xae, 0x6b] | [0x1f, 0x43, 0xb6, 0x75] | [0x1c, 0x53, 0xbb, 0x6b])
        || matches!(four, [0x63, 0xa2, ..] | [0xe0 | 0xae | 0xa3, ..]);
    letters || matroska
}

/// The bytes behind a start code (00 00 01), or in the parameter sets of `avcC` and `hvcC`.
fn spoil_nal_header(bytes: &mut [u8], random: &mut Random) {
    let starts: Vec<usize> = (3..bytes.len())
        .filter(|at| matches!(&bytes[at - 3..*at], [0, 0, 1]) || bytes[..*at].ends_with(b"vcC"))
        .collect();
    if starts.is_empty() {
        return flip_bit(bytes, random);
    }
    let at = random.pick(&starts) + random.below(48);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Has another decoder read what was not made for it.
fn change_codec(bytes: &mut [u8], random: &mut Random) {
    let there: Vec<&[u8; 4]> =
        FOURCCS.into_iter().filter(|name| bytes.windows(4).any(|four| four == name.as_slice())).collect();
    if there.is_empty() {
        return set_byte(bytes, random);
    }
    let (from, to) = (*random.pick(&there), *random.pick(&FOURCCS));
    for at in 0..bytes.len().saturating_sub(3) {
        if bytes[at..at + 4] == *from {
            bytes[at..at + 4].copy_from_slice(to);
        }
    }
}

fn truncate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = place(bytes, random);
    bytes.truncate(at.max(1));
}

fn remove(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = place(bytes, random);
    let end = (at + 1 + random.below(64)).min(bytes.len());
    bytes.drain(at..end);
}

fn repeat(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = place(bytes, random);
    let length = if random.one_in(4) { random.below(4096) } else { 1 + random.below(64) };
    let part = bytes[at..(at + length).min(bytes.len())].to_vec();
    let to = place(bytes, random);
    bytes.splice(to..to, part);
}

/// The head of this one and the tail of another, or a part of another one over or into this one.
fn splice(bytes: &mut Vec<u8>, clips: &[Clip], random: &mut Random) {
    let other = &random.pick(clips).bytes;
    let from = place(other, random);
    let at = place(bytes, random);
    let length = 1 + random.below(2048);
    let part = &other[from..(from + length).min(other.len())];
    match random.below(3) {
        0 => {
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        1 => drop(bytes.splice(at..at, part.iter().copied())),
        _ => {
            let end = (at + part.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&part[..end - at]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clips() -> Vec<Clip> {
        let clip = |name: &str, bytes: &[u8]| Clip { name: name.into(), bytes: bytes.to_vec() };
        vec![
            clip("a.mp4", b"\0\0\0\x18ftypisom\0\0\0\x10moov\0\0\0\x08avc1"),
            clip("b.h264", &[0, 0, 0, 1, 0x67, 1, 2, 3].repeat(300)),
            clip("c.avi", b"RIFF"),
        ]
    }

    #[test]
    fn the_same_seed_and_index_are_the_same_file() {
        let clips = clips();
        for index in 0..2000 {
            assert_eq!(mutant(&clips, 7, index), mutant(&clips, 7, index));
        }
    }

    #[test]
    fn most_files_are_new() {
        let clips = clips();
        let files: std::collections::HashSet<Vec<u8>> = (0..2000).map(|i| mutant(&clips, 7, i).bytes).collect();
        assert!(files.len() > 1500, "{}", files.len());
    }
}
