//! Non-maximum suppression: of boxes of one class that overlap, the one with the highest score stays.

use crate::{heads::Candidate, letterbox::Corners};

/// What suppression needs to know.
#[derive(Debug, Clone, Copy)]
pub struct Suppression {
    /// A box goes when its IoU with a better one in its scope is greater than this.
    pub iou: f32,
    /// At most this many boxes stay, the best ones.
    pub max_detections: usize,
    pub scope: Scope,
}

/// Which boxes a better one can suppress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those of its own class.
    OneClass,
    AllClasses,
}

/// Sorts candidates by falling score and keeps those that no better one of the same class covers.
///
/// Greedy, as in Faster R-CNN (Ren et al. 2015, section 3.3). The order is total: equal scores are ordered by class
/// and then by place in the output, so that the same tensor always gives the same list. In place, without allocating.
pub fn suppress(candidates: &mut Vec<Candidate>, suppression: Suppression) {
    sort(candidates);
    let mut kept = 0;
    for index in 0..candidates.len() {
        if kept == suppression.max_detections {
            break;
        }
        let candidate = candidates[index];
        let covered = |better: &Candidate| {
            (suppression.scope == Scope::AllClasses || better.class_id == candidate.class_id)
                && iou(&better.corners, &candidate.corners) > suppression.iou
        };
        if !candidates[..kept].iter().any(covered) {
            candidates[kept] = candidate;
            kept += 1;
        }
    }
    candidates.truncate(kept);
}

/// By falling score, then class, then place in the output.
pub fn sort(candidates: &mut [Candidate]) {
    candidates.sort_unstable_by(|left, right| {
        right
            .score
            .total_cmp(&left.score)
            .then_with(|| left.class_id.cmp(&right.class_id))
            .then_with(|| left.anchor.cmp(&right.anchor))
    });
}

/// Intersection over union; 0 where there is no area.
pub fn iou(left: &Corners, right: &Corners) -> f32 {
    let width = left.x2.min(right.x2) - left.x1.max(right.x1);
    let height = left.y2.min(right.y2) - left.y1.max(right.y1);
    if !(width > 0.0 && height > 0.0) {
        return 0.0;
    }
    let intersection = width * height;
    intersection / (area(left) + area(right) - intersection)
}

fn area(corners: &Corners) -> f32 {
    (corners.x2 - corners.x1) * (corners.y2 - corners.y1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(x1: f32, score: f32, class_id: i32, anchor: u32) -> Candidate {
        Candidate { corners: Corners { x1, y1: 0.0, x2: x1 + 10.0, y2: 10.0 }, score, class_id, anchor }
    }

    fn anchors(mut candidates: Vec<Candidate>, max_detections: usize) -> Vec<u32> {
        suppress(&mut candidates, Suppression { iou: 0.5, max_detections, scope: Scope::OneClass });
        candidates.iter().map(|candidate| candidate.anchor).collect()
    }

    #[test]
    fn the_best_of_overlapping_boxes_of_one_class_stays() {
        // Shifts of 2 and 4 of 10: IoU 8/12 and 6/14.
        let candidates = vec![candidate(2.0, 0.8, 0, 0), candidate(0.0, 0.9, 0, 1), candidate(4.0, 0.7, 0, 2)];
        assert_eq!(anchors(candidates, 300), [1, 2]);
    }

    #[test]
    fn a_suppressed_box_suppresses_nothing() {
        // The third overlaps the second by 6/14 only with the first gone; the second is gone because of the first.
        let candidates = vec![candidate(0.0, 0.9, 0, 0), candidate(3.0, 0.8, 0, 1), candidate(6.0, 0.7, 0, 2)];
        assert_eq!(anchors(candidates, 300), [0, 2]);
    }

    #[test]
    fn boxes_of_other_classes_do_not_suppress() {
        assert_eq!(anchors(vec![candidate(0.0, 0.9, 0, 0), candidate(0.0, 0.8, 1, 1)], 300), [0, 1]);
    }

    #[test]
    fn boxes_of_all_classes_suppress_where_that_is_wanted() {
        let mut candidates = vec![candidate(0.0, 0.9, 0, 0), candidate(0.0, 0.8, 1, 1), candidate(40.0, 0.7, 1, 2)];
        suppress(&mut candidates, Suppression { iou: 0.5, max_detections: 300, scope: Scope::AllClasses });
        assert_eq!(candidates.iter().map(|candidate| candidate.anchor).collect::<Vec<_>>(), [0, 2]);
    }

    #[test]
    fn equal_scores_are_ordered_by_class_and_then_by_place() {
        let candidates = vec![candidate(0.0, 0.5, 1, 0), candidate(40.0, 0.5, 0, 2), candidate(80.0, 0.5, 0, 1)];
        assert_eq!(anchors(candidates, 300), [1, 2, 0]);
    }

    #[test]
    fn only_the_best_stay_when_there_are_too_many() {
        let candidates = (0..10_u8).map(|n| candidate(f32::from(n) * 20.0, f32::from(n) / 10.0, 0, n.into())).collect();
        assert_eq!(anchors(candidates, 3), [9, 8, 7]);
    }
}
