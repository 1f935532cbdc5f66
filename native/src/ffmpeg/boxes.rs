//! What the index of an MP4 file claims, counted before FFmpeg builds it: it takes 24 bytes of memory for each sample that
//! a file says it has, and saying so takes a file of a few hundred bytes (ISO/IEC 14496-12).

/// What all tracks claim together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub samples: u64,
    /// A video track counts time in units of nothing.
    pub no_time_scale: bool,
}

/// Boxes that are looked at. An index has some ten for each track; only a recording of many hours in fragments has more,
/// and of those FFmpeg reads one after the other.
const MOST_BOXES: u32 = 20_000;
/// Boxes within boxes: `moov`, `trak`, `mdia`, `minf`, `stbl`.
const DEEPEST: u32 = 8;

/// Reads the box headers of a file of `size` bytes. `read` fills the buffer from a position, or answers `false`.
pub(super) fn claims(size: u64, read: &mut dyn FnMut(&mut [u8], u64) -> bool) -> Claims {
    let mut walk = Walk { read, boxes: 0, claims: Claims::default(), track: Track::default() };
    walk.boxes_in(0, size, 0);
    walk.claims
}

struct Walk<'a> {
    read: &'a mut dyn FnMut(&mut [u8], u64) -> bool,
    boxes: u32,
    claims: Claims,
    track: Track,
}

/// Of the `mdia` box that is being read.
#[derive(Default)]
struct Track {
    is_video: bool,
    time_scale: Option<u32>,
}

impl Walk<'_> {
    fn boxes_in(&mut self, mut at: u64, end: u64, depth: u32) {
        while self.boxes < MOST_BOXES && depth < DEEPEST {
            self.boxes += 1;
            let Some((kind, content, next)) = self.header(at, end) else { return };
            match &kind {
                b"moov" | b"trak" | b"minf" | b"stbl" | b"moof" | b"traf" => self.boxes_in(content, next, depth + 1),
                b"mdia" => {
                    self.track = Track::default();
                    self.boxes_in(content, next, depth + 1);
                    self.claims.no_time_scale |= self.track.is_video && self.track.time_scale == Some(0);
                }
                // Version and flags come first; version 1 has two times of eight bytes instead of four.
                b"mdhd" => {
                    let wide = self.number(content).is_some_and(|first| first >> 24 == 1);
                    self.track.time_scale = self.number(content + if wide { 20 } else { 12 });
                }
                b"hdlr" => self.track.is_video = self.number(content + 8) == Some(u32::from_be_bytes(*b"vide")),
                b"stsz" | b"stz2" => self.count(content + 8),
                b"trun" => self.count(content + 4),
                _ => {}
            }
            at = next;
        }
    }

    /// Kind of the box at `at`, where its content begins and where the next box does.
    fn header(&mut self, at: u64, end: u64) -> Option<([u8; 4], u64, u64)> {
        let mut header = [0; 8];
        let content = at.checked_add(8).filter(|content| *content <= end)?;
        if !(self.read)(&mut header, at) {
            return None;
        }
        let [a, b, c, d, kind @ ..] = header;
        let (content, next) = match u32::from_be_bytes([a, b, c, d]) {
            0 => (content, end),
            1 => {
                let wide = (u64::from(self.number(content)?) << 32) | u64::from(self.number(content + 4)?);
                (content + 8, at.checked_add(wide)?)
            }
            size => (content, at + u64::from(size)),
        };
        (next >= content).then_some((kind, content, next.min(end)))
    }

    fn count(&mut self, at: u64) {
        self.claims.samples += u64::from(self.number(at).unwrap_or(0));
    }

    fn number(&mut self, at: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        (self.read)(&mut bytes, at).then(|| u32::from_be_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
        let size = 8 + content.len() as u32;
        [&size.to_be_bytes()[..], &kind, content].concat()
    }

    fn claims_of(bytes: &[u8]) -> Claims {
        claims(bytes.len() as u64, &mut |buffer, at| {
            let wanted = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..buffer.len()));
            wanted.map(|found| buffer.copy_from_slice(found)).is_some()
        })
    }

    fn track(handler: [u8; 4], time_scale: u32, samples: u32) -> Vec<u8> {
        let mdhd = boxed(*b"mdhd", &[&[0; 12][..], &time_scale.to_be_bytes(), &[0; 8]].concat());
        let hdlr = boxed(*b"hdlr", &[&[0; 8][..], &handler, &[0; 13]].concat());
        let stsz = boxed(*b"stsz", &[&[0; 8][..], &samples.to_be_bytes()].concat());
        let minf = boxed(*b"minf", &boxed(*b"stbl", &stsz));
        boxed(*b"trak", &boxed(*b"mdia", &[mdhd, hdlr, minf].concat()))
    }

    #[test]
    fn samples_of_all_tracks_and_fragments_are_counted() {
        let moov = boxed(*b"moov", &[track(*b"vide", 90_000, 7), track(*b"soun", 48_000, u32::MAX)].concat());
        let trun = boxed(*b"trun", &[&[0; 4][..], &11u32.to_be_bytes()].concat());
        let moof = boxed(*b"moof", &boxed(*b"traf", &trun));
        let claims = claims_of(&[boxed(*b"ftyp", b"isom"), moov, moof].concat());
        assert_eq!(claims, Claims { samples: 7 + u64::from(u32::MAX) + 11, no_time_scale: false });
    }

    #[test]
    fn a_time_scale_of_nothing_matters_for_video_only() {
        assert!(claims_of(&boxed(*b"moov", &track(*b"vide", 0, 1))).no_time_scale);
        assert!(!claims_of(&boxed(*b"moov", &track(*b"tmcd", 0, 1))).no_time_scale);
    }

    #[test]
    fn boxes_that_never_end_are_left() {
        assert_eq!(claims_of(&boxed(*b"free", b"").repeat(50_000)), Claims::default());
        let mut inside = track(*b"vide", 0, 1);
        for _ in 0..1000 {
            inside = boxed(*b"moov", &inside);
        }
        assert_eq!(claims_of(&inside), Claims::default());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            claims_of(&bytes);
            claims_of(&boxed(*b"moov", &bytes));
        }
    }
}
