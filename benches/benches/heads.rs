//! Reading the output tensors of detectors with COCO's 80 classes, few places of which pass the confidence.

use criterion::{Criterion, criterion_group, criterion_main};
use framefleet_models::{
    heads::{Head, Wanted},
    letterbox::Size,
    manifest::HeadFamily,
};
use ndarray::Array2;
use std::hint::black_box;

const CLASSES: usize = 80;

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heads");
    let square = |side: usize| Size { width: side, height: side };
    for (name, family, side, shape) in [
        ("yolox [1,3549,85]", HeadFamily::Yolox, 416, [3549, 85]),
        ("v8 [1,84,8400]", HeadFamily::V8, 640, [84, 8400]),
        ("v5 [1,25200,85]", HeadFamily::V5, 640, [25200, 85]),
        ("end to end [1,300,6]", HeadFamily::EndToEnd, 640, [300, 6]),
    ] {
        let head = Head { family, classes: CLASSES, model: square(side) };
        head.check(&[1, shape[0], shape[1]]).expect("the shape is the head's");
        let mut state = 1_u32;
        // Scores below 0.25, but for one value in some 16,000; the boxes' channels do not matter.
        let output = Array2::from_shape_fn(shape, |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = (state >> 8) as f32 / (1 << 24) as f32;
            if value > 0.99994 { 0.9 } else { value * 0.2 }
        });
        let wanted = Wanted { confidence: 0.25, classes: None };
        let mut candidates = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                candidates.clear();
                head.decode(black_box(&output.view()), wanted, &mut candidates);
                candidates.len()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);
