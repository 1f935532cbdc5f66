//! Which two neighbouring samples an output sample is blended from, and the blending.

/// Bits of the weights between rows: a blended sample is 8.8 fixed point and fills a `u16`.
pub const ROW_BITS: u32 = 8;
/// Bits of the weights between columns: 16 bits of sample and 14 of weight fit an `i32`.
pub const COLUMN_BITS: u32 = 14;
/// The weight of a row tap that is all of its second row.
pub const WHOLE_ROW: u16 = 1 << ROW_BITS;

/// A place between two luma samples of a row or column.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    first: usize,
    second: usize,
    /// How far towards the second, 0 to below 1.
    towards: f64,
}

/// Samples `index` and `index + 1`; the second with `weight`, the first with the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    pub index: u16,
    pub weight: u16,
}

/// Where `count` output samples lie on `len` source samples: centres on centres, clamped at the edges.
pub fn places(len: usize, count: usize) -> Vec<Place> {
    let scale = len as f64 / count as f64;
    let place = |output: usize| {
        let position = ((output as f64 + 0.5) * scale - 0.5).clamp(0.0, (len - 1) as f64);
        let first = position as usize;
        Place { first, second: (first + 1).min(len - 1), towards: position - first as f64 }
    };
    (0..count).map(place).collect()
}

impl Place {
    /// The tap on a plane of `len` samples of which each stands for `1 << shift` luma samples.
    pub fn tap(&self, shift: u32, len: usize, bits: u32) -> Tap {
        let whole = 1_u16 << bits;
        let (first, second) = (self.first >> shift, self.second >> shift);
        let weight = if first == second { 0 } else { (self.towards * f64::from(whole)).round() as u16 };
        // The last sample is reached as the second of the last pair, so that no tap reads beyond the row.
        if first + 1 == len && len > 1 {
            Tap { index: first as u16 - 1, weight: whole }
        } else {
            Tap { index: first as u16, weight }
        }
    }
}

/// Blends two rows of samples into 8.8 fixed point on the scale of 8 bits.
pub fn blend_rows(first: &[u8], second: &[u8], weight: u16, depth: u32, blended: &mut [u16]) {
    if depth == 8 {
        let rest = WHOLE_ROW - weight;
        for ((blended, first), second) in blended.iter_mut().zip(first).zip(second) {
            *blended = u16::from(*first) * rest + u16::from(*second) * weight;
        }
        return;
    }
    let (rest, weight, shift) = (u32::from(WHOLE_ROW - weight), u32::from(weight), depth - 8);
    let most = (1 << depth) - 1;
    let (first, second) = (first.as_chunks::<2>().0, second.as_chunks::<2>().0);
    for ((blended, first), second) in blended.iter_mut().zip(first).zip(second) {
        // Bits above the depth are no part of a sample; without the limit they would overflow.
        let [first, second] = [first, second].map(|bytes| u32::from(u16::from_le_bytes(*bytes)).min(most));
        *blended = ((first * rest + second * weight) >> shift) as u16;
    }
}

/// A sample that can be blended between columns.
pub trait Sample: Copy {
    /// In 8.8 fixed point.
    fn fixed(self) -> u16;
}

impl Sample for u8 {
    fn fixed(self) -> u16 {
        u16::from(self) << ROW_BITS
    }
}

impl Sample for u16 {
    fn fixed(self) -> u16 {
        self
    }
}

/// Columns made together: the loop over them is unrolled, which saves up to a tenth.
const LANES: usize = 8;

/// Picks samples of a row with taps that are all on a sample. The result is [`gather`]'s.
pub fn pick<S: Sample>(row: &[S], taps: &[Tap], gathered: &mut [i32]) {
    let sample = |tap: Tap| i32::from(row[usize::from(tap.index)].fixed()) << COLUMN_BITS;
    let (taps, taps_rest) = taps.as_chunks::<LANES>();
    let (gathered, gathered_rest) = gathered.as_chunks_mut::<LANES>();
    for (gathered, taps) in gathered.iter_mut().zip(taps) {
        *gathered = taps.map(sample);
    }
    for (gathered, tap) in gathered_rest.iter_mut().zip(taps_rest) {
        *gathered = sample(*tap);
    }
}

/// Blends neighbouring samples of a row of at least two. The result has [`ROW_BITS`] + [`COLUMN_BITS`] of fraction.
pub fn gather<S: Sample>(row: &[S], taps: &[Tap], gathered: &mut [i32]) {
    let (taps, taps_rest) = taps.as_chunks::<LANES>();
    let (gathered, gathered_rest) = gathered.as_chunks_mut::<LANES>();
    for (gathered, taps) in gathered.iter_mut().zip(taps) {
        *gathered = blend_columns(row, taps);
    }
    for (gathered, tap) in gathered_rest.iter_mut().zip(taps_rest) {
        [*gathered] = blend_columns(row, &[*tap]);
    }
}

#[inline]
fn blend_columns<S: Sample, const N: usize>(row: &[S], taps: &[Tap; N]) -> [i32; N] {
    taps.map(|tap| {
        let index = usize::from(tap.index);
        let pair = &row[index..index + 2];
        let (first, second) = (i32::from(pair[0].fixed()), i32::from(pair[1].fixed()));
        (first << COLUMN_BITS) + (second - first) * i32::from(tap.weight)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taps(len: usize, count: usize) -> Vec<(u16, u16)> {
        places(len, count).iter().map(|place| place.tap(0, len, 8)).map(|tap| (tap.index, tap.weight)).collect()
    }

    #[test]
    fn halving_blends_pairs_evenly_and_a_third_picks_the_middle() {
        assert_eq!(taps(6, 3), [(0, 128), (2, 128), (4, 128)]);
        assert_eq!(taps(9, 3), [(1, 0), (4, 0), (7, 0)]);
    }

    #[test]
    fn doubling_repeats_the_edges() {
        assert_eq!(taps(2, 4), [(0, 0), (0, 64), (0, 192), (0, 256)]);
    }

    #[test]
    fn no_tap_reads_beyond_its_row() {
        for len in 1..40 {
            for count in 1..60 {
                for shift in 0..=2 {
                    let width = usize::div_ceil(len, 1 << shift);
                    for tap in places(len, count).iter().map(|place| place.tap(shift, width, COLUMN_BITS)) {
                        assert!((tap.index as usize + 1) < width.max(2), "{len} {count} {shift} {tap:?}");
                        assert!(tap.weight <= 1 << COLUMN_BITS && (width > 1 || tap.weight == 0));
                    }
                }
            }
        }
    }

    #[test]
    fn chroma_is_that_of_the_blocks_the_luma_taps_are_in() {
        // Luma 1.5 is between blocks 0 and 1, luma 2.5 inside block 1.
        let place = |first: usize| Place { first, second: first + 1, towards: 0.5 };
        assert_eq!(place(1).tap(1, 4, 8), Tap { index: 0, weight: 128 });
        assert_eq!(place(2).tap(1, 4, 8), Tap { index: 1, weight: 0 });
    }

    #[test]
    fn the_widest_values_fit() {
        let mut blended = [0; 2];
        blend_rows(&[255, 255], &[255, 255], 77, 8, &mut blended);
        assert_eq!(blended, [255 << 8; 2]);
        blend_rows(&[0xff; 4], &[0xff; 4], 77, 16, &mut blended);
        assert_eq!(blended, [0xffff; 2]);
        // A 10-bit sample with stray high bits is as bright as can be, no more.
        blend_rows(&[0xff; 4], &[0xff; 4], 77, 10, &mut blended);
        assert_eq!(blended, [1023 << 6; 2]);
        let mut gathered = [0; 1];
        gather(&[0_u16, 0xffff], &[Tap { index: 0, weight: 1 << COLUMN_BITS }], &mut gathered);
        assert_eq!(gathered, [0xffff << COLUMN_BITS]);
    }
}
