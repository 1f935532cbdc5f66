//! The probe's packet table, `packets.parquet`: every video packet in the order of the file.

use crate::parquet_file::{self, BATCH_ROWS, Columns, column};
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// One packet as the demuxer gives it. Its ordinal is its place in the table.
#[expect(clippy::struct_excessive_bools, reason = "they are independent columns")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketRow {
    /// Presentation and decoding timestamps, in ticks of the stream's time base.
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    /// Byte position in the file.
    pub position: Option<i64>,
    /// Bytes, without zero bytes in front: where a stream has start codes, a parser may give those to either neighbour.
    pub size: u32,
    /// CRC-32 of these bytes.
    pub checksum: u32,
    pub key: bool,
    /// Its picture is decoded but not shown: before the start of an edit list, say.
    pub discard: bool,
    pub corrupt: bool,
    /// Whether a frame is expected to come out of the decoder for it.
    pub shown: bool,
}

const COLUMNS: Columns = Columns { rising: &["ordinal", "pts", "dts", "position"], floats: &[] };

/// Writes the table row by row.
#[derive(Debug)]
pub struct PacketWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    schema: SchemaRef,
    written: i64,
    rows: Vec<PacketRow>,
}

impl<W: Write + Send> PacketWriter<W> {
    pub fn new(sink: W) -> Result<Self, ParquetError> {
        let schema = schema();
        let writer = parquet_file::writer(sink, schema.clone(), &COLUMNS, Vec::new())?;
        Ok(Self { writer, schema, written: 0, rows: Vec::with_capacity(BATCH_ROWS) })
    }

    pub fn push(&mut self, row: PacketRow) -> Result<(), ParquetError> {
        self.rows.push(row);
        if self.rows.len() == BATCH_ROWS { self.write_batch() } else { Ok(()) }
    }

    /// Writes what is left and the footer, down to the sink.
    pub fn finish(mut self) -> Result<(), ParquetError> {
        self.write_batch()?;
        self.writer.finish()?;
        Ok(self.writer.sync()?)
    }

    fn write_batch(&mut self) -> Result<(), ParquetError> {
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns_of(self.written, &self.rows))?)?;
        self.written += self.rows.len() as i64;
        self.rows.clear();
        Ok(())
    }
}

fn schema() -> SchemaRef {
    let optional = |name: &str| Field::new(name, DataType::Int64, true);
    let flag = |name: &str| Field::new(name, DataType::Boolean, false);
    Arc::new(Schema::new(vec![
        Field::new("ordinal", DataType::Int64, false),
        optional("pts"),
        optional("dts"),
        optional("position"),
        Field::new("size", DataType::UInt32, false),
        Field::new("checksum", DataType::UInt32, false),
        flag("key"),
        flag("discard"),
        flag("corrupt"),
        flag("shown"),
    ]))
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
        flag(|row| row.shown),
    ]
}

/// The packets `[start, end)` by ordinal, a batch in memory at a time. The last item is an error if the table is shorter.
pub fn read(
    path: &Path,
    start: u64,
    end: u64,
) -> Result<impl Iterator<Item = Result<PacketRow, ParquetError>> + use<>, ParquetError> {
    let take = end.saturating_sub(start) as usize;
    let (_, batches) = parquet_file::reader(File::open(path)?, start as usize, Some(take))?;
    Ok(PacketRows { batches, ready: Vec::new().into_iter(), missing: take })
}

struct PacketRows<B> {
    batches: B,
    ready: std::vec::IntoIter<PacketRow>,
    /// Rows that are still to come.
    missing: usize,
}

impl<B: Iterator<Item = Result<RecordBatch, ParquetError>>> Iterator for PacketRows<B> {
    type Item = Result<PacketRow, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.ready.next() {
                self.missing = self.missing.saturating_sub(1);
                return Some(Ok(row));
            }
            let rows = match self.batches.next() {
                Some(batch) => batch.and_then(|batch| rows_of(&batch)),
                None if self.missing == 0 => return None,
                None => Err(ParquetError::General(format!("{} packets fewer than there should be", self.missing))),
            };
            match rows {
                Ok(rows) => self.ready = rows.into_iter(),
                Err(error) => {
                    self.missing = 0;
                    return Some(Err(error));
                }
            }
        }
    }
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<PacketRow>, ParquetError> {
    let [pts, dts, position] = [column::<Int64Array>(batch, "pts")?, column(batch, "dts")?, column(batch, "position")?];
    let [size, checksum] = [column::<UInt32Array>(batch, "size")?, column(batch, "checksum")?];
    let [key, discard, corrupt, shown] = [
        column::<BooleanArray>(batch, "key")?,
        column(batch, "discard")?,
        column(batch, "corrupt")?,
        column(batch, "shown")?,
    ];
    let optional = |column: &Int64Array, i: usize| column.is_valid(i).then(|| column.value(i));
    let row = |i: usize| PacketRow {
        pts: optional(pts, i),
        dts: optional(dts, i),
        position: optional(position, i),
        size: size.value(i),
        checksum: checksum.value(i),
        key: key.value(i),
        discard: discard.value(i),
        corrupt: corrupt.value(i),
        shown: shown.value(i),
    };
    Ok((0..batch.num_rows()).map(row).collect())
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
            shown: i % 11 != 0,
        }
    }

    #[test]
    fn a_slice_is_the_rows_of_its_ordinals() {
        let rows: Vec<PacketRow> = (0..20_000).map(row).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut writer = PacketWriter::new(&mut file).unwrap();
        for row in &rows {
            writer.push(*row).unwrap();
        }
        writer.finish().unwrap();
        let slice = |start, end| read(file.path(), start, end).unwrap().collect::<Result<Vec<_>, _>>();
        assert_eq!(slice(0, 20_000).unwrap(), rows);
        assert_eq!(slice(8_190, 8_200).unwrap(), rows[8_190..8_200]);
        assert!(slice(19_990, 20_001).is_err());
    }
}
