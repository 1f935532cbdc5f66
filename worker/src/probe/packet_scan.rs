//! What the packets of a video tell of its frames and of the places where it can be cut, in one pass and in memory that
//! hardly grows with the video.

use framefleet_contract::packet_table::PacketRow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Takes the packets one by one, in the order of the file.
#[derive(Debug)]
pub struct PacketScan {
    window: PresentationOrder,
    found: Found,
    /// The greatest timestamp of a packet that is shown.
    last_pts: i64,
    edit: Edit,
}

/// What the scan came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    pub packets: u64,
    /// Packets for which a frame is expected.
    pub shown: i64,
    /// Packets that are not to be discarded, whether or not they have a timestamp.
    pub kept: i64,
    /// Of those, the ones whose data announce a picture that is shown.
    pub announced: u64,
    /// Of the packets that are not to be discarded: the least and the greatest presentation timestamp.
    pub pts_range: Option<(i64, i64)>,
    /// The timestamp of the first frame.
    pub first_shown: Option<i64>,
    pub keyframes: Vec<Keyframe>,
    /// Why timestamps do not number the frames.
    pub unnumbered_because: Option<&'static str>,
    /// Why there are no pieces that are decoded like the whole.
    pub uncut_because: Option<&'static str>,
}

/// A packet that the container calls a keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keyframe {
    pub ordinal: u64,
    pub pts: i64,
    pub dts: Option<i64>,
    /// Whether the packet's own data say that nothing before it is needed.
    pub is_idr: bool,
    /// Frames that are shown before it or any packet behind it.
    pub frames_before: i64,
    /// Whether all packets before it are shown before all packets from it on.
    pub parts_the_order: bool,
    /// The greatest timestamp before it.
    last_pts_before: i64,
}

#[cfg(test)]
impl Keyframe {
    /// One tick a packet, shown in the order of the file.
    pub fn at(ordinal: u64, is_idr: bool) -> Self {
        let time = ordinal as i64;
        Self {
            ordinal,
            pts: time,
            dts: Some(time),
            is_idr,
            frames_before: time,
            parts_the_order: true,
            last_pts_before: time - 1,
        }
    }
}

/// Packets between two keyframes that are kept, at least: in some videos every packet is one.
const KEYFRAME_STRIDE: u64 = 12;

/// What a packet's own data say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Signs {
    /// No picture is shown for it.
    pub is_hidden: bool,
    /// Nothing before it is needed from here on.
    pub is_idr: bool,
    /// The decoder is given new parameters, which a later segment's decoder would not get.
    pub changes_parameters: bool,
}

impl PacketScan {
    /// For a video whose first frame out of a decoder has the timestamp `first_shown`.
    pub fn new(first_shown: Option<i64>) -> Self {
        let unnumbered_because = first_shown.is_none().then_some("the first packets give no frame with a timestamp");
        Self {
            window: PresentationOrder::default(),
            found: Found { first_shown, unnumbered_because, ..Found::default() },
            last_pts: i64::MIN,
            edit: Edit::Before,
        }
    }

    /// Takes the next packet and says in it whether it is shown.
    pub fn take(&mut self, row: &mut PacketRow, signs: Signs) {
        let ordinal = self.found.packets;
        self.found.packets += 1;
        if row.corrupt {
            self.found.uncut_because.get_or_insert("the container marks packets as damaged");
        }
        if signs.changes_parameters {
            self.found.uncut_because.get_or_insert("the decoder's parameters change on the way");
        }
        if self.edit.is_left_out_between(row.discard) {
            self.found.uncut_because.get_or_insert("an edit list leaves out parts of the video");
        }
        if row.discard {
            return;
        }
        self.found.kept += 1;
        self.found.announced += u64::from(!signs.is_hidden);
        let Some(pts) = row.pts else {
            self.unnumbered("packets without a timestamp");
            return;
        };
        let (least, greatest) = self.found.pts_range.unwrap_or((pts, pts));
        self.found.pts_range = Some((least.min(pts), greatest.max(pts)));
        if signs.is_hidden
            || self.found.first_shown.is_none_or(|first| pts < first)
            || self.found.unnumbered_because.is_some()
        {
            return;
        }
        row.shown = true;
        self.show(ordinal, row, pts, signs.is_idr);
    }

    pub fn finish(mut self) -> Found {
        if !self.window.is_rising_to_the_end() {
            self.unnumbered(GOES_BACK);
        }
        if self.found.unnumbered_because.is_some() {
            self.found.keyframes.clear();
        }
        self.found
    }

    fn show(&mut self, ordinal: u64, row: &PacketRow, pts: i64, is_idr: bool) {
        if !self.window.take(pts) {
            self.unnumbered(GOES_BACK);
            return;
        }
        // Pictures in front of a keyframe that are sent behind it still come after all that was sent before it, or else
        // the keyframe is no place to cut.
        for keyframe in self.found.keyframes.iter_mut().rev().take_while(|keyframe| keyframe.last_pts_before >= pts) {
            keyframe.parts_the_order = false;
        }
        let last = self.found.keyframes.last().map(|keyframe| keyframe.ordinal);
        let too_close = last.is_some_and(|last| ordinal - last < KEYFRAME_STRIDE);
        if row.key && !too_close {
            self.found.keyframes.push(Keyframe {
                ordinal,
                pts,
                dts: row.dts,
                is_idr,
                frames_before: self.found.shown,
                parts_the_order: self.last_pts < pts,
                last_pts_before: self.last_pts,
            });
        }
        self.found.shown += 1;
        self.last_pts = self.last_pts.max(pts);
    }

    fn unnumbered(&mut self, because: &'static str) {
        self.found.unnumbered_because.get_or_insert(because);
    }
}

const GOES_BACK: &str = "timestamps repeat or go back";

/// Checks that timestamps can be put in order by looking a few packets ahead, as decoders do.
#[derive(Debug, Default)]
struct PresentationOrder {
    ahead: BinaryHeap<Reverse<i64>>,
    last: Option<i64>,
}

/// Packets; no codec holds back more than 16 pictures.
const AHEAD: usize = 64;

impl PresentationOrder {
    /// `false` if this timestamp comes too late, or twice.
    fn take(&mut self, pts: i64) -> bool {
        self.ahead.push(Reverse(pts));
        self.ahead.len() <= AHEAD || self.rises()
    }

    fn is_rising_to_the_end(&mut self) -> bool {
        while !self.ahead.is_empty() {
            if !self.rises() {
                return false;
            }
        }
        true
    }

    fn rises(&mut self) -> bool {
        let Some(Reverse(least)) = self.ahead.pop() else { return true };
        self.last.replace(least).is_none_or(|last| last < least)
    }
}

/// An edit list may leave out packets at the beginning, which changes nothing, and between two that are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    Before,
    Shown,
    LeftOut,
}

impl Edit {
    fn is_left_out_between(&mut self, discard: bool) -> bool {
        let between = *self == Self::LeftOut && !discard;
        *self = match (*self, discard) {
            (Self::Before, true) => Self::Before,
            (_, true) => Self::LeftOut,
            (_, false) => Self::Shown,
        };
        between
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets with these timestamps, of which some are keyframes.
    fn scan(pts: &[i64], keys: &[usize]) -> Found {
        scan_from(pts.iter().copied().min(), pts, keys)
    }

    fn scan_from(first_shown: Option<i64>, pts: &[i64], keys: &[usize]) -> Found {
        let mut scan = PacketScan::new(first_shown);
        for (i, pts) in pts.iter().enumerate() {
            let mut row = PacketRow { pts: Some(*pts), key: keys.contains(&i), ..PacketRow::default() };
            scan.take(&mut row, Signs::default());
        }
        scan.finish()
    }

    #[test]
    fn a_keyframe_knows_how_many_frames_are_before_it() {
        let pts: Vec<i64> = (0..8).flat_map(|group| [0, 3, 1, 2].map(|pts| 4 * group + pts)).collect();
        let found = scan(&pts, &[0, 16]);
        assert_eq!((found.unnumbered_because, found.shown, found.packets), (None, 32, 32));
        let frames: Vec<i64> = found.keyframes.iter().map(|keyframe| keyframe.frames_before).collect();
        assert_eq!(frames, [0, 16]);
        assert!(found.keyframes.iter().all(|keyframe| keyframe.parts_the_order));
    }

    #[test]
    fn leading_pictures_stay_on_their_keyframes_side() {
        let second_parts = |around: [i64; 6]| {
            let pts: Vec<i64> = (0..20).chain(around.map(|pts| 20 + pts)).collect();
            scan(&pts, &[0, 22]).keyframes[1].parts_the_order
        };
        // The keyframe is shown at 25, the two behind it before it but after all that came earlier.
        assert!(second_parts([0, 1, 5, 3, 4, 6]));
        // Here one of them belongs in front of a picture that was sent before the keyframe.
        assert!(!second_parts([1, 3, 5, 2, 4, 6]));
    }

    #[test]
    fn what_is_not_shown_is_not_counted() {
        let mut scan = PacketScan::new(Some(10));
        let mut row = |pts, is_hidden, discard| {
            let mut row = PacketRow { pts: Some(pts), discard, ..PacketRow::default() };
            scan.take(&mut row, Signs { is_hidden, ..Signs::default() });
            row.shown
        };
        assert!(!row(8, false, true), "left out by the container");
        assert!(!row(9, false, false), "before the first frame that can be decoded");
        assert!(row(10, false, false));
        assert!(!row(11, true, false), "a reference only");
        assert!(row(12, false, false));
        let found = scan.finish();
        assert_eq!((found.packets, found.shown, found.uncut_because), (5, 2, None));
    }

    #[test]
    fn timestamps_that_repeat_jump_back_or_are_missing_number_nothing() {
        assert_eq!(scan(&[0, 1, 1, 2], &[0]).unnumbered_because, Some(GOES_BACK));
        let joined: Vec<i64> = (0..100).chain(50..150).collect();
        let found = scan(&joined, &[0, 100]);
        assert_eq!((found.unnumbered_because, found.keyframes.len()), (Some(GOES_BACK), 0));
        let mut missing = PacketScan::new(Some(0));
        missing.take(&mut PacketRow::default(), Signs::default());
        assert!(missing.finish().unnumbered_because.unwrap().contains("without a timestamp"));
        assert!(scan_from(None, &[0, 1], &[0]).unnumbered_because.unwrap().contains("no frame"));
    }

    #[test]
    fn damage_new_parameters_and_edits_are_reasons_not_to_cut() {
        let reason = |change: &dyn Fn(&mut PacketRow) -> bool| {
            let mut scan = PacketScan::new(Some(0));
            for i in 0..5 {
                let mut row = PacketRow { pts: Some(i), ..PacketRow::default() };
                let changes_parameters = i == 2 && change(&mut row);
                scan.take(&mut row, Signs { changes_parameters, ..Signs::default() });
            }
            scan.finish().uncut_because
        };
        assert_eq!(reason(&|_| false), None);
        assert!(reason(&|_| true).unwrap().contains("parameters"));
        let corrupt = |row: &mut PacketRow| {
            row.corrupt = true;
            false
        };
        assert!(reason(&corrupt).unwrap().contains("damaged"));
        let left_out = |row: &mut PacketRow| {
            row.discard = true;
            false
        };
        assert!(reason(&left_out).unwrap().contains("edit list"));
    }

    #[test]
    fn of_keyframes_side_by_side_one_in_many_is_kept() {
        let mut scan = PacketScan::new(Some(0));
        for i in 0..100 {
            scan.take(&mut PacketRow { pts: Some(i), key: true, ..PacketRow::default() }, Signs::default());
        }
        let ordinals: Vec<u64> = scan.finish().keyframes.iter().map(|keyframe| keyframe.ordinal).collect();
        assert_eq!(ordinals, [0, 12, 24, 36, 48, 60, 72, 84, 96]);
    }
}
