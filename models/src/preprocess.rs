//! From a decoded picture to a model's input in one pass: scale, turn, convert to RGB, normalise, lay out.
//!
//! ```text
//! Y, U, V rows ─► blend two rows (u16, 8.8) ─► gather two columns (i32) ─► matrix, normalise, clamp (f32) ─► input
//! ```
//!
//! Nothing the size of a picture is stored in between: a few rows at a time stay in the first-level cache. An input of
//! f32 in planes is written as it is converted; where it is narrower, interleaved or turned, a row is converted first.
//!
//! Sampling is bilinear over 2×2 samples with half-pixel centres and without antialiasing, as OpenCV's `INTER_LINEAR`
//! does it and so as nearly every detector was trained and exported. Chroma is taken for the whole block of luma
//! samples that shares it: that is what swscale does when it converts a picture to RGB at its own size, which is how
//! Python programs get theirs, and it agrees with them better than chroma interpolated at its true place does.

mod canvas;
mod colour;
mod device;
mod input_value;
#[cfg(test)]
mod tests;
mod taps;

pub use device::DevicePreprocessor;
pub use input_value::InputValue;

use crate::{
    ModelError,
    letterbox::{Letterbox, Size},
    manifest::{Layout, Manifest},
};
use canvas::Canvas;
use colour::Colours;
use framefleet_native::{
    cuda::SemiPlanar,
    picture::{Display, Matrix, Picture, Plane, Range, Rotation},
};
use taps::{COLUMN_BITS, Place, ROW_BITS, Sample, Tap, blend_rows};

/// Pictures up to this many pixels wide and high: a column's number fits 16 bits.
const LARGEST_SIDE: usize = 1 << 16;

/// Everything about a picture but its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Geometry {
    width: usize,
    height: usize,
    depth: u32,
    chroma_shift_x: u32,
    chroma_shift_y: u32,
    matrix: Matrix,
    range: Range,
    display: Display,
}

impl From<&Picture<'_>> for Geometry {
    fn from(picture: &Picture<'_>) -> Self {
        Self {
            width: picture.width,
            height: picture.height,
            depth: picture.depth,
            chroma_shift_x: picture.chroma_shift_x,
            chroma_shift_y: picture.chroma_shift_y,
            matrix: picture.matrix,
            range: picture.range,
            display: picture.display,
        }
    }
}

impl From<&SemiPlanar> for Geometry {
    fn from(layout: &SemiPlanar) -> Self {
        let &SemiPlanar { width, height, depth, matrix, range, display, .. } = layout;
        Self { width, height, depth, chroma_shift_x: 1, chroma_shift_y: 1, matrix, range, display }
    }
}

/// How a stored picture lies when it is upright.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// Stored rows are columns of the displayed picture.
    is_quarter: bool,
    /// The displayed picture runs against the stored columns.
    is_backwards_across: bool,
    /// And against the stored rows.
    is_backwards_down: bool,
}

impl Turn {
    /// How many output samples lie along a stored row, and along a stored column.
    fn sides(self, content: Size) -> [usize; 2] {
        let Size { width, height } = content;
        if self.is_quarter { [height, width] } else { [width, height] }
    }
}

/// Fills a model's input from pictures of one geometry. Its tables are made once; filling allocates nothing.
#[derive(Debug)]
pub struct Preprocessor {
    geometry: Geometry,
    letterbox: Letterbox,
    layout: Layout,
    /// Of each channel.
    padding: [f32; 3],
    colours: Colours,
    luma: PlaneTaps,
    chroma: PlaneTaps,
    rows: Rows,
}

/// Where the samples of an output row and of an output column are, in a stored plane.
#[derive(Debug)]
struct PlaneTaps {
    width: usize,
    height: usize,
    columns: Vec<Tap>,
    /// Whether every column is on a sample, so that there is nothing to blend.
    columns_on_samples: bool,
    rows: Vec<Tap>,
}

/// What is kept while one output row is made.
#[derive(Debug)]
struct Rows {
    /// Two source rows blended, in 8.8 fixed point on the scale of 8 bits.
    blended: Vec<u16>,
    /// Y, U and V of the output row.
    gathered: [Vec<i32>; 3],
    /// The first to third channel of the output row, where it is not written as it is.
    converted: [Vec<f32>; 3],
}

impl Preprocessor {
    /// Prepares for pictures like this one.
    pub fn new(manifest: &Manifest, picture: &Picture<'_>) -> Result<Self, ModelError> {
        let geometry = Geometry::from(picture);
        geometry.check().map_err(|problem| ModelError::PictureInvalid { problem })?;
        let letterbox = Letterbox::new(manifest, geometry.display);
        let places = geometry.places(&letterbox);
        let luma = PlaneTaps::new(&places, &geometry, 0, 0);
        let chroma = PlaneTaps::new(&places, &geometry, geometry.chroma_shift_x, geometry.chroma_shift_y);
        let across = luma.columns.len();
        Ok(Self {
            colours: Colours::new(&geometry, &manifest.preprocessing),
            rows: Rows {
                // One more than a row holds: a row of one sample is repeated, so that every tap has two.
                blended: vec![0; geometry.width + 1],
                gathered: std::array::from_fn(|_| vec![0; across]),
                converted: std::array::from_fn(|_| vec![0.0; across]),
            },
            geometry,
            letterbox,
            layout: manifest.input.layout,
            padding: colour::padding(&manifest.preprocessing),
            luma,
            chroma,
        })
    }

    /// Whether a picture is like the one this was prepared for.
    pub fn fits(&self, picture: &Picture<'_>) -> bool {
        self.geometry == picture.into()
    }

    pub fn letterbox(&self) -> &Letterbox {
        &self.letterbox
    }

    /// How many values the input has for one picture.
    pub fn input_len(&self) -> usize {
        3 * self.letterbox.model.width * self.letterbox.model.height
    }

    /// Paints an input with the padding's grey. Filling leaves the padding alone, so once for each input is enough.
    pub fn paint_padding<E: InputValue>(&self, input: &mut [E]) {
        let mut grey = [E::default(); 3];
        E::convert(&self.padding, &mut grey);
        match self.layout {
            Layout::Nchw | Layout::Chw => {
                let plane = self.letterbox.model.width * self.letterbox.model.height;
                input.chunks_mut(plane).zip(grey.iter().cycle()).for_each(|(plane, grey)| plane.fill(*grey));
            }
            Layout::Nhwc => input.as_chunks_mut().0.fill(grey),
        }
    }

    /// Writes a picture into an input of [`Preprocessor::input_len`] values, in the model's layout. That the values
    /// are of the model's type is for the caller to see to.
    pub fn fill<E: InputValue>(&mut self, picture: &Picture<'_>, input: &mut [E]) -> Result<(), ModelError> {
        let planes = self.checked_planes(picture, input.len())?;
        let depth = self.geometry.depth;
        let Rows { blended, gathered, converted } = &mut self.rows;
        let [y, u, v] = gathered;
        let mut canvas = Canvas::new(&self.letterbox, self.layout, self.geometry.display.rotation, input);
        let mut last_chroma = None;
        for (index, (luma_row, chroma_row)) in self.luma.rows.iter().zip(&self.chroma.rows).enumerate() {
            planes[0].sample(*luma_row, &self.luma, depth, blended, y);
            // Where the picture grows, or chroma is halved, rows of chroma repeat.
            if last_chroma.replace(*chroma_row) != Some(*chroma_row) {
                planes[1].sample(*chroma_row, &self.chroma, depth, blended, u);
                planes[2].sample(*chroma_row, &self.chroma, depth, blended, v);
            }
            canvas.write(index, converted, |output| self.colours.convert([y, u, v], output));
        }
        Ok(())
    }

    fn checked_planes<'a>(&self, picture: &Picture<'a>, input_len: usize) -> Result<[PlaneRows<'a>; 3], ModelError> {
        let invalid = |problem: String| ModelError::PictureInvalid { problem };
        if !self.fits(picture) || input_len != self.input_len() {
            return Err(invalid("it is not of the geometry that the tables were made for".to_owned()));
        }
        let [luma, first, second] = picture.planes;
        let rows = |plane, taps| PlaneRows::new(plane, taps, self.geometry.depth).map_err(invalid);
        Ok([rows(luma, &self.luma)?, rows(first, &self.chroma)?, rows(second, &self.chroma)?])
    }
}

impl Geometry {
    fn check(&self) -> Result<(), String> {
        let sides = [self.width, self.height, self.display.width as usize, self.display.height as usize];
        if sides.iter().any(|side| !(1..=LARGEST_SIDE).contains(side)) {
            return Err(format!("its size is {}x{}, shown as {}x{}", sides[0], sides[1], sides[2], sides[3]));
        }
        if !(8..=16).contains(&self.depth) || self.chroma_shift_x > 4 || self.chroma_shift_y > 4 {
            return Err(format!(
                "{} bits with chroma shifts of {} and {} is no picture format",
                self.depth, self.chroma_shift_x, self.chroma_shift_y
            ));
        }
        Ok(())
    }

    /// Where in the stored picture the output's columns and rows are. After a quarter turn, what is made from stored
    /// rows are columns; where the turn mirrors an axis, it runs backwards.
    fn places(&self, letterbox: &Letterbox) -> [Vec<Place>; 2] {
        let turn = self.turn();
        let [across, down] = turn.sides(letterbox.content);
        let mut places = [taps::places(self.width, across), taps::places(self.height, down)];
        for (places, backwards) in places.iter_mut().zip([turn.is_backwards_across, turn.is_backwards_down]) {
            if backwards {
                places.reverse();
            }
        }
        places
    }

    fn turn(&self) -> Turn {
        let rotation = self.display.rotation;
        Turn {
            is_quarter: is_quarter(rotation),
            is_backwards_across: matches!(rotation, Rotation::Half | Rotation::ThreeQuarters),
            is_backwards_down: matches!(rotation, Rotation::Half | Rotation::Quarter),
        }
    }
}

/// Whether rows of the stored picture are columns of the displayed one.
fn is_quarter(rotation: Rotation) -> bool {
    matches!(rotation, Rotation::Quarter | Rotation::ThreeQuarters)
}

impl PlaneTaps {
    fn new([across, down]: &[Vec<Place>; 2], geometry: &Geometry, shift_x: u32, shift_y: u32) -> Self {
        let width = geometry.width.div_ceil(1 << shift_x);
        let height = geometry.height.div_ceil(1 << shift_y);
        let columns: Vec<Tap> = across.iter().map(|place| place.tap(shift_x, width, COLUMN_BITS)).collect();
        Self {
            width,
            height,
            columns_on_samples: columns.iter().all(|tap| tap.weight == 0),
            columns,
            rows: down.iter().map(|place| place.tap(shift_y, height, ROW_BITS)).collect(),
        }
    }

    fn gather<S: Sample>(&self, row: &[S], gathered: &mut [i32]) {
        if self.columns_on_samples {
            taps::pick(row, &self.columns, gathered);
        } else {
            taps::gather(row, &self.columns, gathered);
        }
    }
}

/// A plane whose rows are known to be inside its buffer.
#[derive(Clone, Copy)]
struct PlaneRows<'a> {
    data: &'a [u8],
    stride: usize,
    /// Bytes of a row's samples.
    row: usize,
}

impl<'a> PlaneRows<'a> {
    fn new(plane: Plane<'a>, taps: &PlaneTaps, depth: u32) -> Result<Self, String> {
        let row = taps.width * if depth == 8 { 1 } else { 2 };
        let needed = plane.stride.checked_mul(taps.height - 1).and_then(|bytes| bytes.checked_add(row));
        if plane.stride < row || needed.is_none_or(|needed| plane.data.len() < needed) {
            return Err(format!(
                "a plane of {}x{} samples has {} bytes with a stride of {}",
                taps.width,
                taps.height,
                plane.data.len(),
                plane.stride
            ));
        }
        Ok(Self { data: plane.data, stride: plane.stride, row })
    }

    fn get(&self, index: usize) -> &'a [u8] {
        let start = index * self.stride;
        &self.data[start..start + self.row]
    }

    /// Makes one output row of the plane: blends two rows, then picks and blends columns.
    fn sample(&self, row: Tap, taps: &PlaneTaps, depth: u32, blended: &mut [u16], gathered: &mut [i32]) {
        let first = row.index as usize;
        let second = (first + 1).min(taps.height - 1);
        if depth == 8 && taps.width > 1 {
            // An output row that lies on a source row needs no blending: half of all chroma rows, and every row when
            // a picture shrinks by an odd number, such as 1080p to 640×360.
            match row.weight {
                0 => return taps.gather(self.get(first), gathered),
                taps::WHOLE_ROW => return taps.gather(self.get(second), gathered),
                _ => {}
            }
        }
        blend_rows(self.get(first), self.get(second), row.weight, depth, &mut blended[..taps.width]);
        if taps.width == 1 {
            blended[1] = blended[0];
        }
        taps.gather(&blended[..taps.width.max(2)], gathered);
    }
}
