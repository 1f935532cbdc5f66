//! The files of a job: an hour's detections and packets, written into memory and read back from a file.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use framefleet_contract::detection::Detection;
use framefleet_contract::detection_file::{Row, RowWriter, read_rows};
use framefleet_contract::packet_table::{self, PacketRow, PacketWriter};
use std::hint::black_box;
use std::io::Write;
use tempfile::NamedTempFile;

/// An hour at 25 frames/s.
const FRAMES: i64 = 90_000;
const FRAME_US: i64 = 40_000;
const OBJECTS: i64 = 4;

fn tracks(criterion: &mut Criterion) {
    let classes = ["person", "bicycle", "car"].map(String::from);
    let rows: Vec<Row> = (0..FRAMES * OBJECTS).map(row).collect();
    let write = || {
        let mut bytes = Vec::new();
        let mut writer = RowWriter::tracks(&mut bytes, &classes, Vec::new()).expect("a schema of our own is valid");
        for row in &rows {
            writer.push(*row).expect("memory takes all rows");
        }
        writer.finish().expect("memory takes all rows");
        bytes
    };
    let file = file_of(&write());
    let mut group = criterion.benchmark_group("parquet/tracks");
    group.sample_size(10).throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("write 360000 rows", |bencher| bencher.iter(|| black_box(write())));
    group.bench_function("read 360000 rows", |bencher| {
        bencher.iter(|| {
            let batches = read_rows(file.path()).expect("the file was just written");
            batches.map(|batch| batch.expect("the file was just written").len()).sum::<usize>()
        });
    });
    group.finish();
}

/// An object that drifts, and is lost in one frame of ten.
fn row(index: i64) -> Row {
    let (frame, object) = (index / OBJECTS, index % OBJECTS);
    let noise = |salt: i64| ((index * 7919 + salt * 104_729) % 1000) as f32 / 1000.0;
    let x1 = 300.0 * object as f32 + 100.0 * (frame as f32 / 50.0).sin() + noise(1);
    let y1 = 200.0 + noise(2);
    let detection = Detection {
        class_id: (object % 3) as i32,
        score: 0.5 + noise(3) / 2.0,
        x1,
        y1,
        x2: x1 + 80.0 + noise(4),
        y2: y1 + 160.0 + noise(5),
    };
    let track_id = (index % 10 != 0).then_some(1 + object + frame / 500 * OBJECTS);
    Row { frame, pts_us: frame * FRAME_US, track_id, detection }
}

fn packets(criterion: &mut Criterion) {
    let rows: Vec<PacketRow> = (0..FRAMES).map(packet).collect();
    let write = || {
        let mut bytes = Vec::new();
        let mut writer = PacketWriter::new(&mut bytes).expect("memory takes a file");
        for row in &rows {
            writer.push(*row).expect("memory takes all rows");
        }
        writer.finish().expect("memory takes a footer");
        bytes
    };
    let file = file_of(&write());
    let mut group = criterion.benchmark_group("parquet/packets");
    group.sample_size(20).throughput(Throughput::Elements(rows.len() as u64));
    group.bench_function("write 90000 rows", |bencher| bencher.iter(|| black_box(write())));
    for (name, end) in [("read all of 90000 rows", FRAMES), ("read 1500 of 90000 rows", FRAMES / 2 + 1500)] {
        let start = if end == FRAMES { 0 } else { FRAMES / 2 };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                packet_table::read(file.path(), start as u64, end as u64).expect("the file was just written").count()
            });
        });
    }
    group.finish();
}

fn packet(ordinal: i64) -> PacketRow {
    let scrambled = (ordinal as u32).wrapping_mul(2_654_435_761);
    PacketRow {
        pts: Some(ordinal * 512),
        dts: Some(ordinal * 512 - 1024),
        position: Some(ordinal * 9000),
        size: 4000 + scrambled % 10_000,
        checksum: scrambled,
        key: ordinal % 250 == 0,
        shown: true,
        ..PacketRow::default()
    }
}

fn file_of(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(bytes).expect("the temporary folder has room");
    file
}

criterion_group!(benches, tracks, packets);
criterion_main!(benches);
