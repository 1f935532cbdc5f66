mod inputs;

use super::*;
use crate::manifest::{ColourOrder, HeadFamily, InputTensor, Preprocessing, Resize};

/// A picture with its own samples.
#[derive(Clone)]
struct Image {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
    depth: u32,
    shift: [u32; 2],
    matrix: Matrix,
    range: Range,
    rotation: Rotation,
}

impl Image {
    /// 8-bit BT.601 limited; `sample(plane, x, y)` in the plane's own coordinates.
    fn new(width: usize, height: usize, shift: u32, sample: impl Fn(usize, usize, usize) -> u8) -> Self {
        let plane = |plane: usize| {
            let shift = if plane == 0 { 0 } else { shift };
            let (columns, rows) = (width.div_ceil(1 << shift), height.div_ceil(1 << shift));
            (0..rows * columns).map(|index| sample(plane, index % columns, index / columns)).collect()
        };
        Self {
            width,
            height,
            planes: [plane(0), plane(1), plane(2)],
            depth: 8,
            shift: [shift; 2],
            matrix: Matrix::Bt601,
            range: Range::Limited,
            rotation: Rotation::None,
        }
    }

    fn flat(yuv: [u8; 3]) -> Self {
        Self::new(8, 8, 1, |plane, _, _| yuv[plane])
    }

    fn pattern(width: usize, height: usize, shift: u32) -> Self {
        Self::new(width, height, shift, |plane, x, y| ((x * 37 + y * 91 + plane * 50 + x * y * 13) % 220 + 16) as u8)
    }

    fn picture(&self) -> Picture<'_> {
        let bytes = if self.depth == 8 { 1 } else { 2 };
        let chroma_stride = self.width.div_ceil(1 << self.shift[0]) * bytes;
        let strides = [self.width * bytes, chroma_stride, chroma_stride];
        let (width, height) =
            if is_quarter(self.rotation) { (self.height, self.width) } else { (self.width, self.height) };
        Picture {
            width: self.width,
            height: self.height,
            planes: std::array::from_fn(|plane| Plane { data: &self.planes[plane], stride: strides[plane] }),
            depth: self.depth,
            chroma_shift_x: self.shift[0],
            chroma_shift_y: self.shift[1],
            matrix: self.matrix,
            range: self.range,
            display: Display { width: width as u32, height: height as u32, rotation: self.rotation },
        }
    }

    /// The same picture as it is stored where it has to be turned, which filling has to undo exactly. Chroma is at
    /// full size, so that the blocks that share it turn with it.
    fn turned(&self, rotation: Rotation) -> Self {
        let (right, bottom) = (self.width - 1, self.height - 1);
        let (width, height) = if is_quarter(rotation) { (self.height, self.width) } else { (self.width, self.height) };
        let at = |plane: usize, x: usize, y: usize| self.planes[plane][y * self.width + x];
        let image = Self::new(width, height, 0, |plane, x, y| match rotation {
            Rotation::None => at(plane, x, y),
            // Clockwise: a stored column becomes a row, a stored row a column counted from the right.
            Rotation::Quarter => at(plane, right - y, x),
            Rotation::Half => at(plane, right - x, bottom - y),
            Rotation::ThreeQuarters => at(plane, y, bottom - x),
        });
        Self { rotation, ..image }
    }

    fn fill(&self, side: u32) -> Vec<f32> {
        fill(&manifest(side, Preprocessing { scale: 1.0, ..Preprocessing::ULTRALYTICS }), &self.picture())
    }
}

fn manifest(side: u32, preprocessing: Preprocessing) -> Manifest {
    let input = InputTensor::nchw("images", [Some(1), Some(side), Some(side)]);
    Manifest::new(HeadFamily::V8, input, preprocessing)
}

fn fill(manifest: &Manifest, picture: &Picture<'_>) -> Vec<f32> {
    fill_as(manifest, picture)
}

fn fill_as<E: InputValue>(manifest: &Manifest, picture: &Picture<'_>) -> Vec<E> {
    let mut preprocessor = Preprocessor::new(manifest, picture).unwrap();
    let mut input = vec![E::default(); preprocessor.input_len()];
    preprocessor.paint_padding(&mut input);
    preprocessor.fill(picture, &mut input).unwrap();
    input
}

/// The first pixel's channels.
fn first_pixel(input: &[f32]) -> [f32; 3] {
    let plane = input.len() / 3;
    [input[0], input[plane], input[2 * plane]]
}

fn assert_near(seen: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(seen.len(), expected.len());
    for (index, (seen, expected)) in seen.iter().zip(expected).enumerate() {
        assert!((seen - expected).abs() <= tolerance, "at {index}: {seen} instead of {expected}");
    }
}

/// Golden colours: computed with Python's `fractions` from the formulas of ITU-R BT.601-7 (2.5.1), BT.709-6 (3.2) and
/// BT.2020-2 (table 4), E'Y = (Y-16)/219 and E'C = (C-128)/224 for limited range, and rounded to two places.
#[test]
fn colours_are_those_of_the_standards() {
    let limited = [
        (Matrix::Bt601, [100, 110, 150], [132.92, 86.97, 61.5]),
        (Matrix::Bt709, [100, 110, 150], [137.25, 89.92, 59.78]),
        (Matrix::Bt2020, [100, 110, 150], [134.74, 86.87, 59.26]),
        (Matrix::Bt601, [235, 128, 128], [255.0, 255.0, 255.0]),
        (Matrix::Bt601, [16, 128, 128], [0.0, 0.0, 0.0]),
        // Beyond white and black.
        (Matrix::Bt709, [250, 128, 128], [255.0, 255.0, 255.0]),
        (Matrix::Bt709, [4, 128, 128], [0.0, 0.0, 0.0]),
    ];
    for (matrix, yuv, rgb) in limited {
        let seen = first_pixel(&Image { matrix, ..Image::flat(yuv) }.fill(8));
        assert_near(&seen, &rgb, 0.006);
    }
    let full = [
        (Matrix::Bt601, [100, 110, 150], [130.84, 90.48, 68.1]),
        (Matrix::Bt709, [100, 110, 150], [134.65, 93.07, 66.6]),
        (Matrix::Bt2020, [100, 110, 150], [132.44, 90.39, 66.13]),
        (Matrix::Bt601, [255, 128, 128], [255.0, 255.0, 255.0]),
    ];
    for (matrix, yuv, rgb) in full {
        let seen = first_pixel(&Image { matrix, range: Range::Full, ..Image::flat(yuv) }.fill(8));
        assert_near(&seen, &rgb, 0.006);
    }
}

#[test]
fn channels_are_in_the_models_order_and_range() {
    let image = Image::flat([100, 110, 150]);
    let rgb = first_pixel(&fill(&manifest(8, Preprocessing::ULTRALYTICS), &image.picture()));
    let bgr = first_pixel(&fill(&manifest(8, Preprocessing::YOLOX), &image.picture()));
    assert_near(&[bgr[2] / 255.0, bgr[1] / 255.0, bgr[0] / 255.0], &rgb, 1e-6);
    assert!(bgr[2] > bgr[0] && rgb.iter().all(|value| *value < 1.0));
}

#[test]
fn the_mean_and_the_deviation_are_the_channels_own() {
    let image = Image::pattern(64, 36, 1);
    let odd =
        Preprocessing { colour: ColourOrder::Bgr, resize: Resize::Letterbox, pad: 114, ..Preprocessing::IMAGENET };
    for preprocessing in [Preprocessing::IMAGENET, Preprocessing::NANODET, odd] {
        let Preprocessing { scale, mean, std, .. } = preprocessing;
        let samples = Preprocessing { scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..preprocessing };
        let samples = fill(&manifest(32, samples), &image.picture());
        let seen = fill(&manifest(32, preprocessing), &image.picture());
        for (index, (seen, sample)) in seen.iter().zip(samples).enumerate() {
            let channel = index / (32 * 32);
            let expected = (f64::from(sample) * scale - mean[channel]) / std[channel];
            assert!((f64::from(*seen) - expected).abs() < 1e-5, "{preprocessing:?} at {index}: {seen}, not {expected}");
        }
    }
}

#[test]
fn black_and_white_are_limits_after_normalising_too() {
    // Beyond white, beyond black, and a red that green and blue have nothing of.
    for (yuv, rgb) in [([255, 128, 128], [255.0; 3]), ([0, 128, 128], [0.0; 3]), ([81, 90, 240], [254.44, 0.0, 0.0])] {
        let image = Image::flat(yuv);
        for preprocessing in [Preprocessing::IMAGENET, Preprocessing::NANODET] {
            let Preprocessing { scale, mean, std, colour, .. } = preprocessing;
            let channels = if colour == ColourOrder::Rgb { rgb } else { [rgb[2], rgb[1], rgb[0]] };
            let expected = [0, 1, 2].map(|channel| ((channels[channel] * scale - mean[channel]) / std[channel]) as f32);
            assert_near(&first_pixel(&fill(&manifest(8, preprocessing), &image.picture())), &expected, 1e-3);
        }
    }
}

#[test]
fn at_its_own_size_a_picture_is_only_converted() {
    let image = Image::new(16, 16, 0, |plane, x, y| if plane == 0 { (16 + x + y * 13) as u8 } else { 128 });
    let expected: Vec<f32> = (0..256).map(|n| ((n % 16) + (n / 16) * 13) as f32 * 255.0 / 219.0).collect();
    assert_near(&image.fill(16)[..256], &expected, 1e-3);
}

#[test]
fn every_turn_shows_the_picture_upright() {
    let upright = Image::pattern(6, 4, 0);
    for side in [4, 6, 9, 32] {
        let expected = upright.fill(side);
        for rotation in [Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters] {
            // Weights between rows are coarser than between columns, and a quarter turn swaps the two.
            assert_near(&upright.turned(rotation).fill(side), &expected, 1.0);
        }
    }
}

#[test]
fn ten_bits_are_eight_bits_times_four() {
    let image = Image::pattern(37, 23, 1);
    for (depth, factor) in [(10, 4), (12, 16), (16, 256)] {
        let deep =
            |plane: &Vec<u8>| plane.iter().flat_map(|sample| (u16::from(*sample) * factor).to_le_bytes()).collect();
        let deep = Image { depth, planes: image.planes.each_ref().map(deep), ..image.clone() };
        assert_eq!(deep.fill(32), image.fill(32));
    }
}

#[test]
fn full_range_white_is_white_at_every_depth() {
    for depth in 9..=16 {
        let white = ((1_u32 << depth) - 1) as u16;
        let grey = 1_u16 << (depth - 1);
        let plane = |sample: u16| sample.to_le_bytes().repeat(64);
        let image = Image {
            depth,
            range: Range::Full,
            planes: [plane(white), plane(grey), plane(grey)],
            ..Image::flat([0; 3])
        };
        assert_near(&first_pixel(&image.fill(8)), &[255.0; 3], 0.01);
    }
}

#[test]
fn odd_and_tiny_pictures_are_filled_everywhere() {
    for (width, height) in [(1, 1), (2, 1), (1, 2), (3, 3), (5, 2), (17, 31), (1, 50), (101, 1)] {
        for shift in 0..=2 {
            for rotation in [Rotation::None, Rotation::Quarter, Rotation::Half, Rotation::ThreeQuarters] {
                let input = Image { rotation, ..Image::pattern(width, height, shift) }.fill(32);
                assert!(input.iter().all(|value| (0.0..=255.0).contains(value)), "{width}x{height} {shift}");
            }
        }
    }
}

#[test]
fn the_padding_is_grey_and_the_content_is_not_beside_its_place() {
    let image = Image::new(64, 32, 1, |plane, _, _| if plane == 0 { 235 } else { 128 });
    let input = image.fill(64);
    for (row, values) in input[..64 * 64].chunks(64).enumerate() {
        let expected = if (16..48).contains(&row) { 255.0 } else { 114.0 };
        assert_near(values, &[expected; 64], 1e-3);
    }
}

#[test]
fn a_plane_that_is_too_small_is_an_error() {
    let image = Image::pattern(16, 16, 1);
    let manifest = manifest(32, Preprocessing::YOLOX);
    let mut preprocessor = Preprocessor::new(&manifest, &image.picture()).unwrap();
    let mut input = vec![0.0; preprocessor.input_len()];
    let mut short = image.picture();
    short.planes[1].data = &short.planes[1].data[1..];
    let mut narrow = image.picture();
    narrow.planes[0].stride = 15;
    let mut huge = image.picture();
    huge.planes[2].stride = usize::MAX;
    for broken in [short, narrow, huge] {
        assert!(matches!(preprocessor.fill(&broken, &mut input), Err(ModelError::PictureInvalid { .. })));
    }
    assert!(preprocessor.fill(&image.picture(), &mut input[1..]).is_err());
    preprocessor.fill(&image.picture(), &mut input).unwrap();
    for broken in [Picture { width: 0, ..image.picture() }, Picture { depth: 17, ..image.picture() }] {
        assert!(Preprocessor::new(&manifest, &broken).is_err());
    }
}

#[test]
fn rows_may_be_followed_by_anything() {
    let image = Image::pattern(10, 6, 1);
    let padded = |plane: usize, columns: usize| -> Vec<u8> {
        image.planes[plane].chunks(columns).flat_map(|row| row.iter().copied().chain([0xee; 7])).collect()
    };
    let planes = [padded(0, 10), padded(1, 5), padded(2, 5)];
    let mut picture = image.picture();
    for (plane, (data, columns)) in picture.planes.iter_mut().zip(planes.iter().zip([10, 5, 5])) {
        *plane = Plane { data, stride: columns + 7 };
    }
    let preprocessing = Preprocessing { scale: 1.0, ..Preprocessing::ULTRALYTICS };
    assert_eq!(fill(&manifest(32, preprocessing), &picture), image.fill(32));
}
