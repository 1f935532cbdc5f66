//! The input's layouts and elements, and stretching.

use super::*;
use half::f16;
use proptest::{option, prelude::*, sample::select};

const ROTATIONS: [Rotation; 4] = [Rotation::None, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters];

/// Everything in a row of its own is told apart: odd sides, a mean for each channel, padding.
fn cases() -> impl Iterator<Item = (Manifest, Image)> {
    let letterboxed = Preprocessing { resize: Resize::Letterbox, pad: 114, ..Preprocessing::IMAGENET };
    let preprocessings = [letterboxed, Preprocessing::NANODET, Preprocessing { scale: 1.0, ..Preprocessing::YOLOX }];
    preprocessings.into_iter().flat_map(|preprocessing| {
        ROTATIONS.into_iter().map(move |rotation| {
            let input = InputTensor::nchw("images", [Some(1), Some(96), Some(149)]);
            let manifest = Manifest::new(HeadFamily::V8, input, preprocessing);
            (manifest, Image { rotation, ..Image::pattern(37, 23, 1) })
        })
    })
}

fn with_layout(manifest: &Manifest, layout: Layout) -> Manifest {
    let input = InputTensor { layout, ..manifest.input.clone() };
    Manifest { input, ..manifest.clone() }
}

fn pixels_from_planes<E: Copy>(planes: &[E]) -> Vec<E> {
    let plane = planes.len() / 3;
    (0..planes.len()).map(|index| planes[index % 3 * plane + index / 3]).collect()
}

#[test]
fn interleaved_pixels_are_the_planes_transposed() {
    for (manifest, image) in cases() {
        let [nchw, nhwc, chw] = [Layout::Nchw, Layout::Nhwc, Layout::Chw].map(|layout| with_layout(&manifest, layout));
        let picture = image.picture();
        let planes = fill(&nchw, &picture);
        assert_eq!(fill(&nhwc, &picture), pixels_from_planes(&planes));
        assert_eq!(fill(&chw, &picture), planes);
        assert_eq!(fill_as::<u8>(&nhwc, &picture), pixels_from_planes(&fill_as::<u8>(&nchw, &picture)));
        assert_eq!(fill_as::<f16>(&nhwc, &picture), pixels_from_planes(&fill_as::<f16>(&nchw, &picture)));
    }
}

#[test]
fn narrower_values_are_the_f32_ones_rounded() {
    for (manifest, image) in cases() {
        let picture = image.picture();
        let values = fill(&manifest, &picture);
        let halves: Vec<f16> = values.iter().map(|value| f16::from_f32(*value)).collect();
        assert_eq!(fill_as::<f16>(&manifest, &picture), halves);
        let bytes: Vec<u8> = values.iter().map(|value| value.round_ties_even() as u8).collect();
        assert_eq!(fill_as::<u8>(&manifest, &picture), bytes);
    }
}

#[test]
fn bytes_are_the_pictures_own() {
    let manifest = with_layout(&manifest(8, Preprocessing::RGB_BYTES), Layout::Nhwc);
    let image = Image::flat([100, 110, 150]);
    // 132.92, 86.97 and 61.498, as in the golden colours.
    assert_eq!(fill_as::<u8>(&manifest, &image.picture())[..6], [133, 87, 61, 133, 87, 61]);
}

#[test]
fn the_padding_is_grey_of_each_channels_own_in_every_picture_of_a_batch() {
    let image = Image::pattern(64, 32, 1);
    let preprocessing = Preprocessing { resize: Resize::Letterbox, pad: 114, ..Preprocessing::IMAGENET };
    let Preprocessing { scale, mean, std, .. } = preprocessing;
    let grey = [0, 1, 2].map(|channel| ((114.0 * scale - mean[channel]) / std[channel]) as f32);
    for layout in [Layout::Nchw, Layout::Nhwc, Layout::Chw] {
        let manifest = with_layout(&manifest(64, preprocessing), layout);
        let preprocessor = Preprocessor::new(&manifest, &image.picture()).unwrap();
        let mut batch = vec![f32::NAN; 2 * preprocessor.input_len()];
        preprocessor.paint_padding(&mut batch);
        for (index, value) in batch.iter().enumerate() {
            let channel = if layout == Layout::Nhwc { index % 3 } else { index / (64 * 64) % 3 };
            assert_near(&[*value], &[grey[channel]], 1e-6);
        }
    }
}

#[test]
fn a_stretched_picture_is_scaled_by_each_side_alone() {
    // Luma grows by 3 from column to column and by 5 from row to row, so that blending it is exact.
    let image = Image::new(32, 24, 0, |plane, x, y| if plane == 0 { (16 + 3 * x + 5 * y) as u8 } else { 128 });
    let input = InputTensor::nchw("images", [Some(1), Some(12), Some(8)]);
    let stretched = Preprocessing { scale: 1.0, ..Preprocessing::STRETCHED };
    let planes = fill(&Manifest::new(HeadFamily::V8, input, stretched), &image.picture());
    for (index, seen) in planes.iter().enumerate() {
        let (column, row) = (index % 8, index / 8 % 12);
        // Centres on centres: four columns and two rows to each.
        let (x, y) = (4.0 * column as f32 + 1.5, 2.0 * row as f32 + 0.5);
        assert_near(&[*seen], &[(3.0 * x + 5.0 * y) * 255.0 / 219.0], 1e-3);
    }
}

#[test]
fn every_turn_shows_a_stretched_picture_upright() {
    let upright = Image::pattern(6, 4, 0);
    for layout in [Layout::Nchw, Layout::Nhwc] {
        for [height, width] in [[4, 6], [9, 5], [32, 17]] {
            let input = InputTensor::nchw("images", [Some(1), Some(height), Some(width)]);
            let stretched = Preprocessing { scale: 1.0, ..Preprocessing::STRETCHED };
            let manifest = with_layout(&Manifest::new(HeadFamily::V8, input, stretched), layout);
            let expected = fill(&manifest, &upright.picture());
            for rotation in ROTATIONS {
                assert_near(&fill(&manifest, &upright.turned(rotation).picture()), &expected, 1.0);
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Anything {
    stored: [usize; 2],
    shown: [u32; 2],
    shift: [u32; 2],
    depth: u32,
    rotation: Rotation,
    preprocessing: Preprocessing,
    layout: Layout,
    sides: [Option<u32>; 2],
    image_size: u32,
    stride: u32,
}

prop_compose! {
    fn anything()(
        stored in [1..90_usize, 1..90_usize],
        shown in [1..200_u32, 1..200_u32],
        shift in [0..5_u32, 0..5_u32],
        depth in 8..17_u32,
        rotation in select(&ROTATIONS[..]),
        preprocessing in select(&[
            Preprocessing::ULTRALYTICS,
            Preprocessing::YOLOX,
            Preprocessing::STRETCHED,
            Preprocessing::IMAGENET,
            Preprocessing::NANODET,
            Preprocessing::RGB_BYTES,
        ][..]),
        layout in select(&[Layout::Nchw, Layout::Nhwc, Layout::Chw][..]),
        sides in [option::of(0..150_u32), option::of(0..150_u32)],
        image_size in 0..150_u32,
        stride in 0..40_u32,
    ) -> Anything {
        Anything { stored, shown, shift, depth, rotation, preprocessing, layout, sides, image_size, stride }
    }
}

impl Anything {
    fn image(&self) -> Image {
        let [width, height] = self.stored;
        let bytes = if self.depth == 8 { 1 } else { 2 };
        let plane = |[shift_x, shift_y]: [u32; 2]| -> Vec<u8> {
            let samples = width.div_ceil(1 << shift_x) * height.div_ceil(1 << shift_y);
            (0..samples * bytes).map(|index| (index * 89 % 251) as u8).collect()
        };
        Image {
            planes: [plane([0; 2]), plane(self.shift), plane(self.shift)],
            depth: self.depth,
            shift: self.shift,
            rotation: self.rotation,
            ..Image::pattern(width, height, 0)
        }
    }

    fn manifest(&self) -> Manifest {
        let [height, width] = self.sides;
        let input = InputTensor { layout: self.layout, ..InputTensor::nchw("images", [Some(1), height, width]) };
        let manifest = Manifest::new(HeadFamily::V8, input, self.preprocessing);
        Manifest { image_size: self.image_size, stride: self.stride, ..manifest }
    }

    /// Black's and white's values of each channel, with room for rounding.
    fn limits(&self) -> [[f32; 2]; 3] {
        let Preprocessing { scale, mean, std, .. } = self.preprocessing;
        let value = |channel: usize, sample: f64| ((sample * scale - mean[channel]) / std[channel]) as f32;
        [0, 1, 2].map(|channel| [value(channel, 0.0) - 1e-4, value(channel, 255.0) + 1e-4])
    }
}

proptest! {
    #[test]
    fn whatever_the_geometry_every_value_is_written_and_between_black_and_white(anything in anything()) {
        let (image, manifest) = (anything.image(), anything.manifest());
        let [width, height] = anything.shown;
        let display = Display { width, height, rotation: anything.rotation };
        let picture = Picture { display, ..image.picture() };
        let mut preprocessor = Preprocessor::new(&manifest, &picture).unwrap();
        let mut input = vec![f32::NAN; preprocessor.input_len()];
        // What is stretched is everywhere.
        if anything.preprocessing.resize == Resize::Letterbox {
            preprocessor.paint_padding(&mut input);
        }
        preprocessor.fill(&picture, &mut input).unwrap();
        let (limits, plane) = (anything.limits(), input.len() / 3);
        for (index, value) in input.iter().enumerate() {
            let [black, white] = limits[if anything.layout == Layout::Nhwc { index % 3 } else { index / plane }];
            prop_assert!((black..=white).contains(value), "{} at {}", value, index);
        }
        preprocessor.fill(&picture, &mut vec![0_u8; input.len()]).unwrap();
        preprocessor.fill(&picture, &mut vec![f16::ZERO; input.len()]).unwrap();
    }
}
