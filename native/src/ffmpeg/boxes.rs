//! What the index of an MP4 file claims, counted before FFmpeg builds it: it takes 24 bytes of memory for each sample that
//! a file says it has, and saying so takes a file of a few hundred bytes (ISO/IEC 14496-12).

/// What all tracks claim together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Claims {
    pub samples: u64,
    /// A video track counts time in units of nothing.
    pub no_time_scale: bool,
}

/// Why FFmpeg is not given the file: what its index claims is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// The first `moov` lies behind or among too many boxes, or too deep in them.
    TooManyBoxes,
    /// FFmpeg would unpack a `cmov` box and read it as an index.
    Compressed,
    /// The description of a track's format has tables of samples in it, where none belong but FFmpeg reads them.
    OutOfPlace,
}

/// Boxes that are looked at up to the end of the first `moov`: some 30 for each of as many streams as can be allowed.
const MOST_BOXES_OF_INDEX: u32 = 1 << 20;
/// Boxes that are looked at if that was less. Only a recording of many hours in fragments has more; of those FFmpeg reads
/// one after the other, and what one of them claims is bounded by the largest allocation.
const MOST_BOXES: u32 = 20_000;
/// Boxes within boxes. FFmpeg itself refuses to go deeper than ten.
const DEEPEST: u32 = 11;

/// Reads the box headers of a file of `size` bytes. `read` fills the buffer from a position, or answers `false`.
pub(super) fn claims(size: u64, read: &mut dyn FnMut(&mut [u8], u64) -> bool) -> Result<Claims, Unknown> {
    let mut walk = Walk { read, boxes: 0, index: Index::Ahead, claims: Claims::default(), track: Track::default() };
    walk.boxes_in(0, size, 0)?;
    Ok(walk.claims)
}

struct Walk<'a> {
    read: &'a mut dyn FnMut(&mut [u8], u64) -> bool,
    boxes: u32,
    index: Index,
    claims: Claims,
    track: Track,
}

/// Where the walk is with regard to the first `moov`; FFmpeg reads no second one.
#[derive(PartialEq, Eq)]
enum Index {
    Ahead,
    Inside,
    Behind,
}

/// Of the `mdia` box that is being read.
#[derive(Default)]
struct Track {
    is_video: bool,
    time_scale: Option<u32>,
}

impl Walk<'_> {
    fn boxes_in(&mut self, mut at: u64, end: u64, depth: u32) -> Result<(), Unknown> {
        while self.spend(depth)? {
            let Some((kind, content, next)) = self.header(at, end) else { return Ok(()) };
            match &kind {
                b"moov" | b"hoov" if self.index == Index::Ahead => {
                    // FFmpeg takes a `hoov` for a `moov` only if it begins as one.
                    let moov = &kind == b"moov" || self.begins_as_moov(content);
                    self.index = if moov { Index::Inside } else { Index::Ahead };
                    self.boxes_in(content, next, depth + 1)?;
                    self.index = if moov { Index::Behind } else { Index::Ahead };
                }
                // Without any `moov`, FFmpeg looks for one that was marked as free.
                b"free" if !self.begins_as_moov(content) => {}
                // The containers of `mov_read_default`.
                b"moov" | b"hoov" | b"free" | b"trak" | b"minf" | b"stbl" | b"moof" | b"traf" | b"udta" | b"tref"
                | b"sinf" | b"schi" | b"edts" | b"dinf" | b"mvex" | b"ilst" | b"wave" => {
                    self.boxes_in(content, next, depth + 1)?;
                }
                b"meta" => self.boxes_of_meta(content, next, depth + 1)?,
                b"stsd" => self.refuse_tables(content, next)?,
                b"cmov" => return Err(Unknown::Compressed),
                b"mdia" => {
                    self.track = Track::default();
                    self.boxes_in(content, next, depth + 1)?;
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
        Ok(())
    }

    /// Whether another box is looked at.
    fn spend(&mut self, depth: u32) -> Result<bool, Unknown> {
        let behind = self.index == Index::Behind;
        if self.boxes < if behind { MOST_BOXES } else { MOST_BOXES_OF_INDEX } && depth < DEEPEST {
            self.boxes += 1;
            return Ok(true);
        }
        if behind { Ok(false) } else { Err(Unknown::TooManyBoxes) }
    }

    fn begins_as_moov(&mut self, content: u64) -> bool {
        let kind = self.number(content + 4).map(u32::to_be_bytes);
        matches!(kind.as_ref(), Some(b"mvhd" | b"cmov"))
    }

    /// The boxes of a `meta` begin where FFmpeg finds a `hdlr`: where others have a version in front, those of MOV have none.
    fn boxes_of_meta(&mut self, content: u64, end: u64, depth: u32) -> Result<(), Unknown> {
        let mut found = None;
        self.look_at_bytes(content + 4, end, depth, &mut |bytes, at| {
            let words = bytes.chunks_exact(4).position(|word| word == b"hdlr");
            found = words.map(|words| at + 4 * words as u64);
            found.is_some()
        })?;
        found.map_or(Ok(()), |at| self.boxes_in(at - 4, end, depth))
    }

    /// FFmpeg reads the boxes behind each entry's fields, which begin at a place that depends on the format.
    fn refuse_tables(&mut self, content: u64, end: u64) -> Result<(), Unknown> {
        let mut found = false;
        self.look_at_bytes(content, end, 0, &mut |bytes, _| {
            found = bytes.windows(4).any(|kind| matches!(kind, b"stsz" | b"stz2" | b"trun" | b"cmov"));
            found
        })?;
        if found { Err(Unknown::OutOfPlace) } else { Ok(()) }
    }

    /// Shows what lies in `[at, end)` in pieces, the last four bytes of one again in the next, until `look` has seen
    /// enough. A piece costs as much as a box.
    fn look_at_bytes(
        &mut self,
        mut at: u64,
        end: u64,
        depth: u32,
        look: &mut dyn FnMut(&[u8], u64) -> bool,
    ) -> Result<(), Unknown> {
        let mut piece = [0; 4096];
        while end.saturating_sub(at) > 4 && self.spend(depth)? {
            let bytes = piece.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            if !(self.read)(&mut piece[..bytes], at) || look(&piece[..bytes], at) {
                break;
            }
            at += bytes as u64 - 4;
        }
        Ok(())
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

    fn claims_of(bytes: &[u8]) -> Result<Claims, Unknown> {
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
        assert_eq!(claims, Ok(Claims { samples: 7 + u64::from(u32::MAX) + 11, no_time_scale: false }));
    }

    #[test]
    fn a_time_scale_of_nothing_matters_for_video_only() {
        assert!(claims_of(&boxed(*b"moov", &track(*b"vide", 0, 1))).unwrap().no_time_scale);
        assert!(!claims_of(&boxed(*b"moov", &track(*b"tmcd", 0, 1))).unwrap().no_time_scale);
    }

    fn moov(samples: u32) -> Vec<u8> {
        boxed(*b"moov", &track(*b"vide", 90_000, samples))
    }

    fn samples_of(bytes: &[u8]) -> u64 {
        claims_of(bytes).unwrap().samples
    }

    #[test]
    fn an_index_behind_or_among_too_many_boxes_is_refused() {
        let empty = |boxes| boxed(*b"free", b"").repeat(boxes);
        assert_eq!(samples_of(&[empty(20_000), moov(7)].concat()), 7);
        let most = MOST_BOXES_OF_INDEX as usize;
        assert_eq!(claims_of(&[empty(most), moov(7)].concat()), Err(Unknown::TooManyBoxes));
        assert_eq!(claims_of(&boxed(*b"moov", &[empty(most), moov(7)].concat())), Err(Unknown::TooManyBoxes));
        assert_eq!(samples_of(&[moov(7), empty(most), moov(7)].concat()), 7, "what FFmpeg reads is known");
        let mut inside = track(*b"vide", 0, 1);
        for _ in 0..1000 {
            inside = boxed(*b"moov", &inside);
        }
        assert_eq!(claims_of(&inside), Err(Unknown::TooManyBoxes));
    }

    #[test]
    fn a_thousand_tracks_are_not_too_many_boxes() {
        let tracks = track(*b"vide", 90_000, 7).repeat(10_000);
        assert_eq!(samples_of(&boxed(*b"moov", &tracks)), 70_000);
    }

    #[test]
    fn a_compressed_index_is_refused() {
        let compressed = boxed(*b"cmov", &[boxed(*b"dcom", b"zlib"), boxed(*b"cmvd", &[0; 9])].concat());
        assert_eq!(claims_of(&boxed(*b"moov", &compressed)), Err(Unknown::Compressed));
        assert_eq!(claims_of(&boxed(*b"free", &compressed)), Err(Unknown::Compressed));
    }

    #[test]
    fn tables_are_found_wherever_ffmpeg_finds_them() {
        let stsz = boxed(*b"stsz", &[&[0; 8][..], &7u32.to_be_bytes()].concat());
        for kind in [*b"udta", *b"tref", *b"sinf", *b"schi", *b"edts", *b"dinf", *b"mvex", *b"ilst", *b"wave"] {
            let name = String::from_utf8_lossy(&kind).into_owned();
            assert_eq!(samples_of(&boxed(*b"moov", &boxed(kind, &stsz))), 7, "{name}");
        }
        let hdlr = boxed(*b"hdlr", &[0; 25]);
        for version in [&b""[..], &[0; 4], &[0; 8000]] {
            assert_eq!(samples_of(&boxed(*b"meta", &[version, &hdlr, &stsz].concat())), 7, "{}", version.len());
        }
        let mvhd = boxed(*b"mvhd", &[0; 100]);
        for kind in [*b"free", *b"hoov"] {
            assert_eq!(samples_of(&boxed(kind, &[mvhd.clone(), stsz.clone()].concat())), 7);
        }
        for fields in [86, 4094, 9000] {
            let entries = [vec![0; fields], stsz.clone()].concat();
            assert_eq!(claims_of(&boxed(*b"stsd", &entries)), Err(Unknown::OutOfPlace), "{fields}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = claims_of(&bytes);
            let _ = claims_of(&boxed(*b"moov", &bytes));
        }
    }
}
