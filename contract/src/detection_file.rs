//! Rows of detections in Parquet: `segments/*.parquet` and `tracks.parquet`, the result.

use crate::detection::Detection;
use crate::parquet_file::{self, BATCH_ROWS, Columns, column};
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, DictionaryArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// One detection of a video.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// Rank in presentation order, from 0, counting every frame.
    pub frame: i64,
    /// Presentation time since the first frame, microseconds.
    pub pts_us: i64,
    /// `None` where the tracker did not take the detection, and in segments.
    pub track_id: Option<i64>,
    pub detection: Detection,
}

/// Where pictures were decoded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecodedOn {
    #[default]
    Software,
    /// A GPU's own decoder.
    Nvdec,
}

/// What a segment's file says of itself beside its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentInfo {
    pub index: u32,
    /// Frames that the decoder gave.
    pub decoded: u64,
    #[serde(default)]
    pub decoded_on: DecodedOn,
    /// The GPU that its frames were inferred on, as the driver calls it; absent for a CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inferred_on: Option<String>,
    /// Why its decoder was software, on a worker with a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software_because: Option<String>,
    /// Packets at which it found damage.
    pub damaged: u64,
    /// Frames that went through the detector.
    pub inferred: u64,
    /// One more than the number of the last frame: where the next segment begins.
    pub end_frame: i64,
    /// CRC-32 of the first packet's picture, and of the picture of the first packet behind the segment, which its
    /// decoder was given too: neighbours that were cut rightly agree. `None` where no such picture came out.
    pub first_picture: Option<u32>,
    pub next_picture: Option<u32>,
    /// [`RowsChecksum`] of all rows: set when the file is written.
    pub rows_checksum: u32,
}

/// CRC-32 over rows without their tracks, in the order of the file: a bit that turned over on a disk would otherwise
/// make another box.
#[derive(Debug, Clone, Default)]
pub struct RowsChecksum(crc32fast::Hasher);

impl RowsChecksum {
    pub fn add(&mut self, row: &Row) {
        let Detection { class_id, score, x1, y1, x2, y2 } = row.detection;
        self.0.update(&row.frame.to_le_bytes());
        self.0.update(&row.pts_us.to_le_bytes());
        self.0.update(&class_id.to_le_bytes());
        for value in [score, x1, y1, x2, y2] {
            self.0.update(&value.to_le_bytes());
        }
    }

    pub fn value(self) -> u32 {
        self.0.finalize()
    }
}

const SEGMENT_KEY: &str = "framefleet.segment";
const COLUMNS: Columns =
    Columns { rising: &["frame", "pts_us", "track_id"], floats: &["score", "x1", "y1", "x2", "y2"] };

/// Whether a file has the column `track_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Segment,
    Tracks,
}

/// Writes rows in the order given; whatever the pace at which they come, the same rows give the same bytes.
#[derive(Debug)]
pub struct RowWriter<W: Write + Send> {
    writer: ArrowWriter<W>,
    kind: Kind,
    schema: SchemaRef,
    class_names: Arc<StringArray>,
    rows: Vec<Row>,
    checksum: RowsChecksum,
}

impl<W: Write + Send> RowWriter<W> {
    /// A segment's file, to be ended by [`RowWriter::finish_segment`]. `class_names` has a name for every `class_id`
    /// that will come.
    pub fn segment(sink: W, class_names: &[String]) -> Result<Self, ParquetError> {
        Self::new(sink, Kind::Segment, class_names, Vec::new())
    }

    /// Adds what the segment says of itself and the rows' checksum, and writes the rest.
    pub fn finish_segment(mut self, info: &SegmentInfo) -> Result<(), ParquetError> {
        let info = SegmentInfo { rows_checksum: self.checksum.clone().value(), ..info.clone() };
        let info = serde_json::to_string(&info).map_err(|e| ParquetError::External(Box::new(e)))?;
        self.writer.append_key_value_metadata(KeyValue::new(SEGMENT_KEY.to_owned(), info));
        self.finish()
    }

    /// The job's result. `metadata` holds what it depends on, and nothing that differs between two runs of the same work.
    pub fn tracks(sink: W, class_names: &[String], metadata: Vec<(String, String)>) -> Result<Self, ParquetError> {
        Self::new(sink, Kind::Tracks, class_names, metadata)
    }

    fn new(sink: W, kind: Kind, class_names: &[String], metadata: Vec<(String, String)>) -> Result<Self, ParquetError> {
        let schema = schema(kind);
        Ok(Self {
            writer: parquet_file::writer(sink, schema.clone(), &COLUMNS, metadata)?,
            kind,
            schema,
            class_names: Arc::new(StringArray::from_iter_values(class_names)),
            rows: Vec::with_capacity(BATCH_ROWS),
            checksum: RowsChecksum::default(),
        })
    }

    pub fn push(&mut self, row: Row) -> Result<(), ParquetError> {
        if self.kind == Kind::Segment {
            self.checksum.add(&row);
        }
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
        let rows = &self.rows;
        let floats = |value: fn(&Detection) -> f32| -> ArrayRef {
            Arc::new(Float32Array::from_iter_values(rows.iter().map(|row| value(&row.detection))))
        };
        let class_ids = Int32Array::from_iter_values(rows.iter().map(|row| row.detection.class_id));
        let classes = DictionaryArray::<Int32Type>::try_new(class_ids.clone(), self.class_names.clone())?;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.frame))),
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.pts_us))),
        ];
        if self.kind == Kind::Tracks {
            columns.push(Arc::new(rows.iter().map(|row| row.track_id).collect::<Int64Array>()));
        }
        columns.extend([Arc::new(class_ids) as ArrayRef, Arc::new(classes)]);
        columns.extend([floats(|d| d.score), floats(|d| d.x1), floats(|d| d.y1), floats(|d| d.x2), floats(|d| d.y2)]);
        self.writer.write(&RecordBatch::try_new(self.schema.clone(), columns)?)?;
        self.rows.clear();
        Ok(())
    }
}

fn schema(kind: Kind) -> SchemaRef {
    let column = |name: &str, data_type| Field::new(name, data_type, false);
    let mut fields = vec![column("frame", DataType::Int64), column("pts_us", DataType::Int64)];
    if kind == Kind::Tracks {
        fields.push(Field::new("track_id", DataType::Int64, true));
    }
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    fields.extend([column("class_id", DataType::Int32), column("class", dictionary)]);
    fields.extend(["score", "x1", "y1", "x2", "y2"].map(|name| column(name, DataType::Float32)));
    Arc::new(Schema::new(fields))
}

/// What a segment's file says of itself, without its rows.
pub fn read_segment_info(path: &Path) -> Result<SegmentInfo, ParquetError> {
    let (metadata, _) = parquet_file::reader(File::open(path)?, 0, Some(0))?;
    let info = metadata.iter().find(|pair| pair.key == SEGMENT_KEY).and_then(|pair| pair.value.as_deref());
    let info = info.ok_or_else(|| ParquetError::General(format!("no `{SEGMENT_KEY}` in the file's metadata")))?;
    serde_json::from_str(info).map_err(|e| ParquetError::External(Box::new(e)))
}

/// The rows of a segment or of a job, a batch at a time.
pub fn read_rows(path: &Path) -> Result<impl Iterator<Item = Result<Vec<Row>, ParquetError>> + use<>, ParquetError> {
    let (_, batches) = parquet_file::reader(File::open(path)?, 0, None)?;
    Ok(batches.map(|batch| rows_of(&batch?)))
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>, ParquetError> {
    let frame: &Int64Array = column(batch, "frame")?;
    let pts_us: &Int64Array = column(batch, "pts_us")?;
    let class_id: &Int32Array = column(batch, "class_id")?;
    let [score, x1, y1, x2, y2] = [
        column::<Float32Array>(batch, "score")?,
        column(batch, "x1")?,
        column(batch, "y1")?,
        column(batch, "x2")?,
        column(batch, "y2")?,
    ];
    let track_id: Option<&Int64Array> = match batch.column_by_name("track_id") {
        Some(_) => Some(column(batch, "track_id")?),
        None => None,
    };
    let row = |i: usize| Row {
        frame: frame.value(i),
        pts_us: pts_us.value(i),
        track_id: track_id.filter(|ids| ids.is_valid(i)).map(|ids| ids.value(i)),
        detection: Detection {
            class_id: class_id.value(i),
            score: score.value(i),
            x1: x1.value(i),
            y1: y1.value(i),
            x2: x2.value(i),
            y2: y2.value(i),
        },
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Vec<String> {
        vec!["person".into(), "car".into()]
    }

    fn row(i: usize) -> Row {
        let x1 = i as f32 * 0.5;
        let detection = Detection { class_id: (i % 2) as i32, score: 0.5, x1, y1: 1.0, x2: x1 + 1.0, y2: 2.0 };
        let track_id = (!i.is_multiple_of(3)).then_some(i as i64 / 7);
        Row { frame: i as i64 / 4, pts_us: i as i64 / 4 * 40_000, track_id, detection }
    }

    fn tracks_of(rows: &[Row]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = RowWriter::tracks(&mut bytes, &names(), vec![("k".into(), "v".into())]).unwrap();
        for row in rows {
            writer.push(*row).unwrap();
        }
        writer.finish().unwrap();
        bytes
    }

    fn file_of(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn read_all(bytes: &[u8]) -> Vec<Row> {
        let file = file_of(bytes);
        read_rows(file.path()).unwrap().flat_map(Result::unwrap).collect()
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let rows: Vec<Row> = (0..BATCH_ROWS * 2 + 17).map(row).collect();
        assert_eq!(read_all(&tracks_of(&rows)), rows);
    }

    #[test]
    fn a_file_without_rows_is_a_file() {
        assert_eq!(read_all(&tracks_of(&[])), []);
    }

    #[test]
    fn a_segment_keeps_its_counts_and_no_track() {
        let info =
            SegmentInfo { index: 3, decoded: 10, damaged: 1, inferred: 9, end_frame: 40, ..SegmentInfo::default() };
        let info = SegmentInfo { software_because: Some("NVDEC is busy".to_owned()), ..info };
        let mut bytes = Vec::new();
        let mut writer = RowWriter::segment(&mut bytes, &names()).unwrap();
        writer.push(row(1)).unwrap();
        writer.finish_segment(&info).unwrap();
        let file = file_of(&bytes);
        let read = read_segment_info(file.path()).unwrap();
        assert_ne!(read.rows_checksum, RowsChecksum::default().value());
        assert_eq!(read, SegmentInfo { rows_checksum: read.rows_checksum, ..info });
        let rows: Vec<Row> = read_rows(file.path()).unwrap().flat_map(Result::unwrap).collect();
        assert_eq!(rows, [Row { track_id: None, ..row(1) }]);
    }

    #[test]
    fn a_segment_from_before_there_were_gpus_was_decoded_in_software() {
        let older = r#"{"index":0,"decoded":3,"damaged":0,"inferred":3,"end_frame":3,"first_picture":1,"next_picture":null,"rows_checksum":7}"#;
        let info: SegmentInfo = serde_json::from_str(older).unwrap();
        assert_eq!((info.decoded_on, info.software_because), (DecodedOn::Software, None));
    }

    #[test]
    fn a_class_without_a_name_is_an_error() {
        let mut writer = RowWriter::tracks(Vec::new(), &names(), Vec::new()).unwrap();
        let mut nameless = row(0);
        nameless.detection.class_id = 2;
        writer.push(nameless).unwrap();
        assert!(writer.finish().is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_file_cut_short_is_an_error(cut in 0usize..2000) {
            let bytes = tracks_of(&(0..50).map(row).collect::<Vec<_>>());
            let file = file_of(&bytes[..bytes.len().saturating_sub(cut + 1)]);
            prop_assert!(read_rows(file.path()).is_err());
        }
    }
}
