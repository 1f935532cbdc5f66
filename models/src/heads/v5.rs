//! v5, v6, v7 and YOLOX decoded in the graph: boxes by centre and size in pixels, objectness, class scores; everything
//! behind a sigmoid already.

use super::{Candidate, Centred, Wanted, best_class, highest, push};
use ndarray::ArrayView2;

/// `output` is [A, 5 + classes]: x, y, width, height, objectness, class scores.
pub fn decode(output: &ArrayView2<'_, f32>, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
    for (anchor, row) in (0..).zip(output.rows()) {
        let Some(row) = row.to_slice() else { return };
        let [x, y, width, height, objectness, ref scores @ ..] = *row else { return };
        // A class score is at most 1, so nearly every place ends here.
        if objectness < wanted.confidence || objectness.is_nan() {
            continue;
        }
        if highest(scores) * objectness < wanted.confidence {
            continue;
        }
        let Some((class_id, score)) = best_class(scores.iter().copied()) else { continue };
        let score = score * objectness;
        if score >= wanted.confidence && wanted.class(class_id) {
            let corners = Centred::from([x, y, width, height]).corners();
            push(candidates, Candidate { corners, score, class_id, anchor });
        }
    }
}
