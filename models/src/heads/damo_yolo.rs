//! DAMO-YOLO (Xu et al. 2022): class scores behind a sigmoid already, and corners in pixels.

use super::{Candidate, Wanted, best_class, highest, push};
use crate::letterbox::Corners;
use ndarray::ArrayView2;

/// `scores` is [A, classes], `boxes` [A, 4].
pub fn decode(
    scores: &ArrayView2<'_, f32>,
    boxes: &ArrayView2<'_, f32>,
    wanted: Wanted<'_>,
    candidates: &mut Vec<Candidate>,
) {
    for (anchor, (scores, row)) in (0..).zip(scores.rows().into_iter().zip(boxes.rows())) {
        let (Some(scores), Some(&[x1, y1, x2, y2])) = (scores.to_slice(), row.to_slice()) else { return };
        if highest(scores) < wanted.confidence {
            continue;
        }
        let Some((class_id, score)) = best_class(scores.iter().copied()) else { continue };
        if score >= wanted.confidence && wanted.class(class_id) {
            push(candidates, Candidate { corners: Corners::from([x1, y1, x2, y2]), score, class_id, anchor });
        }
    }
}
