//! Reading a detector's output tensor: one file for each layout.
//!
//! A head gives [`Candidate`]s: boxes in pixels of the model's input, with the best class of each place. A place
//! whose best class is not among the wanted ones gives nothing, as in Ultralytics' and Megvii's own programs.
//! Scores and boxes that are not finite give nothing either: they can be neither ordered nor stored.

mod end_to_end;
mod v5;
mod v8;
mod yolox;

use crate::{
    letterbox::{Corners, Size},
    manifest::HeadFamily,
};
use ndarray::ArrayView2;

/// A box before suppression, in pixels of the model's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    pub corners: Corners,
    pub score: f32,
    pub class_id: i32,
    /// Its place in the output: settles the order of equal scores.
    pub anchor: u32,
}

/// Which candidates are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The least score.
    pub confidence: f32,
    /// Class ids; `None` for all.
    pub classes: Option<&'a [i32]>,
}

impl Wanted<'_> {
    fn class(&self, class_id: i32) -> bool {
        self.classes.is_none_or(|classes| classes.contains(&class_id))
    }
}

/// A head for one size of the model's input.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    pub family: HeadFamily,
    /// How many classes it tells apart.
    pub classes: usize,
    /// The model's input.
    pub model: Size,
}

impl Head {
    /// Whether a tensor of this shape can come from this head; the error says what was expected.
    pub fn check(&self, shape: &[usize]) -> Result<(), String> {
        let fits = match *shape {
            [0, ..] => false,
            [_, rows, columns] => match self.family {
                HeadFamily::Yolox => columns == 5 + self.classes && Some(rows) == places(self.model, LEVELS[0]),
                HeadFamily::V8 => rows == 4 + self.classes && self.is_places(columns, 1),
                HeadFamily::V5 => columns == 5 + self.classes && self.is_places(rows, 3),
                HeadFamily::EndToEnd => columns == 6,
                _ => false,
            },
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.mismatch(shape)) }
    }

    fn is_places(&self, count: usize, per_cell: usize) -> bool {
        LEVELS.iter().any(|levels| places(self.model, levels).is_some_and(|places| per_cell * places == count))
    }

    fn mismatch(&self, shape: &[usize]) -> String {
        let Size { width, height } = self.model;
        let places = places(self.model, LEVELS[0]).unwrap_or(0);
        let expected = match self.family {
            HeadFamily::Yolox => format!("[B, {places}, {}]", 5 + self.classes),
            HeadFamily::V8 => format!("[B, {}, {places}]", 4 + self.classes),
            HeadFamily::V5 => format!("[B, {}, {}]", 3 * places, 5 + self.classes),
            HeadFamily::EndToEnd => "[B, D, 6]".to_owned(),
            _ => String::new(),
        };
        format!("its output is {shape:?} for an input of {width}x{height}, where {expected} was expected")
    }

    /// Adds what the head found in one picture to `candidates`.
    ///
    /// `output` is one picture's part of a tensor that [`Head::check`] accepted; of any other nothing is read.
    pub fn decode(&self, output: &ArrayView2<'_, f32>, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
        match self.family {
            HeadFamily::Yolox => yolox::decode(output, self.model, wanted, candidates),
            HeadFamily::V8 => v8::decode(output, wanted, candidates),
            HeadFamily::V5 => v5::decode(output, wanted, candidates),
            HeadFamily::EndToEnd => end_to_end::decode(output, self.classes, wanted, candidates),
            _ => {}
        }
    }

    /// Whether overlapping boxes are still in the output.
    pub fn needs_suppression(&self) -> bool {
        self.family != HeadFamily::EndToEnd
    }
}

/// The strides of feature maps that detectors are built with: the usual ones, with a finer one, with a coarser one.
pub(crate) const LEVELS: [&[usize]; 3] = [&[8, 16, 32], &[4, 8, 16, 32], &[8, 16, 32, 64]];

/// How many places feature maps of these strides have; `None` when the input is no multiple of the largest.
pub(crate) fn places(model: Size, levels: &[usize]) -> Option<usize> {
    let fits = levels.iter().all(|stride| model.width.is_multiple_of(*stride) && model.height.is_multiple_of(*stride));
    fits.then(|| levels.iter().map(|stride| (model.width / stride) * (model.height / stride)).sum())
}

/// The class with the highest score, the lower id of equal ones; `None` where every score is NaN.
fn best_class(scores: impl Iterator<Item = f32>) -> Option<(i32, f32)> {
    let mut best: Option<(i32, f32)> = None;
    for (class_id, score) in (0..).zip(scores) {
        if best.map_or(!score.is_nan(), |(_, highest)| score > highest) {
            best = Some((class_id, score));
        }
    }
    best
}

/// A box by its centre and size, in pixels of the model's input.
#[derive(Debug, Clone, Copy)]
struct Centred {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

impl Centred {
    fn corners(self) -> Corners {
        let (half_width, half_height) = (self.width / 2.0, self.height / 2.0);
        Corners { x1: self.x - half_width, y1: self.y - half_height, x2: self.x + half_width, y2: self.y + half_height }
    }
}

/// Adds a candidate that can be ordered and placed.
fn push(candidates: &mut Vec<Candidate>, candidate: Candidate) {
    let Corners { x1, y1, x2, y2 } = candidate.corners;
    if [x1, y1, x2, y2, candidate.score].iter().all(|value| value.is_finite()) {
        candidates.push(candidate);
    }
}
