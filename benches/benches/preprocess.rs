//! From a decoded picture to a model's input, on one core.

use criterion::{Bencher, Criterion, criterion_group, criterion_main};
use framefleet_models::{
    Manifest,
    manifest::{HeadFamily, InputElement, InputTensor, Layout, Preprocessing},
    preprocess::{InputValue, Preprocessor},
};
use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};
use half::f16;
use std::hint::black_box;

struct Case {
    name: &'static str,
    picture: [usize; 2],
    /// `None`: open height and width, the long side 640.
    model: Option<u32>,
    element: InputElement,
    layout: Layout,
    preprocessing: Preprocessing,
    depth: u32,
    rotation: Rotation,
}

/// Full HD as most detectors look at it.
const FULL_HD: Case = Case {
    name: "1920x1080 to 640x384",
    picture: [1920, 1080],
    model: None,
    element: InputElement::F32,
    layout: Layout::Nchw,
    preprocessing: Preprocessing::ULTRALYTICS,
    depth: 8,
    rotation: Rotation::None,
};

const CASES: [Case; 9] = [
    Case {
        name: "768x432 to 416x416",
        picture: [768, 432],
        model: Some(416),
        preprocessing: Preprocessing::YOLOX,
        ..FULL_HD
    },
    FULL_HD,
    Case { name: "1280x720 to 640x384", picture: [1280, 720], ..FULL_HD },
    Case { name: "1920x1080 of 10 bits to 640x384", depth: 10, ..FULL_HD },
    Case { name: "1920x1080 turned to 384x640", rotation: Rotation::Quarter, ..FULL_HD },
    Case { name: "1920x1080 to 640x384 of f16", element: InputElement::F16, ..FULL_HD },
    Case { name: "1920x1080 stretched to 640x640, normalised", preprocessing: Preprocessing::IMAGENET, ..FULL_HD },
    Case { name: "1920x1080 to 640x384, interleaved", layout: Layout::Nhwc, ..FULL_HD },
    Case {
        name: "1920x1080 to 640x384 of u8, interleaved",
        element: InputElement::U8,
        layout: Layout::Nhwc,
        preprocessing: Preprocessing::RGB_BYTES,
        ..FULL_HD
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
        group.bench_function(case.name, |bencher| match case.element {
            InputElement::F32 => fill::<f32>(bencher, &mut preprocessor, &picture),
            InputElement::F16 => fill::<f16>(bencher, &mut preprocessor, &picture),
            InputElement::U8 => fill::<u8>(bencher, &mut preprocessor, &picture),
        });
    }
    group.finish();
}

fn fill<E: InputValue>(bencher: &mut Bencher<'_>, preprocessor: &mut Preprocessor, picture: &Picture<'_>) {
    let mut input = vec![E::default(); preprocessor.input_len()];
    bencher.iter(|| preprocessor.fill(black_box(picture), black_box(&mut input)).expect("the picture fits"));
}

fn manifest(case: &Case) -> Manifest {
    let input = InputTensor::nchw("images", [Some(1), case.model, case.model]);
    let input = InputTensor { element: case.element, layout: case.layout, ..input };
    Manifest::new(HeadFamily::V8, input, case.preprocessing)
}

criterion_group!(benches, preprocess);
criterion_main!(benches);
