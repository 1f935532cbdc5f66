//! Heads that list detections whose duplicates are gone, in rows or in columns.

use super::{Candidate, Head, OutputView, Wanted, named_class, push};
use crate::letterbox::Corners;
use crate::manifest::HeadFamily;
use ndarray::ArrayView2;

/// Where in a row is what.
#[derive(Debug, Clone, Copy)]
pub struct Columns {
    /// Which picture of the batch; absent where rows of the first come first and the others are not asked for.
    picture: Option<usize>,
    corners: usize,
    score: usize,
    class: usize,
}

impl Columns {
    pub fn of(family: HeadFamily) -> Self {
        match family {
            HeadFamily::YoloNasFlat => Self { picture: Some(0), corners: 1, score: 5, class: 6 },
            HeadFamily::V7EndToEnd => Self { picture: Some(0), corners: 1, score: 6, class: 5 },
            _ => Self { picture: None, corners: 2, score: 1, class: 0 },
        }
    }
}

/// `output` is `[N, 6 or 7]`.
pub fn rows(
    output: &ArrayView2<'_, f32>,
    columns: Columns,
    classes: usize,
    wanted: Wanted<'_>,
    candidates: &mut Vec<Candidate>,
) {
    for (anchor, row) in (0..).zip(output.rows()) {
        let Some(row) = row.to_slice() else { return };
        let is_first = columns.picture.is_none_or(|column| row.get(column) == Some(&0.0));
        let (Some(&score), Some(&class)) = (row.get(columns.score), row.get(columns.class)) else { return };
        let Some(&[x1, y1, x2, y2]) = row.get(columns.corners..columns.corners + 4) else { return };
        let Some(class_id) = named_class(class, classes) else { continue };
        if is_first && score >= wanted.confidence && wanted.class(class_id) {
            push(candidates, Candidate { corners: Corners { x1, y1, x2, y2 }, score, class_id, anchor });
        }
    }
}

/// Boxes, scores and classes in tensors of their own.
#[derive(Debug, Clone, Copy)]
pub struct Columnwise<'a, 'v> {
    /// How many of the first picture's rows count; all of them where it is absent.
    pub count: Option<&'a OutputView<'v>>,
    pub boxes: &'a OutputView<'v>,
    pub scores: &'a OutputView<'v>,
    pub classes: &'a OutputView<'v>,
}

impl Columnwise<'_, '_> {
    pub fn decode(&self, head: &Head, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
        // A float that is NaN or negative becomes 0.
        let count = self.count.map_or(usize::MAX, |count| count.values.first().map_or(0, |count| *count as usize));
        let boxes = self.boxes.picture();
        let rows = boxes.rows().into_iter().zip(self.scores.list()).zip(self.classes.list()).take(count);
        for (anchor, ((row, &score), &class)) in (0..).zip(rows) {
            let Some(&[a, b, c, d]) = row.to_slice() else { return };
            let Some(class_id) = named_class(class, head.classes) else { continue };
            if score >= wanted.confidence && wanted.class(class_id) {
                let corners = match head.family {
                    HeadFamily::TfDetection => {
                        let (across, down) = (head.model.width as f32, head.model.height as f32);
                        Corners { x1: b * across, y1: a * down, x2: d * across, y2: c * down }
                    }
                    _ => Corners { x1: a, y1: b, x2: c, y2: d },
                };
                push(candidates, Candidate { corners, score, class_id, anchor });
            }
        }
    }
}
