//! Suppression of as many candidates as a quiet scene, a crowd, and a confidence of nearly zero give.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use framefleet_models::{
    heads::Candidate,
    letterbox::Corners,
    nms::{self, Scope, Suppression},
};

fn candidates(count: u32) -> Vec<Candidate> {
    let mut state = 7_u32;
    let mut next = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    (0..count)
        .map(|anchor| {
            let [x1, y1] = [next(600), next(600)].map(|place| place as f32);
            let [width, height] = [20 + next(80), 20 + next(80)].map(|side| side as f32);
            let corners = Corners { x1, y1, x2: x1 + width, y2: y1 + height };
            Candidate { corners, score: next(1000) as f32 / 1000.0, class_id: next(80) as i32, anchor }
        })
        .collect()
}

fn suppress(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nms");
    for count in [50, 1000, 8400] {
        let candidates = candidates(count);
        let suppression = Suppression { iou: 0.45, max_detections: 300, scope: Scope::OneClass };
        group.bench_function(format!("{count} candidates"), |bencher| {
            bencher.iter_batched_ref(
                || candidates.clone(),
                |candidates| nms::suppress(candidates, suppression),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, suppress);
criterion_main!(benches);
