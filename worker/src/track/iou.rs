//! Boxes in pixels and how much two of them overlap.

use super::TrackerInput;

/// Corners in pixels of the displayed picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelBox {
    pub x1: f64,
    pub y1: f64,
    pub x2: f64,
    pub y2: f64,
}

impl PixelBox {
    /// Far outside of any picture; squares of such numbers are still exact enough to filter.
    const FARTHEST: f64 = 1e9;
    /// Far below what a detector can resolve; the inverse of its square is still harmless.
    const SHORTEST_SIDE: f64 = 1e-6;

    /// The box of a detection, if it is one that an object in a picture can have.
    pub fn of_detection(detection: &TrackerInput) -> Option<Self> {
        let TrackerInput { x1, y1, x2, y2, .. } = *detection;
        let inside = [x1, y1, x2, y2].iter().all(|corner| corner.abs() <= Self::FARTHEST);
        let has_area = x2 - x1 >= Self::SHORTEST_SIDE && y2 - y1 >= Self::SHORTEST_SIDE;
        (inside && has_area).then_some(Self { x1, y1, x2, y2 })
    }

    /// Intersection over union, from 0 to 1.
    ///
    /// Corners are taken as pixels that belong to the box, so a side is one longer than the difference of its
    /// corners. The authors' program measures overlap in this way, and boxes of a few pixels depend on it.
    pub fn iou(&self, other: &Self) -> f64 {
        let width = self.x2.min(other.x2) - self.x1.max(other.x1) + 1.0;
        let height = self.y2.min(other.y2) - self.y1.max(other.y1) + 1.0;
        if width <= 0.0 || height <= 0.0 {
            return 0.0;
        }
        let intersection = width * height;
        intersection / (self.inclusive_area() + other.inclusive_area() - intersection)
    }

    fn inclusive_area(&self) -> f64 {
        (self.x2 - self.x1 + 1.0) * (self.y2 - self.y1 + 1.0)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "fractions of whole numbers of pixels, rounded once")]
mod tests {
    use super::*;

    fn corners(x1: f64, y1: f64, x2: f64, y2: f64) -> PixelBox {
        PixelBox { x1, y1, x2, y2 }
    }

    #[test]
    fn overlap_counts_the_pixels_at_both_corners() {
        // 10 × 10 pixels each, 5 × 10 of them shared.
        let left = corners(0.0, 0.0, 9.0, 9.0);
        let right = corners(5.0, 0.0, 14.0, 9.0);
        assert_eq!(left.iou(&right), 50.0 / 150.0);
        assert_eq!(left.iou(&left), 1.0);
    }

    #[test]
    fn boxes_that_share_only_an_edge_pixel_overlap_and_those_a_pixel_apart_do_not() {
        let left = corners(0.0, 0.0, 9.0, 9.0);
        assert_eq!(left.iou(&corners(9.0, 0.0, 18.0, 9.0)), 10.0 / 190.0);
        assert_eq!(left.iou(&corners(10.0, 0.0, 19.0, 9.0)), 0.0);
        assert_eq!(left.iou(&corners(0.0, 10.0, 9.0, 19.0)), 0.0);
    }

    #[test]
    fn boxes_that_no_object_can_have_are_refused() {
        let good = TrackerInput { x1: 1.0, y1: 2.0, x2: 3.0, y2: 4.0, score: 0.9 };
        assert_eq!(PixelBox::of_detection(&good), Some(corners(1.0, 2.0, 3.0, 4.0)));
        for bad in [
            TrackerInput { x1: f64::NAN, ..good },
            TrackerInput { y2: f64::INFINITY, ..good },
            TrackerInput { x1: -f64::MAX, ..good },
            TrackerInput { x2: 1.0, ..good },
            TrackerInput { y2: 1.0, ..good },
        ] {
            assert_eq!(PixelBox::of_detection(&bad), None, "{bad:?}");
        }
    }
}
