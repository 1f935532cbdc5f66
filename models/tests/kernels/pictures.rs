//! Random pictures of every layout, preprocessed by the kernel and on the CPU.

use crate::harness::Harness;
use framefleet_models::{
    manifest::{
        ColourOrder, HeadFamily, InputElement, InputTensor, Layout, Manifest, Placement, Preprocessing, Resize,
        Rounding,
    },
    preprocess::{DevicePreprocessor, InputValue, Preprocessor},
};
use framefleet_native::{
    cuda::{DeviceRange, Element, InputLayout, InputParameters, PictureParameters, SemiPlanar, StackedPlanes},
    picture::{Display, Matrix, Picture, Plane, Range, Rotation},
};
use half::f16;
use proptest::{collection, option, prelude::*, sample::select};

/// How the samples of a picture lie where the kernel reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Storage {
    Stacked,
    SemiPlanar,
}

#[derive(Debug, Clone)]
struct Source {
    width: usize,
    height: usize,
    storage: Storage,
    depth: u32,
    shift: [u32; 2],
    matrix: Matrix,
    range: Range,
    display: Display,
    /// Samples between the end of a row and the next.
    gap: usize,
    /// Bits that a stored sample may have: more than the depth where some are stray.
    bits: u32,
    seed: u64,
}

/// 4:2:0, 4:2:2, 4:4:4, 4:1:1, 4:4:0, 4:1:0.
const SHIFTS: [[u32; 2]; 6] = [[1, 1], [1, 0], [0, 0], [2, 0], [0, 1], [2, 2]];
const ROTATIONS: [Rotation; 4] = [Rotation::None, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters];

impl Source {
    const PLAIN: Self = Self {
        width: 64,
        height: 36,
        storage: Storage::Stacked,
        depth: 8,
        shift: [1, 1],
        matrix: Matrix::Bt709,
        range: Range::Limited,
        display: Display { width: 64, height: 36, rotation: Rotation::None },
        gap: 0,
        bits: 8,
        seed: 1,
    };

    fn sample_bytes(&self) -> usize {
        if self.depth == 8 { 1 } else { 2 }
    }

    /// Columns and rows of a plane.
    fn plane_size(&self, plane: usize) -> [usize; 2] {
        let [shift_x, shift_y] = if plane == 0 { [0, 0] } else { self.shift };
        [self.width.div_ceil(1 << shift_x), self.height.div_ceil(1 << shift_y)]
    }

    fn stride(&self, plane: usize) -> usize {
        (self.plane_size(plane)[0] + self.gap) * self.sample_bytes()
    }

    /// Y, U and V as a decoder on the CPU gives them, with anything in the gaps.
    fn planes(&self) -> [Vec<u8>; 3] {
        let mut random = Random(self.seed);
        std::array::from_fn(|plane| {
            let samples = self.stride(plane) / self.sample_bytes() * self.plane_size(plane)[1];
            let mask = ((1_u32 << self.bits) - 1) as u16;
            let samples = (0..samples).map(|_| random.sample() & mask);
            if self.depth == 8 {
                samples.map(|sample| sample as u8).collect()
            } else {
                samples.flat_map(u16::to_le_bytes).collect()
            }
        })
    }

    fn picture<'a>(&self, planes: &'a [Vec<u8>; 3]) -> Picture<'a> {
        Picture {
            width: self.width,
            height: self.height,
            planes: std::array::from_fn(|plane| Plane { data: &planes[plane], stride: self.stride(plane) }),
            depth: self.depth,
            chroma_shift_x: self.shift[0],
            chroma_shift_y: self.shift[1],
            matrix: self.matrix,
            range: self.range,
            display: self.display,
        }
    }

    fn semi_planar(&self) -> SemiPlanar {
        let row = 2 * self.width.div_ceil(2);
        SemiPlanar {
            width: self.width,
            height: self.height,
            pitch: (row + self.gap) * self.sample_bytes(),
            depth: self.depth,
            matrix: self.matrix,
            range: self.range,
            display: self.display,
        }
    }

    /// The same samples as NVDEC lays them out: at the top of two bytes, chromas side by side.
    fn interleave(&self, picture: &Picture<'_>) -> Vec<u8> {
        let layout = self.semi_planar();
        // What nobody may read is lit up, and below a sample there may be anything.
        let mut memory = vec![0xee; layout.bytes()];
        let below = if self.depth == 8 { 0 } else { (1 << (16 - self.depth)) - 1 };
        for plane in 0..3 {
            let [columns, rows] = self.plane_size(plane);
            let (first, step) = match plane {
                0 => (0, 1),
                plane => (layout.chroma_offset() + (plane - 1) * layout.sample_bytes(), 2),
            };
            for (column, row) in (0..columns).flat_map(|column| (0..rows).map(move |row| (column, row))) {
                let from = row * picture.planes[plane].stride + column * self.sample_bytes();
                let to = first + row * layout.pitch + column * step * layout.sample_bytes();
                let data = picture.planes[plane].data;
                if self.depth == 8 {
                    memory[to] = data[from];
                } else {
                    let sample = u16::from_le_bytes([data[from], data[from + 1]]) << (16 - self.depth);
                    memory[to..to + 2].copy_from_slice(&(sample | below).to_le_bytes());
                }
            }
        }
        memory
    }

    fn device_preprocessor(&self, manifest: &Manifest) -> DevicePreprocessor {
        match self.storage {
            Storage::Stacked => DevicePreprocessor::for_stacked(manifest, &self.picture(&self.planes())).unwrap(),
            Storage::SemiPlanar => DevicePreprocessor::for_semi_planar(manifest, &self.semi_planar()).unwrap(),
        }
    }

    /// What the kernel is told, and the picture as it lies in device memory.
    fn on_device(&self, manifest: &Manifest) -> (PictureParameters, Vec<u8>) {
        let planes = self.planes();
        let picture = self.picture(&planes);
        let samples = match self.storage {
            Storage::Stacked => {
                let stacked = StackedPlanes::of(&picture);
                let mut samples = vec![0; stacked.bytes()];
                stacked.copy(&picture, &mut samples).unwrap();
                samples
            }
            Storage::SemiPlanar => self.interleave(&picture),
        };
        (self.device_preprocessor(manifest).picture(), samples)
    }

    /// What the CPU makes of it.
    fn on_cpu<E: InputValue>(&self, manifest: &Manifest, bytes: impl Fn(&E) -> Vec<u8>) -> Vec<u8> {
        let planes = self.planes();
        let picture = self.picture(&planes);
        let mut preprocessor = Preprocessor::new(manifest, &picture).unwrap();
        let mut input = vec![E::default(); preprocessor.input_len()];
        preprocessor.paint_padding(&mut input);
        preprocessor.fill(&picture, &mut input).unwrap();
        input.iter().flat_map(bytes).collect()
    }
}

/// The generator of Steele, Lea and Flood 2014 (`SplitMix`).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Black and white more often than others: what is between them rarely meets a limit.
    fn sample(&mut self) -> u16 {
        let bits = self.next();
        match bits >> 60 {
            0 => 0,
            1 => u16::MAX,
            _ => bits as u16,
        }
    }
}

fn cpu_bytes(manifest: &Manifest, sources: &[Source]) -> Vec<u8> {
    let bytes = |source: &Source| match manifest.input.element {
        InputElement::F32 => source.on_cpu(manifest, |value: &f32| value.to_le_bytes().to_vec()),
        InputElement::F16 => source.on_cpu(manifest, |value: &f16| value.to_le_bytes().to_vec()),
        InputElement::U8 => source.on_cpu(manifest, |value: &u8| vec![*value]),
    };
    sources.iter().flat_map(bytes).collect()
}

/// Whether the kernel's bytes are the CPU's; else where they differ first.
fn compare(manifest: &Manifest, sources: &[Source]) -> Result<(), String> {
    let input = sources[0].device_preprocessor(manifest).input();
    let pictures: Vec<_> = sources.iter().map(|source| source.on_device(manifest)).collect();
    for (parameters, samples) in &pictures {
        let memory = DeviceRange { address: 1 << 40, bytes: samples.len() as u64 };
        parameters.placed(memory).ok_or("the picture does not fit its memory")?;
    }
    let seen = Harness::get().preprocess(&input, &pictures);
    let expected = cpu_bytes(manifest, sources);
    if seen.len() != expected.len() {
        return Err(format!("{} bytes instead of {}", seen.len(), expected.len()));
    }
    match seen.iter().zip(&expected).position(|(seen, expected)| seen != expected) {
        Some(at) => Err(format!("at byte {at}: {:x?}, not {:x?}", &seen[at..=at], &expected[at..=at])),
        None => Ok(()),
    }
}

#[track_caller]
fn assert_equal(manifest: &Manifest, sources: &[Source]) {
    assert_eq!(compare(manifest, sources), Ok(()), "{:?}, {sources:?}", manifest.preprocessing);
}

fn manifest(sides: [Option<u32>; 2], layout: Layout, element: InputElement, preprocessing: Preprocessing) -> Manifest {
    let [height, width] = sides;
    let input = InputTensor { layout, element, ..InputTensor::nchw("images", [Some(1), height, width]) };
    Manifest::new(HeadFamily::V8, input, preprocessing)
}

fn square(side: u32) -> Manifest {
    manifest([Some(side); 2], Layout::Nchw, InputElement::F32, Preprocessing::ULTRALYTICS)
}

#[test]
fn every_layout_depth_and_matrix_is_read_as_on_the_cpu() {
    let matrices = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020];
    let colours = matrices.into_iter().flat_map(|matrix| [Range::Limited, Range::Full].map(|range| (matrix, range)));
    for (matrix, range) in colours {
        for (depth, storage, shift) in [8, 9, 10, 12, 16].into_iter().flat_map(|depth| {
            let stacked = SHIFTS.map(|shift| (depth, Storage::Stacked, shift));
            stacked.into_iter().chain([(depth, Storage::SemiPlanar, [1, 1])])
        }) {
            let source = Source { matrix, range, depth, storage, shift, bits: depth, gap: 3, ..Source::PLAIN };
            assert_equal(&square(48), &[source]);
        }
    }
}

#[test]
fn a_picture_of_usual_size_is_the_cpus_at_every_element() {
    let display = Display { width: 1920, height: 1080, rotation: Rotation::None };
    let nv12 = Source { width: 1920, height: 1080, storage: Storage::SemiPlanar, gap: 128, display, ..Source::PLAIN };
    let p010 = Source { depth: 10, bits: 10, matrix: Matrix::Bt2020, ..nv12.clone() };
    for element in [InputElement::F32, InputElement::F16, InputElement::U8] {
        for (layout, preprocessing) in [
            (Layout::Nchw, Preprocessing::ULTRALYTICS),
            (Layout::Nhwc, Preprocessing::NANODET),
            (Layout::Chw, Preprocessing::IMAGENET),
        ] {
            let manifest = manifest([Some(640), Some(640)], layout, element, preprocessing);
            assert_equal(&manifest, &[nv12.clone(), p010.clone()]);
        }
    }
}

#[test]
fn a_blank_picture_is_padding_alone() {
    let manifest = square(32);
    let (parameters, _) = Source::PLAIN.on_device(&manifest);
    let input = Source::PLAIN.device_preprocessor(&manifest).input();
    let blank = parameters.blank();
    assert_eq!(blank.placed(DeviceRange { address: 0, bytes: 0 }), Some(blank));
    let seen = Harness::get().preprocess(&input, &[(blank, Vec::new())]);
    let grey = 114.0 * (1.0 / 255.0_f64) as f32;
    assert!(seen.as_chunks::<4>().0.iter().all(|value| f32::from_le_bytes(*value).to_bits() == grey.to_bits()));
}

#[test]
fn a_picture_is_placed_only_where_it_fits() {
    for storage in [Storage::Stacked, Storage::SemiPlanar] {
        for depth in [8, 10] {
            let source = Source { width: 5, height: 3, storage, depth, bits: depth, ..Source::PLAIN };
            let (parameters, samples) = source.on_device(&square(32));
            let bytes = samples.len() as u64;
            let placed = parameters.placed(DeviceRange { address: 4096, bytes }).unwrap();
            assert_eq!(placed.planes[1], 4096 + parameters.planes[1]);
            let refused = |parameters: PictureParameters, address: u64, bytes: u64| {
                assert_eq!(parameters.placed(DeviceRange { address, bytes }), None, "{parameters:?}");
            };
            refused(parameters, 4096, bytes - 1);
            refused(parameters, u64::MAX, bytes);
            refused(PictureParameters { width: 0, ..parameters }, 4096, bytes);
            refused(PictureParameters { height: 0, ..parameters }, 4096, bytes);
            refused(PictureParameters { height: u32::MAX, ..parameters }, 4096, bytes);
            refused(PictureParameters { depth: 17, ..parameters }, 4096, bytes);
            refused(PictureParameters { shift_right: 16, ..parameters }, 4096, bytes);
            refused(PictureParameters { chroma_shift_x: 32, ..parameters }, 4096, bytes);
            refused(PictureParameters { planes: [0, 0, u64::MAX], ..parameters }, 4096, bytes);
            if depth > 8 {
                refused(parameters, 4097, bytes);
                refused(PictureParameters { pitch: [11; 3], ..parameters }, 4096, 1000);
            }
        }
    }
}

#[test]
fn an_input_is_as_large_as_its_tensor() {
    for layout in [InputLayout::Planes, InputLayout::Pixels] {
        for (element, bytes) in [(Element::F32, 4), (Element::F16, 2), (Element::U8, 1)] {
            let input = InputParameters::new(layout, [640, 384], element);
            assert_eq!([input.bytes(0), input.bytes(7)], [0, 7 * 3 * 640 * 384 * bytes]);
            // Whatever somebody makes of it, this is where the last element ends.
            assert!(InputParameters { width: 641, ..input }.bytes(7) > input.bytes(7));
            assert_eq!(InputParameters { picture_step: u64::MAX, ..input }.bytes(2), u64::MAX);
        }
    }
}

#[test]
fn a_preprocessor_knows_its_own_pictures() {
    let planes = Source::PLAIN.planes();
    let picture = Source::PLAIN.picture(&planes);
    let stacked = Source::PLAIN.device_preprocessor(&square(32));
    assert!(stacked.fits_stacked(&picture));
    assert!(!stacked.fits_stacked(&Picture { range: Range::Full, ..picture }));
    // The same size in another layout.
    let source = Source { storage: Storage::SemiPlanar, ..Source::PLAIN };
    assert!(!stacked.fits_semi_planar(&source.semi_planar()));
    let semi_planar = source.device_preprocessor(&square(32));
    assert!(semi_planar.fits_semi_planar(&source.semi_planar()) && !semi_planar.fits_stacked(&picture));
    assert!(!semi_planar.fits_semi_planar(&SemiPlanar { pitch: 128, ..source.semi_planar() }));
    let broken = Picture { chroma_shift_x: 99, ..picture };
    assert!(DevicePreprocessor::for_stacked(&square(32), &broken).is_err());
}

prop_compose! {
    fn source()(
        (width, height) in (1..80_usize, 1..80_usize),
        shown in [1..200_u32, 1..200_u32],
        rotation in select(&ROTATIONS[..]),
        storage in select(&[Storage::Stacked, Storage::SemiPlanar][..]),
        depth in select(&[8_u32, 9, 10, 12, 14, 16][..]),
        shift in select(&SHIFTS[..]),
        matrix in select(&[Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020][..]),
        range in select(&[Range::Limited, Range::Full][..]),
        gap in 0..9_usize,
        stray: bool,
        seed: u64,
    ) -> Source {
        let display = Display { width: shown[0], height: shown[1], rotation };
        let is_stacked = storage == Storage::Stacked;
        let shift = if is_stacked { shift } else { [1, 1] };
        let bits = if stray && is_stacked && depth > 8 { 16 } else { depth };
        Source { width, height, storage, depth, shift, matrix, range, display, gap, bits, seed }
    }
}

prop_compose! {
    fn preprocessing()(
        colour in select(&[ColourOrder::Rgb, ColourOrder::Bgr][..]),
        (scale, mean, std) in select(&[
            (1.0 / 255.0, [0.0; 3], [1.0; 3]),
            (1.0, [0.0; 3], [1.0; 3]),
            (1.0 / 255.0, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            (1.0, [103.53, 116.28, 123.675], [57.375, 57.12, 58.395]),
        ][..]),
        resize in select(&[Resize::Letterbox, Resize::Stretch][..]),
        placement in select(&[Placement::TopLeft, Placement::Centred][..]),
        rounding in select(&[Rounding::Truncate, Rounding::Nearest][..]),
        pad: u8,
    ) -> Preprocessing {
        Preprocessing { colour, scale, mean, std, resize, placement, rounding, pad }
    }
}

prop_compose! {
    fn any_manifest()(
        preprocessing in preprocessing(),
        sides in [option::weighted(0.8, 1..100_u32), option::weighted(0.8, 1..100_u32)],
        layout in select(&[Layout::Nchw, Layout::Nhwc, Layout::Chw][..]),
        element in select(&[InputElement::F32, InputElement::F16, InputElement::U8][..]),
        (image_size, stride) in (1..150_u32, 1..40_u32),
    ) -> Manifest {
        Manifest { image_size, stride, ..manifest(sides, layout, element, preprocessing) }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn whatever_the_pictures_the_kernel_gives_the_cpus_bits(
        manifest in any_manifest(),
        mut sources in collection::vec(source(), 1..4),
    ) {
        // An open input is as large as its picture asks for, and a batch has one size.
        let model = |source: &Source| source.device_preprocessor(&manifest).letterbox().model;
        let first = model(&sources[0]);
        sources.retain(|source| model(source) == first);
        prop_assert_eq!(compare(&manifest, &sources), Ok(()));
    }
}
