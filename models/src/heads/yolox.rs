//! YOLOX (Ge et al. 2021): raw boxes on the grids of strides 8, 16 and 32; scores behind a sigmoid already.

use super::{Candidate, Centred, LEVELS, Wanted, best_class, push};
use crate::letterbox::{Corners, Size};
use ndarray::{ArrayView2, s};

/// `output` is [A, 5 + classes]: x, y, log width, log height, objectness, class scores.
pub fn decode(output: &ArrayView2<'_, f32>, model: Size, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
    let mut first = 0;
    for &stride in LEVELS[0] {
        let columns = model.width / stride;
        let last = (first + columns * (model.height / stride)).min(output.nrows());
        for (cell, row) in output.slice(s![first..last, ..]).rows().into_iter().enumerate() {
            let Some(row) = row.to_slice() else { return };
            let [x, y, log_width, log_height, objectness, ref scores @ ..] = *row else { return };
            // A class score is at most 1, so nearly every place ends here.
            if objectness < wanted.confidence || objectness.is_nan() {
                continue;
            }
            let Some((class_id, score)) = best_class(scores.iter().copied()) else { continue };
            let score = score * objectness;
            if score < wanted.confidence || !wanted.class(class_id) {
                continue;
            }
            let corners = Cell::of(cell, columns, stride).corners([x, y, log_width, log_height]);
            push(candidates, Candidate { corners, score, class_id, anchor: (first + cell) as u32 });
        }
        first = last;
    }
}

/// A cell of one of the grids.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    column: f32,
    row: f32,
    /// In pixels of the model's input.
    stride: f32,
}

impl Cell {
    /// That of a place in the output; `None` beyond the last grid.
    pub fn at(place: usize, model: Size) -> Option<Self> {
        let mut first = 0;
        for &stride in LEVELS[0] {
            let columns = model.width / stride;
            let last = first + columns * (model.height / stride);
            if place < last {
                return Some(Self::of(place - first, columns, stride));
            }
            first = last;
        }
        None
    }

    /// That of a number on its own grid, which has at least one column.
    fn of(number: usize, columns: usize, stride: usize) -> Self {
        Self { column: (number % columns) as f32, row: (number / columns) as f32, stride: stride as f32 }
    }

    pub fn corners(&self, [x, y, log_width, log_height]: [f32; 4]) -> Corners {
        let Self { column, row, stride } = *self;
        let (width, height) = (log_width.exp() * stride, log_height.exp() * stride);
        Centred { x: (x + column) * stride, y: (y + row) * stride, width, height }.corners()
    }
}
