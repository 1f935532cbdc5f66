//! Reading the output tensors of detectors with COCO's 80 classes, few places of which pass the confidence.

use criterion::{Criterion, criterion_group, criterion_main};
use framefleet_models::{
    heads::{Head, OutputView, Wanted},
    letterbox::Size,
    manifest::HeadFamily,
};
use std::hint::black_box;

const CLASSES: usize = 80;

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("heads");
    let square = |side: usize| Size { width: side, height: side };
    let coarsest = [80, 40, 20, 10].map(|side| side * side).iter().sum::<usize>();
    for (name, family, side, shapes) in [
        ("yolox [1,3549,85]", HeadFamily::Yolox, 416, vec![vec![1, 3549, 85]]),
        ("yolox decoded [1,8400,85]", HeadFamily::YoloxDecoded, 640, vec![vec![1, 8400, 85]]),
        ("v8 [1,84,8400]", HeadFamily::V8, 640, vec![vec![1, 84, 8400]]),
        ("v5 [1,25200,85]", HeadFamily::V5, 640, vec![vec![1, 25200, 85]]),
        ("v6 [1,8400,85]", HeadFamily::V6, 640, vec![vec![1, 8400, 85]]),
        ("damo-yolo [1,8400,80]", HeadFamily::DamoYolo, 640, vec![vec![1, 8400, 80], vec![1, 8400, 4]]),
        ("nanodet-plus [1,8500,112]", HeadFamily::NanodetPlus, 640, vec![vec![1, coarsest, 112]]),
        ("detr-sigmoid [1,300,80]", HeadFamily::DetrSigmoid, 640, vec![vec![1, 300, 4], vec![1, 300, 80]]),
        ("detr-softmax [1,100,81]", HeadFamily::DetrSoftmax, 640, vec![vec![1, 100, 4], vec![1, 100, 81]]),
        ("ultralytics rt-detr [1,300,84]", HeadFamily::UltralyticsRtDetr, 640, vec![vec![1, 300, 84]]),
        ("end to end [1,300,6]", HeadFamily::EndToEnd, 640, vec![vec![1, 300, 6]]),
    ] {
        let head = Head { family, classes: CLASSES, model: square(side) };
        let outputs: Vec<Vec<f32>> = shapes.iter().map(|shape| values(family, shape)).collect();
        let views: Vec<OutputView<'_>> =
            shapes.iter().zip(&outputs).map(|(shape, values)| OutputView { shape, values }).collect();
        head.check(&views).expect("the shapes are the head's");
        let wanted = Wanted { confidence: 0.25, classes: None };
        let mut candidates = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                candidates.clear();
                head.decode(black_box(&views), wanted, &mut candidates);
                candidates.len()
            });
        });
    }
    group.finish();
}

/// Scores below 0.25, but for one value in some 16,000; boxes do not matter. Logits are lower by 8. An objectness is
/// high throughout where a family has it as a constant.
fn values(family: HeadFamily, shape: &[usize]) -> Vec<f32> {
    let mut state = 1_u32;
    let columns = shape[shape.len() - 1];
    let score = |index: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = (state >> 8) as f32 / (1 << 24) as f32;
        match family {
            HeadFamily::V6 if index % columns == 4 => 1.0,
            HeadFamily::DetrSigmoid | HeadFamily::DetrSoftmax if columns > 4 => value * 0.2 - 8.0,
            _ if value > 0.99994 => 0.9,
            _ => value * 0.2,
        }
    };
    (0..shape.iter().product()).map(score).collect()
}

criterion_group!(benches, heads);
criterion_main!(benches);
