//! The picture that a model is tried and warmed up with.

use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};

/// BT.709, 4:2:0, a slope of grey with a disc and two boxes of colour on it.
pub(crate) struct KnownPicture {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

impl KnownPicture {
    /// Of a width and a height in pixels.
    pub fn new([width, height]: [u32; 2]) -> Self {
        let (width, height) = (width as usize, height as usize);
        let chroma = |sample| plane(width.div_ceil(2), height.div_ceil(2), sample);
        Self { width, height, planes: [plane(width, height, luma), chroma(blue), chroma(red)] }
    }

    pub fn picture(&self) -> Picture<'_> {
        let Self { width, height, ref planes } = *self;
        let strides = [width, width.div_ceil(2), width.div_ceil(2)];
        Picture {
            width,
            height,
            planes: std::array::from_fn(|plane| Plane { data: &planes[plane], stride: strides[plane] }),
            depth: 8,
            chroma_shift_x: 1,
            chroma_shift_y: 1,
            matrix: Matrix::Bt709,
            range: Range::Limited,
            display: Display { width: width as u32, height: height as u32, rotation: Rotation::None },
        }
    }
}

fn plane(width: usize, height: usize, sample: fn(f64, f64) -> f64) -> Vec<u8> {
    let row = move |row: usize| (0..width).map(move |column| (row, column));
    (0..height)
        .flat_map(row)
        .map(|(row, column)| sample(column as f64 / width as f64, row as f64 / height as f64) as u8)
        .collect()
}

/// 16 to 235, at a place from 0 to 1 across and down.
fn luma(x: f64, y: f64) -> f64 {
    match () {
        () if in_disc(x, y) => 200.0,
        () if in_box(x, y) => 60.0 + 100.0 * y,
        () => 40.0 + 150.0 * x,
    }
}

fn blue(x: f64, y: f64) -> f64 {
    if in_box(x, y) { 180.0 } else { 128.0 }
}

fn red(x: f64, y: f64) -> f64 {
    if in_disc(x, y) { 190.0 } else { 110.0 + 30.0 * y }
}

fn in_disc(x: f64, y: f64) -> bool {
    ((x - 0.3) * 16.0).hypot((y - 0.5) * 9.0) < 2.0
}

fn in_box(x: f64, y: f64) -> bool {
    (0.6..0.8).contains(&x) && (0.2..0.9).contains(&y) || (0.05..0.15).contains(&x) && (0.1..0.3).contains(&y)
}
