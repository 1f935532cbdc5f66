//! How far two sets of detections say the same.

use framefleet_contract::detection::Detection;
use framefleet_contract::detection_file::Row;
use std::collections::HashMap;

/// When a detection counts as found by the other side.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// Only detections of this score or more are looked for.
    pub sure: f32,
    /// What is found has this score or more.
    pub likely: f32,
    pub iou: f32,
}

/// Of the sure rows of `wanted`, the share that `found` has too: same frame, same class, much the same box.
pub fn share_found(wanted: &[Row], found: &[Row], demand: Demand) -> f64 {
    let mut by_frame: HashMap<i64, Vec<Detection>> = HashMap::new();
    for row in found.iter().filter(|row| row.detection.score >= demand.likely) {
        by_frame.entry(row.frame).or_default().push(row.detection);
    }
    let sure: Vec<&Row> = wanted.iter().filter(|row| row.detection.score >= demand.sure).collect();
    assert!(!sure.is_empty(), "no detection of score {} to compare with", demand.sure);
    let is_found = |row: &&&Row| {
        let others = by_frame.get(&row.frame).map_or(&[][..], Vec::as_slice);
        let fits =
            |other: &Detection| other.class_id == row.detection.class_id && iou(other, &row.detection) >= demand.iou;
        others.iter().any(fits)
    };
    sure.iter().filter(is_found).count() as f64 / sure.len() as f64
}

/// Fails unless at least `share` of the sure rows of each side are found on the other.
pub fn assert_same(a: &[Row], b: &[Row], demand: Demand, share: f64, what: &str) {
    let (there, back) = (share_found(a, b, demand), share_found(b, a, demand));
    assert!(there >= share && back >= share, "{what}: {there:.4} found one way and {back:.4} the other, not {share}");
}

fn iou(a: &Detection, b: &Detection) -> f32 {
    let width = (a.x2.min(b.x2) - a.x1.max(b.x1)).max(0.0);
    let height = (a.y2.min(b.y2) - a.y1.max(b.y1)).max(0.0);
    let area = |d: &Detection| (d.x2 - d.x1) * (d.y2 - d.y1);
    let shared = width * height;
    shared / (area(a) + area(b) - shared)
}

/// The greatest difference between the scores of two runs of [`crate::Detector::Colours`], cell by cell. Fails where one
/// has a cell that the other lacks.
///
/// Where two colours are nearly as strong as each other either may have won, so classes are not compared.
pub fn greatest_difference(a: &[Row], b: &[Row]) -> f32 {
    let (a, b) = (cells(a), cells(b));
    assert_eq!(a.len(), b.len(), "not as many cells");
    let difference = |(cell, score): (&Cell, &f32)| (score - b.get(cell).expect("the same cells")).abs();
    a.iter().map(difference).fold(0.0, f32::max)
}

/// Frame, and corners in hundredths of a pixel.
type Cell = (i64, [i64; 4]);

fn cells(rows: &[Row]) -> HashMap<Cell, f32> {
    let corners = |d: Detection| [d.x1, d.y1, d.x2, d.y2].map(|side| (side * 100.0).round() as i64);
    let cells: HashMap<Cell, f32> =
        rows.iter().map(|row| ((row.frame, corners(row.detection)), row.detection.score)).collect();
    assert_eq!(cells.len(), rows.len(), "a cell has more than one row");
    cells
}
