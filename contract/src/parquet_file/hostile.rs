//! Refuses files on which the Parquet library would spend time or memory out of all proportion to their size.
//!
//! It skips what it does not know of in a footer, however often a list says that it repeats, and it makes room for
//! whatever a page's header promises. Both are in Thrift's compact protocol
//! (`thrift-compact-protocol.md` of Apache Thrift), which is walked over here first.

use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Of no group more rows are read than ours have, so that a file's size bounds how many it stands for.
const MAX_GROUP_ROWS: usize = super::GROUP_ROWS;
/// Bytes of a page when it is decompressed. Ours have one or two MiB.
const MAX_PAGE_BYTES: i64 = 16 << 20;
/// A page's header has some dozens of bytes, and the least and the greatest value.
const MAX_HEADER_BYTES: usize = 4096;
/// Structs in structs: a footer's are six deep.
const MAX_DEPTH: u32 = 16;

/// Looks at the footer as bytes, before the library does.
pub(super) fn check_footer(file: &File) -> Result<(), ParquetError> {
    let length = file.metadata()?.len();
    let mut tail = [0; 8];
    let tail_at = length.checked_sub(8).ok_or_else(|| damaged("it is too short"))?;
    file.read_exact_at(&mut tail, tail_at)?;
    let footer_bytes = u64::from(u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]));
    let footer_at = tail_at.checked_sub(footer_bytes).ok_or_else(|| damaged("its footer is longer than itself"))?;
    let mut footer = vec![0; footer_bytes as usize];
    file.read_exact_at(&mut footer, footer_at)?;
    let walked = Compact { bytes: &footer }.structure(MAX_DEPTH, 0, &mut |_, _, _| {});
    walked.ok_or_else(|| damaged("its footer makes no sense"))
}

/// Looks at what the footer says and at the headers of all pages. Gives the number of rows.
pub(super) fn check_pages(file: &File, metadata: &ParquetMetaData) -> Result<usize, ParquetError> {
    let length = file.metadata()?.len();
    let mut rows = 0;
    for group in metadata.row_groups() {
        let group_rows = usize::try_from(group.num_rows()).ok().filter(|rows| *rows <= MAX_GROUP_ROWS);
        rows += group_rows.ok_or_else(|| damaged("a group of it has too many rows"))?;
        for column in group.columns() {
            let levels = (column.column_descr().max_rep_level(), column.column_descr().max_def_level());
            if !matches!(levels, (0, 0 | 1)) {
                return Err(damaged("a column of it has lists or structs, as none of ours has"));
            }
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let size = u64::try_from(column.compressed_size()).ok();
            let place = u64::try_from(start)
                .ok()
                .zip(size)
                .filter(|(start, size)| start.checked_add(*size).is_some_and(|end| end <= length));
            let (start, size) = place.ok_or_else(|| damaged("a column of it lies outside of the file"))?;
            if rows_of_column(file, start, start + size)? != group.num_rows() {
                return Err(damaged("a column of it has not as many rows as its group"));
            }
        }
    }
    Ok(rows)
}

/// `DELTA_LENGTH_BYTE_ARRAY` and `DELTA_BYTE_ARRAY`, whose readers make room for as many values as a page claims. Ours
/// have neither.
const UNUSED_ENCODINGS: std::ops::RangeInclusive<i64> = 6..=7;

/// From the headers of its pages, which lie in `[at, end)` of the file.
fn rows_of_column(file: &File, mut at: u64, end: u64) -> Result<i64, ParquetError> {
    let mut buffer = [0; MAX_HEADER_BYTES];
    let mut rows = 0;
    while at < end {
        let bytes = buffer.len().min((end - at) as usize);
        file.read_exact_at(&mut buffer[..bytes], at)?;
        let page = Page::at(&buffer[..bytes]).filter(|page| page.bytes <= end - at);
        let page = page.ok_or_else(|| damaged("a page of it has a header that makes no sense"))?;
        at += page.bytes;
        rows += page.rows;
    }
    Ok(rows)
}

#[derive(Debug, PartialEq, Eq)]
struct Page {
    /// With its header.
    bytes: u64,
    rows: i64,
}

impl Page {
    /// The page at the beginning of `bytes`. `None` if its header is not to be trusted.
    fn at(bytes: &[u8]) -> Option<Self> {
        let mut compact = Compact { bytes };
        let (mut uncompressed, mut compressed) = (0, 0);
        let [mut data, mut dictionary, mut data_v2] = [None; 3];
        let mut is_ours = true;
        // The IDs of `PageHeader` in parquet.thrift. In 5 and 8 it has what is said of data, in 7 of a dictionary.
        compact.structure(MAX_DEPTH, 0, &mut |parent, field, value| match (parent, field) {
            (0, 2) => uncompressed = value,
            (0, 3) => compressed = value,
            (5, 1) => data = Some(value),
            (7, 1) => dictionary = Some(value),
            (8, 1) => data_v2 = Some(value),
            (5, 2) | (8, 4) => is_ours &= !UNUSED_ENCODINGS.contains(&value),
            _ => {}
        })?;
        // Of which one counts the library would tell by the page's type.
        if [data, dictionary, data_v2].iter().flatten().count() > 1 || !is_ours {
            return None;
        }
        let rows = data.or(data_v2).unwrap_or(0);
        let few = |values: i64| (0..=MAX_GROUP_ROWS as i64).contains(&values);
        let plausible = (0..=MAX_PAGE_BYTES).contains(&uncompressed) && few(rows) && few(dictionary.unwrap_or(0));
        let header = (bytes.len() - compact.bytes.len()) as u64;
        let compressed = u64::try_from(compressed).ok().filter(|_| plausible)?;
        Some(Self { bytes: compressed.saturating_add(header), rows })
    }
}

fn damaged(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// What is left to walk over.
struct Compact<'a> {
    bytes: &'a [u8],
}

/// Takes the ID of the struct's own field (0 for the outermost), that of a field in it, and its value. It is told of the
/// outermost struct and of those directly in it.
type Integers<'a> = &'a mut dyn FnMut(i64, i64, i64);

impl Compact<'_> {
    /// Walks over a struct in time that its bytes bound. `None` where it is none, or has what Parquet's never have.
    fn structure(&mut self, depth: u32, parent: i64, integers: Integers<'_>) -> Option<()> {
        let mut field: i64 = 0;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Some(());
            }
            let next = match head >> 4 {
                0 => self.zigzag()?,
                delta => field.checked_add(i64::from(delta))?,
            };
            // From 1 up, and none twice.
            field = Some(next).filter(|next| *next > field)?;
            match head & 0x0f {
                // Booleans are in the head already.
                1 | 2 => {}
                3 => drop(self.byte()?),
                4..=6 => integers(parent, field, self.zigzag()?),
                7 => self.skip(8)?,
                8 => self.binary()?,
                9 => self.list(depth.checked_sub(1)?)?,
                12 if parent == 0 => self.structure(depth.checked_sub(1)?, field, integers)?,
                12 => self.structure(depth.checked_sub(1)?, field, &mut |_, _, _| {})?,
                _ => return None,
            }
        }
    }

    fn list(&mut self, depth: u32) -> Option<()> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.varint()?,
            length => u64::from(length),
        };
        for _ in 0..length {
            // Each of these takes a byte at least.
            match head & 0x0f {
                4..=6 => drop(self.zigzag()?),
                8 => self.binary()?,
                12 => self.structure(depth, -1, &mut |_, _, _| {})?,
                _ => return None,
            }
        }
        Some(())
    }

    fn binary(&mut self) -> Option<()> {
        let length = self.varint()?;
        self.skip(usize::try_from(length).ok()?)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.bytes = self.bytes.get(bytes..)?;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> Option<()> {
        Compact { bytes }.structure(MAX_DEPTH, 0, &mut |_, _, _| {})
    }

    #[test]
    fn a_list_of_nothing_that_repeats_for_ever_is_refused() {
        // Field 1: a list of 2^34 booleans, which would take no bytes at all.
        assert_eq!(walk(&[0x19, 0xf1, 0x80, 0x80, 0x80, 0x80, 0x40, 0]), None);
        // Field 1: a list of 2^34 structs, of which two are there.
        assert_eq!(walk(&[0x19, 0xfc, 0x80, 0x80, 0x80, 0x80, 0x40, 0, 0]), None);
        assert_eq!(walk(&[0x19, 0x2c, 0, 0, 0]), Some(()));
    }

    #[test]
    fn structs_in_structs_end_somewhere() {
        let deep = |levels| [vec![0x1c; levels], vec![0; levels + 1]].concat();
        assert_eq!(walk(&deep(MAX_DEPTH as usize)), Some(()));
        assert_eq!(walk(&deep(MAX_DEPTH as usize + 1)), None);
    }

    #[test]
    fn a_page_that_would_need_more_memory_than_any_of_ours_is_refused() {
        // `type` 0, `uncompressed_page_size` and `compressed_page_size` as zigzag varints, stop.
        let header = |uncompressed: &[u8]| [&[0x15, 0, 0x15], uncompressed, &[0x15, 20, 0]].concat();
        assert_eq!(Page::at(&header(&[20])), Some(Page { bytes: 7 + 10, rows: 0 }));
        assert_eq!(Page::at(&header(&[0xfe, 0xff, 0xff, 0xff, 0x0f])), None, "2 GiB");
        assert_eq!(Page::at(&header(&[1])), None, "-1");
    }

    #[test]
    fn what_a_header_says_of_a_page_is_said_once_and_in_its_place() {
        let compressed = |rest: &[u8]| [&[0x15, 0, 0x15, 20, 0x15, 20], rest, &[0]].concat();
        let page = |rows| Some(Page { bytes: 6 + 10 + rows as u64, rows: 7 });
        // Field 5 or 8: a struct whose field 1 is 7.
        let (data, data_v2) = ([0x2c, 0x15, 14, 0], [0x5c, 0x15, 14, 0]);
        assert_eq!(Page::at(&compressed(&data)), page(5));
        assert_eq!(Page::at(&compressed(&data_v2)), page(5));
        assert_eq!(Page::at(&compressed(&[&data[..], &[0x3c, 0x15, 14, 0]].concat())), None, "of both versions");
        assert_eq!(Page::at(&compressed(&[&data[..], &[0x2c, 0x15, 2, 0]].concat())), None, "of a dictionary too");
        // In field 5, field 2 is a struct with a struct 5, whose field 1 is 100.
        let deep = [0x2c, 0x15, 14, 0x1c, 0x5c, 0x15, 200, 1, 0, 0, 0];
        assert_eq!(Page::at(&compressed(&deep)), page(12));
        // Field 0: a struct whose fields 2 and 3 are 1, which would be taken for the page's own sizes.
        let zero = [0x0c, 0, 0x25, 2, 0x15, 2, 0];
        assert_eq!(Page::at(&compressed(&zero)), None, "field 0");
        // Field 3 again, in the long form.
        assert_eq!(Page::at(&compressed(&[0x05, 6, 2])), None, "twice");
    }
}
