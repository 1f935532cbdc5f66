//! Writes files for `fuzz-segments` to begin from: what our writers write, and the same rows in other encodings.

use arrow_array::RecordBatch;
use framefleet_contract::detection::Detection;
use framefleet_contract::detection_file::{Row, RowWriter, SegmentInfo};
use framefleet_contract::packet_table::{PacketRow, PacketWriter};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("usage: fuzz-segments-corpus FOLDER")?);
    fs::create_dir_all(&folder)?;
    let classes = ["person".to_owned(), "car".to_owned()];
    let mut files = Vec::new();
    for count in [0, 3, 100] {
        let rows: Vec<Row> = (0..count).map(row).collect();
        let path = folder.join(format!("segment-{count}.parquet"));
        let counts =
            SegmentInfo { index: 2, decoded: 25, damaged: 1, inferred: 24, end_frame: 75, ..SegmentInfo::default() };
        let info = SegmentInfo { first_picture: Some(7), ..counts };
        let mut writer = RowWriter::segment(File::create(&path)?, &classes)?;
        rows.iter().try_for_each(|row| writer.push(*row))?;
        writer.finish_segment(&info)?;
        files.push(path);
        let path = folder.join(format!("tracks-{count}.parquet"));
        let metadata = vec![("framefleet.model".to_owned(), "m".to_owned())];
        let mut writer = RowWriter::tracks(File::create(&path)?, &classes, metadata)?;
        rows.iter().try_for_each(|row| writer.push(*row))?;
        writer.finish()?;
        files.push(path);
    }
    let path = folder.join("packets.parquet");
    let mut writer = PacketWriter::new(File::create(&path)?)?;
    (0..60).try_for_each(|i| writer.push(packet(i)))?;
    writer.finish()?;
    files.push(path);
    files.iter().try_for_each(|path| rewrite(path))
}

fn row(i: i64) -> Row {
    let x1 = i as f32 * 1.5;
    let detection = Detection { class_id: (i % 2) as i32, score: 0.5, x1, y1: 1.0, x2: x1 + 9.0, y2: 2.0 };
    Row { frame: i / 3, pts_us: i / 3 * 40_000, track_id: (i % 4 != 0).then_some(i % 3), detection }
}

fn packet(i: i64) -> PacketRow {
    let pts = (i % 7 != 0).then_some(i * 512);
    PacketRow {
        pts,
        dts: Some(i),
        position: Some(i * 900),
        size: 900,
        key: i % 25 == 0,
        shown: pts.is_some(),
        ..PacketRow::default()
    }
}

/// Without compression, so that a mutation reaches the values; in both versions of the format; with small pages.
fn rewrite(path: &Path) -> Result<()> {
    let batches: std::result::Result<Vec<RecordBatch>, _> =
        ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?.build()?.collect();
    let batches = batches?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let pairs = builder.metadata().file_metadata().key_value_metadata().cloned();
    for (name, version, dictionary) in [
        ("v1-plain", WriterVersion::PARQUET_1_0, false),
        ("v1-dictionary", WriterVersion::PARQUET_1_0, true),
        ("v2", WriterVersion::PARQUET_2_0, false),
    ] {
        let properties = WriterProperties::builder()
            .set_compression(Compression::UNCOMPRESSED)
            .set_writer_version(version)
            .set_dictionary_enabled(dictionary)
            .set_data_page_row_count_limit(16)
            .set_statistics_enabled(EnabledStatistics::Page)
            .set_key_value_metadata(
                pairs.clone().map(|pairs| pairs.into_iter().filter(|p| p.key != "ARROW:schema").collect()),
            )
            .build();
        let file = File::create(path.with_extension(format!("{name}.parquet")))?;
        let mut writer = ArrowWriter::try_new(file, builder.schema().clone(), Some(properties))?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        writer.close()?;
    }
    Ok(())
}
