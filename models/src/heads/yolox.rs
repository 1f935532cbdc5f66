//! YOLOX (Ge et al. 2021): raw boxes on the grids of strides 8, 16 and 32; scores behind a sigmoid already.

use super::{Candidate, Centred, LEVELS, Wanted, best_class, push};
use crate::letterbox::Size;
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
            let scale = stride as f32;
            let centred = Centred {
                x: (x + (cell % columns) as f32) * scale,
                y: (y + (cell / columns) as f32) * scale,
                width: log_width.exp() * scale,
                height: log_height.exp() * scale,
            };
            push(candidates, Candidate { corners: centred.corners(), score, class_id, anchor: (first + cell) as u32 });
        }
        first = last;
    }
}
