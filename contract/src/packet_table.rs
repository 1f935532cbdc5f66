//! The probe's packet table, `packets.parquet`: every video packet in the order of the file.

use crate::parquet_file::{self, BATCH_ROWS, Columns, column};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema};
use parquet::errors::ParquetError;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// One packet as the demuxer gives it. Its ordinal is its place in the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketRow {
    /// Presentation and decoding timestamps, in ticks of the stream's time base.
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    /// Byte position in the file.
    pub position: Option<i64>,
    /// Bytes.
    pub size: u32,
    /// CRC-32 of the bytes.
    pub checksum: u32,
    pub key: bool,
    /// Its picture is decoded but not shown: before the start of an edit list, say.
    pub discard: bool,
    pub corrupt: bool,
    /// The number of its frame: the rank of `pts` among the packets that are shown. `None` where packets do not tell.
    pub frame: Option<i64>,
}

const COLUMNS: Columns = Columns { rising: &["ordinal", "pts", "dts", "position", "frame"], floats: &[] };

/// Writes the whole table.
pub fn write(sink: &mut (impl Write + Send), rows: &[PacketRow]) -> Result<(), ParquetError> {
    let optional = |name: &str| Field::new(name, DataType::Int64, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, false);
    let schema = Arc::new(Schema::new(vec![
        Field::new("ordinal", DataType::Int64, false),
        optional("pts"),
        optional("dts"),
        optional("position"),
        Field::new("size", DataType::UInt32, false),
        Field::new("checksum", DataType::UInt32, false),
        flag("key"),
        flag("discard"),
        flag("corrupt"),
        optional("frame"),
    ]));
    let mut writer = parquet_file::writer(sink, schema.clone(), &COLUMNS, Vec::new())?;
    for (i, rows) in rows.chunks(BATCH_ROWS).enumerate() {
        let first = (i * BATCH_ROWS) as i64;
        writer.write(&RecordBatch::try_new(schema.clone(), columns_of(first, rows))?)?;
    }
    writer.finish()?;
    Ok(writer.sync()?)
}

fn columns_of(first: i64, rows: &[PacketRow]) -> Vec<ArrayRef> {
    let optional =
        |value: fn(&PacketRow) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int64Array>()) };
    let flag = |value: fn(&PacketRow) -> bool| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(value(row))).collect::<BooleanArray>())
    };
    vec![
        Arc::new(Int64Array::from_iter_values(first..first + rows.len() as i64)),
        optional(|row| row.pts),
        optional(|row| row.dts),
        optional(|row| row.position),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.size))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|row| row.checksum))),
        flag(|row| row.key),
        flag(|row| row.discard),
        flag(|row| row.corrupt),
        optional(|row| row.frame),
    ]
}

/// The packets `[start, end)` by ordinal, so that a segment's worker reads only its slice.
pub fn read(path: &Path, start: u64, end: u64) -> Result<Vec<PacketRow>, ParquetError> {
    let take = end.saturating_sub(start) as usize;
    let (_, batches) = parquet_file::reader(File::open(path)?, start as usize, Some(take))?;
    let mut rows = Vec::with_capacity(take.min(1 << 20));
    for batch in batches {
        read_batch(&batch?, &mut rows)?;
    }
    if rows.len() == take {
        Ok(rows)
    } else {
        Err(ParquetError::General(format!("{} packets where {take} should be", rows.len())))
    }
}

fn read_batch(batch: &RecordBatch, rows: &mut Vec<PacketRow>) -> Result<(), ParquetError> {
    let [pts, dts, position, frame] = [
        column::<Int64Array>(batch, "pts")?,
        column(batch, "dts")?,
        column(batch, "position")?,
        column(batch, "frame")?,
    ];
    let [size, checksum] = [column::<UInt32Array>(batch, "size")?, column(batch, "checksum")?];
    let [key, discard, corrupt] =
        [column::<BooleanArray>(batch, "key")?, column(batch, "discard")?, column(batch, "corrupt")?];
    let optional = |column: &Int64Array, i: usize| column.is_valid(i).then(|| column.value(i));
    rows.extend((0..batch.num_rows()).map(|i| PacketRow {
        pts: optional(pts, i),
        dts: optional(dts, i),
        position: optional(position, i),
        size: size.value(i),
        checksum: checksum.value(i),
        key: key.value(i),
        discard: discard.value(i),
        corrupt: corrupt.value(i),
        frame: optional(frame, i),
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(i: i64) -> PacketRow {
        PacketRow {
            pts: (i % 5 != 0).then_some(i * 512),
            dts: Some(i * 512 - 1024),
            position: Some(i * 1000),
            size: 1000,
            checksum: i as u32 * 77,
            key: i % 50 == 0,
            discard: i < 2,
            corrupt: i == 7,
            frame: Some(i),
        }
    }

    #[test]
    fn a_slice_is_the_rows_of_its_ordinals() {
        let rows: Vec<PacketRow> = (0..20_000).map(row).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write(&mut file, &rows).unwrap();
        assert_eq!(read(file.path(), 0, 20_000).unwrap(), rows);
        assert_eq!(read(file.path(), 8_190, 8_200).unwrap(), rows[8_190..8_200]);
        assert!(read(file.path(), 19_990, 20_001).is_err());
    }
}
