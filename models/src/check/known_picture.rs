use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;

/// The picture that every model is tried with: BT.709, 4:2:0, a slope of grey with a disc and two boxes of colour on it.
pub struct KnownPicture {
    planes: [Vec<u8>; 3],
}

impl KnownPicture {
    pub fn new() -> Self {
        Self {
            planes: [plane(WIDTH, HEIGHT, luma), plane(WIDTH / 2, HEIGHT / 2, blue), plane(WIDTH / 2, HEIGHT / 2, red)],
        }
    }

    pub fn picture(&self) -> Picture<'_> {
        let [y, u, v] = &self.planes;
        Picture {
            width: WIDTH,
            height: HEIGHT,
            planes: [(y, WIDTH), (u, WIDTH / 2), (v, WIDTH / 2)].map(|(data, stride)| Plane { data, stride }),
            depth: 8,
            chroma_shift_x: 1,
            chroma_shift_y: 1,
            matrix: Matrix::Bt709,
            range: Range::Limited,
            display: Display { width: WIDTH as u32, height: HEIGHT as u32, rotation: Rotation::None },
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
