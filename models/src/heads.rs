//! Reading a detector's output tensors: one file for each layout.
//!
//! A head gives [`Candidate`]s: boxes in pixels of the model's input, with the best class of each place. A place
//! whose best class is not among the wanted ones gives nothing, as in Ultralytics' and Megvii's own programs.
//! Scores and boxes that are not finite give nothing either: they can be neither ordered nor stored. Neither do
//! classes that have no name: lists are padded with them.

mod damo_yolo;
mod detr;
mod end_to_end;
mod listed;
mod nanodet;
mod shape;
mod survivors;
mod v5;
mod v8;
mod yolox;

use crate::{
    letterbox::{Corners, Size},
    manifest::HeadFamily,
};
use ndarray::ArrayView2;

pub use survivors::DeviceOutput;

pub(crate) use shape::{LEVELS, MOST_OUTPUTS, nanodet_plus_cells, places};

/// One output of a run as f32, whatever its type is.
#[derive(Debug, Clone, Copy)]
pub struct OutputView<'a> {
    pub shape: &'a [usize],
    /// As many as the shape has.
    pub values: &'a [f32],
}

impl<'a> OutputView<'a> {
    /// The first picture's part of `[B, rows, columns]`, or all of `[rows, columns]`; empty for any other.
    fn picture(&self) -> ArrayView2<'a, f32> {
        let (rows, columns) = match *self.shape {
            [batch, rows, columns] if batch > 0 => (rows, columns),
            [rows, columns] => (rows, columns),
            _ => (0, 0),
        };
        let length = rows.saturating_mul(columns);
        let values = self.values.get(..length).unwrap_or_default();
        let rows = if values.len() == length { rows } else { 0 };
        ArrayView2::from_shape((rows, columns), values)
            .unwrap_or_else(|_| ArrayView2::from_shape((0, 0), &[]).expect("no values are enough for no rows"))
    }

    /// The first picture's part of `[B, values]`, or all of `[values]`.
    fn list(&self) -> &'a [f32] {
        let length = match *self.shape {
            [batch, length] if batch > 0 => length,
            [length] => length,
            _ => 0,
        };
        self.values.get(..length).unwrap_or_default()
    }
}

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
    /// Adds what the head found in the first picture to `candidates`.
    ///
    /// `outputs` are of shapes that [`Head::check`] accepted; of any others nothing is read.
    pub fn decode(&self, outputs: &[OutputView<'_>], wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
        match (self.family, outputs) {
            (HeadFamily::Yolox, [output]) => yolox::decode(&output.picture(), self.model, wanted, candidates),
            (HeadFamily::V8, [output]) => v8::decode(&output.picture(), wanted, candidates),
            (HeadFamily::YoloxDecoded | HeadFamily::V5 | HeadFamily::V6, [output]) => {
                v5::decode(&output.picture(), wanted, candidates);
            }
            (HeadFamily::EndToEnd, [output]) => {
                end_to_end::decode(&output.picture(), self.classes, wanted, candidates);
            }
            (HeadFamily::V7EndToEnd | HeadFamily::YoloNasFlat | HeadFamily::Paddle, [output, ..]) => {
                let columns = listed::Columns::of(self.family);
                listed::rows(&output.picture(), columns, self.classes, wanted, candidates);
            }
            (HeadFamily::RtDetrListed | HeadFamily::UltralyticsRtDetr, [output]) => {
                detr::rows(&output.picture(), self, wanted, candidates);
            }
            (HeadFamily::DetrSigmoid, [boxes, logits]) => {
                detr::sigmoid(&boxes.picture(), &logits.picture(), self.model, wanted, candidates);
            }
            (HeadFamily::DetrSoftmax, [boxes, logits]) => {
                detr::softmax(&boxes.picture(), &logits.picture(), self.model, wanted, candidates);
            }
            (HeadFamily::DamoYolo, [scores, boxes]) => {
                damo_yolo::decode(&scores.picture(), &boxes.picture(), wanted, candidates);
            }
            (HeadFamily::NanodetPlus, [output]) => {
                nanodet::plus(&output.picture(), self.classes, self.model, wanted, candidates);
            }
            (HeadFamily::Nanodet, levels) => nanodet::levels(levels, self.model, wanted, candidates),
            (HeadFamily::NmsOutputs, [count, boxes, scores, classes])
            | (HeadFamily::TfDetection, [boxes, classes, scores, count]) => {
                let list = listed::Columnwise { count: Some(count), boxes, scores, classes };
                list.decode(self, wanted, candidates);
            }
            (HeadFamily::RtDetr, [classes, boxes, scores]) | (HeadFamily::Torchvision, [boxes, scores, classes]) => {
                listed::Columnwise { count: None, boxes, scores, classes }.decode(self, wanted, candidates);
            }
            _ => {}
        }
    }

    /// Whether overlapping boxes are still in the output.
    pub fn needs_suppression(&self) -> bool {
        matches!(
            self.family,
            HeadFamily::Yolox
                | HeadFamily::YoloxDecoded
                | HeadFamily::V8
                | HeadFamily::V5
                | HeadFamily::V6
                | HeadFamily::DamoYolo
                | HeadFamily::NanodetPlus
                | HeadFamily::Nanodet
        )
    }
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

/// The highest of some scores, compared eight at a time so that the compiler can use vectors. Lower than any score
/// where there is none, or where all are NaN.
fn highest(scores: &[f32]) -> f32 {
    let greater = |left: f32, right: f32| if right > left { right } else { left };
    let (chunks, rest) = scores.as_chunks::<8>();
    let mut lanes = [f32::NEG_INFINITY; 8];
    for chunk in chunks {
        for (lane, score) in lanes.iter_mut().zip(chunk) {
            *lane = greater(*lane, *score);
        }
    }
    lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, greater)
}

/// A class by a number that may be no class at all.
fn named_class(class: f32, classes: usize) -> Option<i32> {
    (0.0..classes as f32).contains(&class).then_some(class as i32)
}

/// A box by its centre and size, in pixels of the model's input.
#[derive(Debug, Clone, Copy)]
struct Centred {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

impl From<[f32; 4]> for Centred {
    fn from([x, y, width, height]: [f32; 4]) -> Self {
        Self { x, y, width, height }
    }
}

impl Centred {
    /// From shares of the model's input.
    fn of_shares([x, y, width, height]: [f32; 4], model: Size) -> Self {
        let (across, down) = (model.width as f32, model.height as f32);
        Self { x: x * across, y: y * down, width: width * across, height: height * down }
    }

    fn corners(self) -> Corners {
        let (half_width, half_height) = (self.width / 2.0, self.height / 2.0);
        Corners { x1: self.x - half_width, y1: self.y - half_height, x2: self.x + half_width, y2: self.y + half_height }
    }
}

/// Adds a candidate that can be ordered and placed.
fn push(candidates: &mut Vec<Candidate>, candidate: Candidate) {
    if is_finite(&candidate) {
        candidates.push(candidate);
    }
}

fn is_finite(candidate: &Candidate) -> bool {
    let Corners { x1, y1, x2, y2 } = candidate.corners;
    [x1, y1, x2, y2, candidate.score].iter().all(|value| value.is_finite())
}
