//! From a decoded picture to a model's input, on one core.

use criterion::{Criterion, criterion_group, criterion_main};
use framefleet_models::{
    Manifest,
    manifest::{HeadFamily, InputTensor, Preprocessing},
    preprocess::Preprocessor,
};
use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};
use std::hint::black_box;

struct Case {
    name: &'static str,
    picture: [usize; 2],
    /// `None`: open height and width, the long side 640.
    model: Option<u32>,
    preprocessing: Preprocessing,
    depth: u32,
    rotation: Rotation,
}

const CASES: [Case; 5] = [
    Case {
        name: "768x432 to 416x416",
        picture: [768, 432],
        model: Some(416),
        preprocessing: Preprocessing::YOLOX,
        depth: 8,
        rotation: Rotation::None,
    },
    Case {
        name: "1920x1080 to 640x384",
        picture: [1920, 1080],
        model: None,
        preprocessing: Preprocessing::ULTRALYTICS,
        depth: 8,
        rotation: Rotation::None,
    },
    Case {
        name: "1280x720 to 640x384",
        picture: [1280, 720],
        model: None,
        preprocessing: Preprocessing::ULTRALYTICS,
        depth: 8,
        rotation: Rotation::None,
    },
    Case {
        name: "1920x1080 of 10 bits to 640x384",
        picture: [1920, 1080],
        model: None,
        preprocessing: Preprocessing::ULTRALYTICS,
        depth: 10,
        rotation: Rotation::None,
    },
    Case {
        name: "1920x1080 turned to 384x640",
        picture: [1920, 1080],
        model: None,
        preprocessing: Preprocessing::ULTRALYTICS,
        depth: 8,
        rotation: Rotation::Quarter,
    },
];

fn preprocess(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("preprocess");
    for case in &CASES {
        let [width, height] = case.picture;
        let bytes = if case.depth == 8 { 1 } else { 2 };
        let plane = |columns: usize, rows: usize| -> Vec<u8> {
            (0..columns * rows * bytes)
                .map(|index| if index % bytes == 1 { 1 } else { (index * 31 % 251) as u8 })
                .collect()
        };
        let planes = [plane(width, height), plane(width / 2, height / 2), plane(width / 2, height / 2)];
        let strides = [width, width / 2, width / 2];
        let shown = if case.rotation == Rotation::None { [width, height] } else { [height, width] };
        let picture = Picture {
            width,
            height,
            planes: std::array::from_fn(|index| Plane { data: &planes[index], stride: strides[index] * bytes }),
            depth: case.depth,
            chroma_shift_x: 1,
            chroma_shift_y: 1,
            matrix: Matrix::Bt709,
            range: Range::Limited,
            display: Display { width: shown[0] as u32, height: shown[1] as u32, rotation: case.rotation },
        };
        let mut preprocessor = Preprocessor::new(&manifest(case), &picture).expect("the picture is whole");
        let mut input = vec![0.0; preprocessor.input_len()];
        group.bench_function(case.name, |bencher| {
            bencher.iter(|| preprocessor.fill(black_box(&picture), black_box(&mut input)).expect("the picture fits"));
        });
    }
    group.finish();
}

fn manifest(case: &Case) -> Manifest {
    let input = InputTensor::nchw("images", [Some(1), case.model, case.model]);
    Manifest::new(HeadFamily::V8, input, case.preprocessing)
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
