//! What all of our Parquet files have in common: how they are encoded, and how their batches are read back.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

mod hostile;

/// Rows in one group, and in one batch that is handed to the writer.
///
/// A fixed batch makes the pages, and so the bytes, independent of how the rows arrived. 8192 rows of detections are
/// about 350 KB in memory.
pub(crate) const BATCH_ROWS: usize = 8192;
const GROUP_ROWS: usize = 16 * BATCH_ROWS;

/// Opens a writer for `schema`, with `metadata` as the file's key-value pairs.
///
/// Integers that mostly rise (`rising`) are stored as differences, floats (`floats`) as streams of equal bytes; both
/// compress several times better so. `created_by` is ours, so that an upgrade of the library changes no bytes by its name.
pub(crate) fn writer<W: Write + Send>(
    sink: W,
    schema: SchemaRef,
    columns: &Columns,
    metadata: Vec<(String, String)>,
) -> Result<ArrowWriter<W>, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by("framefleet".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_key_value_metadata(Some(metadata.into_iter().map(|(k, v)| KeyValue::new(k, v)).collect()));
    for name in columns.rising {
        properties = encode(properties, name, Encoding::DELTA_BINARY_PACKED);
    }
    for name in columns.floats {
        properties = encode(properties, name, Encoding::BYTE_STREAM_SPLIT);
    }
    ArrowWriter::try_new(sink, schema, Some(properties.build()))
}

/// Which columns are stored in another way than the library's default, a dictionary.
pub(crate) struct Columns {
    pub rising: &'static [&'static str],
    pub floats: &'static [&'static str],
}

fn encode(properties: WriterPropertiesBuilder, column: &str, encoding: Encoding) -> WriterPropertiesBuilder {
    let path = ColumnPath::from(column);
    properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path, encoding)
}

/// A file's key-value metadata and its batches, of rows `[skip, skip + take)`.
pub(crate) fn reader(file: File, skip: usize, take: Option<usize>) -> Result<(Vec<KeyValue>, Batches), ParquetError> {
    hostile::check_footer(&file)?;
    let bytes = file.try_clone()?;
    guarded(|| {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
        let rows = hostile::check_pages(&bytes, builder.metadata())?;
        let metadata = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let left = rows.saturating_sub(skip).min(take.unwrap_or(usize::MAX));
        let reader = builder.with_batch_size(BATCH_ROWS).with_offset(skip).with_limit(left).build()?;
        Ok((metadata, Batches { reader: Some(reader), left }))
    })
}

/// As many rows as the footer promises, or an error in their place.
#[derive(Debug)]
pub(crate) struct Batches {
    /// `None` behind an error: what is left of it is not to be relied on.
    reader: Option<ParquetRecordBatchReader>,
    /// Rows that have to come.
    left: usize,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        let batch = match guarded(|| reader.next().transpose().map_err(ParquetError::from)) {
            Ok(Some(batch)) => batch,
            Ok(None) if self.left == 0 => return None,
            Ok(None) => return Some(Err(damaged(format!("{} rows are missing", self.left)))),
            Err(error) => return Some(Err(error)),
        };
        let Some(left) = self.left.checked_sub(batch.num_rows()) else {
            return Some(Err(damaged("it has more rows than its footer says".to_owned())));
        };
        self.left = left;
        self.reader = Some(reader);
        Some(Ok(batch))
    }
}

/// The library panics at some of what damage makes of a page or a footer, in more places than could be checked for
/// from outside; `fuzz/` finds them. None of them leaves anything behind that is used afterwards.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        Err(damaged(format!("reading it failed: {}", said.unwrap_or("for a reason unknown"))))
    })
}

fn damaged(reason: String) -> ParquetError {
    ParquetError::General(reason)
}

/// A column of a batch by its name and type, or what is wrong with it.
pub(crate) fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> Result<&'a T, ParquetError> {
    batch
        .column_by_name(name)
        .and_then(|column| column.as_any().downcast_ref::<T>())
        .ok_or_else(|| ParquetError::General(format!("column `{name}` is missing or of another type")))
}
