//! NanoDet: class scores behind a sigmoid already, and for each side of a box a distribution over distances, the mean
//! of which counts (Li et al. 2020, "Generalized Focal Loss").

use super::{Candidate, LEVELS, OutputView, Wanted, best_class, highest, push};
use crate::letterbox::{Corners, Size};
use ndarray::{ArrayView2, s};

/// Distances from 0 to 7 strides.
const BINS: usize = 8;

/// A feature map's cells, and where in them the places are.
#[derive(Debug, Clone, Copy)]
struct Level {
    stride: usize,
    columns: usize,
    /// Added to a cell's number: 0 for NanoDet-Plus, half a cell for NanoDet-m.
    centre: f32,
    /// The first place's number.
    first: usize,
}

/// NanoDet-Plus: `output` is [A, classes + 32] for strides of 8 to 64.
pub fn plus(
    output: &ArrayView2<'_, f32>,
    classes: usize,
    model: Size,
    wanted: Wanted<'_>,
    candidates: &mut Vec<Candidate>,
) {
    let mut first = 0;
    for &stride in LEVELS[2] {
        let columns = model.width.div_ceil(stride);
        let last = (first + columns * model.height.div_ceil(stride)).min(output.nrows());
        if classes > output.ncols() {
            return;
        }
        let rows = output.slice(s![first..last, ..]);
        let level = Level { stride, columns, centre: 0.0, first };
        level.decode(&rows.slice(s![.., ..classes]), &rows.slice(s![.., classes..]), wanted, candidates);
        first = last;
    }
}

/// NanoDet-m: class scores [cells, classes] for each stride, then distributions [cells, 32] for each.
pub fn levels(outputs: &[OutputView<'_>], model: Size, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
    let (scores, distances) = outputs.split_at(outputs.len() / 2);
    let mut first = 0;
    for ((scores, distances), &stride) in scores.iter().zip(distances).zip(LEVELS[2]) {
        let level = Level { stride, columns: model.width.div_ceil(stride), centre: 0.5, first };
        level.decode(&scores.picture(), &distances.picture(), wanted, candidates);
        first += level.columns * model.height.div_ceil(stride);
    }
}

impl Level {
    fn decode(
        &self,
        scores: &ArrayView2<'_, f32>,
        distances: &ArrayView2<'_, f32>,
        wanted: Wanted<'_>,
        candidates: &mut Vec<Candidate>,
    ) {
        for (cell, (scores, distances)) in scores.rows().into_iter().zip(distances.rows()).enumerate() {
            let (Some(scores), Some(distances)) = (scores.to_slice(), distances.to_slice()) else { return };
            if highest(scores) < wanted.confidence || self.columns == 0 {
                continue;
            }
            let Some((class_id, score)) = best_class(scores.iter().copied()) else { continue };
            let (&[left, top, right, bottom], []) = distances.as_chunks::<BINS>() else { return };
            if score < wanted.confidence || !wanted.class(class_id) {
                continue;
            }
            let stride = self.stride as f32;
            let [x, y] = [cell % self.columns, cell / self.columns].map(|index| (index as f32 + self.centre) * stride);
            let corners = Corners {
                x1: x - mean(&left) * stride,
                y1: y - mean(&top) * stride,
                x2: x + mean(&right) * stride,
                y2: y + mean(&bottom) * stride,
            };
            push(candidates, Candidate { corners, score, class_id, anchor: (self.first + cell) as u32 });
        }
    }
}

/// The mean distance in strides, of a distribution given by logits.
fn mean(logits: &[f32; BINS]) -> f32 {
    let most = highest(logits);
    let weights = logits.map(|logit| (logit - most).exp());
    let sum: f32 = weights.iter().sum();
    weights.iter().zip(0_u8..).map(|(weight, distance)| weight * f32::from(distance)).sum::<f32>() / sum
}
