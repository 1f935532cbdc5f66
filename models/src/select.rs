//! From candidates to the detections of a picture, the same whatever found the candidates.

use crate::{
    Thresholds,
    heads::{Candidate, Head},
    letterbox::{Corners, Letterbox},
    manifest::Manifest,
    nms::{self, Scope, Suppression},
};
use framefleet_contract::detection::Detection;

/// Where candidates come from.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    pub head: &'a Head,
    pub manifest: &'a Manifest,
    pub letterbox: &'a Letterbox,
}

impl Found<'_> {
    /// Puts the best candidates into `detections`, in pixels of the picture as displayed; equal scores are in a fixed
    /// order.
    pub fn select(&self, thresholds: &Thresholds, candidates: &mut Vec<Candidate>, detections: &mut Vec<Detection>) {
        let Self { head, manifest, letterbox } = self;
        // What cannot be seen must neither suppress a box nor take a place among the best.
        candidates.retain(|candidate| letterbox.source_from_model(candidate.corners).is_some());
        let max_detections = thresholds.max_detections;
        if head.needs_suppression() {
            let scope = if manifest.defaults.class_agnostic { Scope::AllClasses } else { Scope::OneClass };
            nms::suppress(candidates, Suppression { iou: thresholds.iou, max_detections, scope });
        } else {
            nms::sort(candidates);
            candidates.truncate(max_detections);
        }
        detections.clear();
        detections.extend(candidates.iter().filter_map(|candidate| {
            let Corners { x1, y1, x2, y2 } = letterbox.source_from_model(candidate.corners)?;
            Some(Detection { class_id: candidate.class_id, score: candidate.score, x1, y1, x2, y2 })
        }));
    }
}
