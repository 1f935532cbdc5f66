//! DETR (Carion et al. 2020) and its kin: a fixed number of queries, boxes as shares of the input, no suppression.

use super::{Candidate, Centred, Head, Wanted, best_class, highest, named_class, push};
use crate::letterbox::Size;
use crate::manifest::HeadFamily;
use ndarray::ArrayView2;

/// `output` is [D, 6]: box, score, class; or [D, 4 + classes]: box, class scores.
pub fn rows(output: &ArrayView2<'_, f32>, head: &Head, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
    for (anchor, row) in (0..).zip(output.rows()) {
        let Some(&[x, y, width, height, ref scores @ ..]) = row.to_slice() else { return };
        let best = match (head.family, scores) {
            (HeadFamily::RtDetrListed, &[score, class]) => {
                named_class(class, head.classes).map(|class_id| (class_id, score))
            }
            (HeadFamily::RtDetrListed, _) => return,
            (_, scores) => best_class(scores.iter().copied()),
        };
        let Some((class_id, score)) = best else { continue };
        if score >= wanted.confidence && wanted.class(class_id) {
            let corners = Centred::of_shares([x, y, width, height], head.model).corners();
            push(candidates, Candidate { corners, score, class_id, anchor });
        }
    }
}

/// `boxes` is [D, 4], `logits` [D, classes]. Every class of a query that is sure enough is a detection of its own, as
/// Hugging Face and RF-DETR choose the best of all pairs.
pub fn sigmoid(
    boxes: &ArrayView2<'_, f32>,
    logits: &ArrayView2<'_, f32>,
    model: Size,
    wanted: Wanted<'_>,
    candidates: &mut Vec<Candidate>,
) {
    let least = logit(wanted.confidence);
    let classes = logits.ncols();
    for (query, (row, logits)) in boxes.rows().into_iter().zip(logits.rows()).enumerate() {
        let (Some(&[x, y, width, height]), Some(logits)) = (row.to_slice(), logits.to_slice()) else { return };
        if highest(logits) < least {
            continue;
        }
        let corners = Centred::of_shares([x, y, width, height], model).corners();
        for (class, logit) in logits.iter().enumerate().filter(|(_, logit)| **logit >= least) {
            let score = 1.0 / (1.0 + (-logit).exp());
            if score >= wanted.confidence && wanted.class(class as i32) {
                let anchor = (query * classes + class) as u32;
                push(candidates, Candidate { corners, score, class_id: class as i32, anchor });
            }
        }
    }
}

/// A little below the logit of a score, so that rounding loses nothing that the score itself would keep.
fn logit(score: f32) -> f32 {
    (score / (1.0 - score)).ln() - 1e-3
}

/// `boxes` is [D, 4], `logits` [D, classes + 1], of which the last is "nothing".
pub fn softmax(
    boxes: &ArrayView2<'_, f32>,
    logits: &ArrayView2<'_, f32>,
    model: Size,
    wanted: Wanted<'_>,
    candidates: &mut Vec<Candidate>,
) {
    for (anchor, (row, logits)) in (0..).zip(boxes.rows().into_iter().zip(logits.rows())) {
        let (Some(&[x, y, width, height]), Some(logits)) = (row.to_slice(), logits.to_slice()) else { return };
        let Some((_, named)) = logits.split_last() else { return };
        let Some((class_id, best)) = best_class(named.iter().copied()) else { continue };
        let most = highest(logits);
        let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
        let score = (best - most).exp() / sum;
        if score >= wanted.confidence && wanted.class(class_id) {
            let corners = Centred::of_shares([x, y, width, height], model).corners();
            push(candidates, Candidate { corners, score, class_id, anchor });
        }
    }
}
