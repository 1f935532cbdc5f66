//! Time that the tracker takes for one frame, by the number of objects in it.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use framefleet_benches::crowd;
use framefleet_worker::track::{ByteTrack, ByteTrackSettings};
use std::hint::black_box;

fn tracker(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("tracker/update");
    for objects in [10, 50, 200] {
        group.bench_function(BenchmarkId::from_parameter(objects), |bencher| {
            let frames = crowd::walk(objects);
            let mut tracker = ByteTrack::new(ByteTrackSettings::default(), crowd::FRAME_RATE);
            let mut next = frames.iter().cycle();
            bencher.iter(|| next.next().map(|detections| tracker.update(black_box(detections)).len()));
        });
    }
    group.finish();
}

criterion_group!(benches, tracker);
criterion_main!(benches);
