//! Ultralytics v8 and its kin: channels before places, no objectness; scores behind a sigmoid already.

use super::{Candidate, Centred, Wanted, best_class, push};
use ndarray::{ArrayView2, s};

/// Places looked at together: their best scores stay in the first-level cache while the classes pass by.
const BLOCK: usize = 512;

/// `output` is [4 + classes, A]: x, y, width, height, class scores.
///
/// The scores are read once, class by class as they lie in memory, for the best score of each place only. Which class
/// it was is looked up for the few places that pass.
pub fn decode(output: &ArrayView2<'_, f32>, wanted: Wanted<'_>, candidates: &mut Vec<Candidate>) {
    if output.nrows() < 5 {
        return;
    }
    let scores = output.slice(s![4.., ..]);
    for start in (0..output.ncols()).step_by(BLOCK) {
        let end = (start + BLOCK).min(output.ncols());
        let mut best = [f32::NEG_INFINITY; BLOCK];
        for class in scores.rows() {
            let Some(class) = class.to_slice() else { return };
            for (best, score) in best.iter_mut().zip(&class[start..end]) {
                *best = if *score > *best { *score } else { *best };
            }
        }
        for (anchor, _) in (start..end).zip(best).filter(|(_, best)| *best >= wanted.confidence) {
            let Some((class_id, score)) = best_class(scores.column(anchor).iter().copied()) else { continue };
            if !wanted.class(class_id) {
                continue;
            }
            let corners = Centred::from([0, 1, 2, 3].map(|channel| output[(channel, anchor)])).corners();
            push(candidates, Candidate { corners, score, class_id, anchor: anchor as u32 });
        }
    }
}
