//! What a new version finds that the old one didn't, and the other way round.

use crate::{Detector, ModelError, Thresholds, recorded_frames::OwnedPicture, serving::Serving};
use framefleet_contract::{detection::Detection, identity::Sha256};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// Boxes below it are too uncertain to count as lost or gained.
const LEAST_SCORE: f32 = 0.25;
/// The best of a frame. Each is compared with each.
const MOST_BOXES: usize = 1000;
/// Boxes of one class that overlap at least so much (IoU) mean the same object.
const SAME_OBJECT: f32 = 0.5;
/// And from here on they are in the same place.
const SAME_PLACE: f32 = 0.9;

/// How the boxes of a version differ from those of the one before it, on the same frames.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    pub old: Sha256,
    pub new: Sha256,
    /// 0 where no frames were recorded yet.
    pub frames: u64,
    /// Boxes of the old version that the new one has too, in the same place.
    pub same: u64,
    /// The same, in another place: IoU at least 0.5 and less than 0.9.
    pub moved: u64,
    /// Boxes of the old version only.
    pub lost: u64,
    /// Boxes of the new version only.
    pub gained: u64,
    /// How much higher the new version scores the boxes that both have, on average; `None` where there are none.
    pub score_change: Option<f64>,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, same, moved, lost, gained, .. } = self;
        if *frames == 0 {
            return f.write_str("no frames yet to compare on");
        }
        let boxes = same + moved + lost;
        write!(f, "of {boxes} boxes on {frames} frames {same} are the same, {moved} moved, {lost} were lost")?;
        write!(f, " and {gained} gained")?;
        self.score_change.map_or(Ok(()), |change| write!(f, "; scores changed by {change:+.3} on average"))
    }
}

/// Runs both over the same pictures, with sessions that nobody else waits for.
pub(crate) fn compare(
    old: &Arc<Serving>,
    new: &Serving,
    pictures: &[Arc<OwnedPicture>],
) -> Result<Comparison, ModelError> {
    let mut difference = Difference::default();
    if !pictures.is_empty() {
        let mut sessions = (old.lease()?, new.detector()?);
        for picture in pictures {
            let old_boxes = boxes(&mut sessions.0, old, picture)?;
            let new_boxes = boxes(&mut sessions.1, new, picture)?;
            difference.add(&old_boxes, &new_boxes);
        }
    }
    let sha256 = |serving: &Serving| serving.checked().model.sha256.clone();
    Ok(difference.between(sha256(old), sha256(new)))
}

/// A box with the name of its class: numbers mean something else in another model.
#[derive(Debug, Clone, PartialEq)]
struct Named {
    class: String,
    detection: Detection,
}

fn boxes(detector: &mut Detector, serving: &Serving, picture: &OwnedPicture) -> Result<Vec<Named>, ModelError> {
    let manifest = &serving.checked().model.manifest;
    let usual = Thresholds::from(&manifest.defaults);
    let max_detections = usual.max_detections.min(MOST_BOXES);
    let thresholds = Thresholds { confidence: LEAST_SCORE, max_detections, ..usual };
    let name = |class_id: i32| {
        let known = usize::try_from(class_id).ok().and_then(|class_id| manifest.classes.get(class_id));
        known.cloned().unwrap_or_else(|| class_id.to_string())
    };
    let detections = detector.detect(&picture.picture(), &thresholds)?.iter();
    Ok(detections.map(|&detection| Named { class: name(detection.class_id), detection }).collect())
}

#[derive(Debug, Default)]
struct Difference {
    frames: u64,
    same: u64,
    moved: u64,
    lost: u64,
    gained: u64,
    score_change: f64,
}

impl Difference {
    /// Counts a frame: of all pairs of one class the one that overlaps most is taken first.
    fn add(&mut self, old: &[Named], new: &[Named]) {
        let mut pairs = Vec::new();
        for (i, a) in old.iter().enumerate() {
            let alike = new.iter().enumerate().filter(|(_, b)| a.class == b.class);
            let overlaps = alike.map(|(j, b)| (iou(&a.detection, &b.detection), i, j));
            pairs.extend(overlaps.filter(|(iou, _, _)| *iou >= SAME_OBJECT));
        }
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut old_left, mut new_left) = (vec![true; old.len()], vec![true; new.len()]);
        for (iou, i, j) in pairs {
            if old_left[i] && new_left[j] {
                (old_left[i], new_left[j]) = (false, false);
                *(if iou >= SAME_PLACE { &mut self.same } else { &mut self.moved }) += 1;
                self.score_change += f64::from(new[j].detection.score) - f64::from(old[i].detection.score);
            }
        }
        let count = |left: Vec<bool>| left.into_iter().filter(|left| *left).count() as u64;
        self.lost += count(old_left);
        self.gained += count(new_left);
        self.frames += 1;
    }

    fn between(self, old: Sha256, new: Sha256) -> Comparison {
        let Self { frames, same, moved, lost, gained, score_change } = self;
        let both = same + moved;
        let score_change = (both > 0).then(|| score_change / both as f64);
        Comparison { old, new, frames, same, moved, lost, gained, score_change }
    }
}

fn iou(a: &Detection, b: &Detection) -> f32 {
    let width = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let height = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let area = |d: &Detection| (d.x2 - d.x1) * (d.y2 - d.y1);
    let union = area(a) + area(b) - width * height;
    if union > 0.0 { width * height / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Runtime,
        fixtures::{self, Grey},
    };

    fn named(class: &str, score: f32, [x1, y1, x2, y2]: [f32; 4]) -> Named {
        Named { class: class.to_owned(), detection: Detection { class_id: 0, score, x1, y1, x2, y2 } }
    }

    #[test]
    fn boxes_are_the_same_moved_lost_or_gained() {
        let old = [
            named("car", 0.5, [0.0, 0.0, 10.0, 10.0]),
            named("car", 0.5, [20.0, 0.0, 30.0, 10.0]),
            named("car", 0.5, [40.0, 0.0, 50.0, 10.0]),
            named("dog", 0.5, [60.0, 0.0, 70.0, 10.0]),
        ];
        let new = [
            named("car", 0.7, [0.0, 0.0, 10.0, 9.5]),
            named("car", 0.6, [22.0, 0.0, 32.0, 10.0]),
            named("car", 0.6, [46.0, 0.0, 56.0, 10.0]),
            named("cat", 0.6, [60.0, 0.0, 70.0, 10.0]),
        ];
        let mut difference = Difference::default();
        difference.add(&old, &new);
        let sha256 = Sha256::of(b"");
        let comparison = difference.between(sha256.clone(), sha256);
        let Comparison { same, moved, lost, gained, .. } = comparison;
        assert_eq!((same, moved, lost, gained), (1, 1, 2, 2));
        assert!((comparison.score_change.unwrap() - 0.15).abs() < 1e-6);
        let text = "of 4 boxes on 1 frames 1 are the same, 1 moved, 2 were lost and 2 gained; scores changed by +0.150 on average";
        assert_eq!(comparison.to_string(), text);
    }

    #[test]
    fn the_pair_that_overlaps_most_is_taken_first() {
        let old = [named("car", 0.5, [0.0, 0.0, 10.0, 10.0]), named("car", 0.5, [0.0, 0.0, 10.0, 8.0])];
        let mut difference = Difference::default();
        difference.add(&old, &[named("car", 0.5, [0.0, 0.0, 10.0, 8.0])]);
        assert_eq!((difference.same, difference.moved, difference.lost), (1, 0, 1));
    }

    #[test]
    fn a_model_differs_from_another_and_not_from_itself() {
        let runtime = Runtime::load().expect("./dev setup installs ONNX Runtime");
        let serving = |name: &str| Arc::new(Serving::new(&runtime, fixtures::checked(name), None));
        let (v8, v5) = (serving("v8.onnx"), serving("v5.onnx"));
        let pictures = [Arc::new(Grey { width: 128, height: 64, luma: 128 }.owned())];
        let itself = compare(&v8, &v8, &pictures).unwrap();
        assert!(itself.same > 0 && itself.moved + itself.lost + itself.gained == 0, "{itself}");
        assert_eq!(itself.score_change, Some(0.0));
        let another = compare(&v8, &v5, &pictures).unwrap();
        assert!(another.lost + another.gained + another.moved > 0, "{another}");
        let nothing = compare(&v8, &v5, &[]).unwrap();
        assert_eq!((nothing.frames, nothing.to_string().as_str()), (0, "no frames yet to compare on"));
    }
}
