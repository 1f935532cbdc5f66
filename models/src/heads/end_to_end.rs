//! Heads that suppress duplicates themselves: v10, YOLO26 and Ultralytics exports with `nms=True`.

use super::{Candidate, Wanted, named_class, push};
use crate::letterbox::Corners;
use ndarray::ArrayView2;

/// `output` is [D, 6]: x1, y1, x2, y2, score, class. Unused rows are all zero.
pub fn decode(output: &ArrayView2<'_, f32>, classes: usize, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
    for (anchor, row) in (0..).zip(output.rows()) {
        let Some(&[x1, y1, x2, y2, score, class]) = row.to_slice() else { return };
        let Some(class_id) = named_class(class, classes) else { continue };
        if score >= wanted.confidence && wanted.class(class_id) {
            push(candidates, Candidate { corners: Corners { x1, y1, x2, y2 }, score, class_id, anchor });
        }
    }
}
