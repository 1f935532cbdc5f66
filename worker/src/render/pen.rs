//! How a track looks: its colour, its box with a name, its trail.

use framefleet_contract::detection::Detection;
use opencv::core::{self, Mat, MatTraitConst, Point, Rect, Scalar, Size};
use opencv::imgproc;
use opencv::prelude::*;

const FONT: i32 = imgproc::FONT_HERSHEY_DUPLEX;

/// Line widths and letters that fit the picture.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    /// Pixels.
    line: i32,
    /// Of OpenCV's font, whose capitals are 21 pixels high at 1.
    letters: f64,
}

impl Pen {
    /// For pictures of this many rows.
    pub fn for_height(rows: u32) -> Self {
        let scale = (f64::from(rows) / 720.0).clamp(0.25, 4.0);
        Self { line: (3.0 * scale).round().max(2.0) as i32, letters: (0.7 * scale).max(0.4) }
    }

    /// A box with the label on a ground of its own colour: above it, or inside where there is no room above.
    pub fn boxed(&self, picture: &mut Mat, track_id: i64, detection: &Detection, label: &str) -> opencv::Result<()> {
        let colour = colour_of(track_id);
        let top_left = Point::new(detection.x1.round() as i32, detection.y1.round() as i32);
        let bottom_right = Point::new(detection.x2.round() as i32, detection.y2.round() as i32);
        let outline = Rect::from_points(top_left, bottom_right);
        imgproc::rectangle(picture, outline, colour, self.line, imgproc::LINE_AA, 0)?;

        let mut baseline = 0;
        let text = imgproc::get_text_size(label, FONT, self.letters, 1, &mut baseline)?;
        let margin = self.line + 1;
        let ground = Size::new(text.width + 2 * margin, text.height + baseline + margin);
        let left = top_left.x.min(picture.cols() - ground.width).max(0);
        let top = if top_left.y >= ground.height { top_left.y - ground.height } else { top_left.y };
        let ground = Rect::new(left, top, ground.width, ground.height);
        imgproc::rectangle(picture, ground, colour, imgproc::FILLED, imgproc::LINE_8, 0)?;
        let origin = Point::new(left + margin, top + margin / 2 + text.height + baseline / 2);
        imgproc::put_text(picture, label, origin, FONT, self.letters, ink_on(colour), 1, imgproc::LINE_AA, false)
    }

    /// One stretch of a trail, from fully there at a `strength` of 1 to gone at 0.
    pub fn trail(&self, picture: &mut Mat, track_id: i64, ends: [[f32; 2]; 2], strength: f64) -> opencv::Result<()> {
        let [from, to] = ends.map(|[x, y]| Point::new(x.round() as i32, y.round() as i32));
        let reach = self.line + 2;
        let corner = Point::new(from.x.min(to.x) - reach, from.y.min(to.y) - reach);
        let size = Size::new((from.x - to.x).abs() + 2 * reach, (from.y - to.y).abs() + 2 * reach);
        let patch = Rect::from_point_size(corner, size) & Rect::new(0, 0, picture.cols(), picture.rows());
        if patch.empty() {
            return Ok(());
        }
        let offset = Point::new(patch.x, patch.y);
        let before = picture.roi(patch)?.try_clone()?;
        let mut after = before.try_clone()?;
        imgproc::line(&mut after, from - offset, to - offset, colour_of(track_id), self.line, imgproc::LINE_AA, 0)?;
        let mut mixed = Mat::default();
        core::add_weighted(&after, strength, &before, 1.0 - strength, 0.0, &mut mixed, -1)?;
        mixed.copy_to(&mut picture.roi_mut(patch)?)
    }
}

/// A colour for each track, far from those of the tracks next to it: hues a golden ratio apart.
fn colour_of(track_id: i64) -> Scalar {
    const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;
    let sixths = (track_id as f64 * GOLDEN_RATIO).rem_euclid(1.0) * 6.0;
    let channel = |shift: f64| {
        let hue = (sixths + shift).rem_euclid(6.0);
        let pure = ((hue - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        255.0 * (0.2 + 0.8 * pure)
    };
    let (red, green, blue) = (channel(0.0), channel(4.0), channel(2.0));
    Scalar::new(blue, green, red, 0.0)
}

/// Black on light colours and white on dark ones, by their BT.601 luma.
fn ink_on(colour: Scalar) -> Scalar {
    let luma = 0.114 * colour[0] + 0.587 * colour[1] + 0.299 * colour[2];
    if luma > 120.0 { Scalar::all(0.0) } else { Scalar::all(255.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grey(rows: i32, columns: i32) -> Mat {
        Mat::new_rows_cols_with_default(rows, columns, core::CV_8UC3, Scalar::all(100.0)).unwrap()
    }

    fn pixel(picture: &Mat, x: i32, y: i32) -> [u8; 3] {
        picture.at_2d::<core::Vec3b>(y, x).unwrap().0
    }

    #[test]
    fn a_box_is_drawn_along_its_edges_and_not_inside() {
        let mut picture = grey(200, 300);
        let detection = Detection { class_id: 0, score: 0.9, x1: 50.0, y1: 80.0, x2: 120.0, y2: 150.0 };
        Pen::for_height(200).boxed(&mut picture, 1, &detection, "car 1").unwrap();
        assert_ne!(pixel(&picture, 50, 120), [100; 3]);
        assert_ne!(pixel(&picture, 80, 80), [100; 3]);
        assert_eq!(pixel(&picture, 85, 120), [100; 3]);
        assert_ne!(pixel(&picture, 53, 75), [100; 3], "the label's ground is above the box");
    }

    #[test]
    fn boxes_and_trails_beyond_the_edges_are_no_error() {
        let mut picture = grey(10, 10);
        let pen = Pen::for_height(10);
        let detection = Detection { class_id: 0, score: 0.9, x1: 0.0, y1: 0.0, x2: 10.0, y2: 10.0 };
        pen.boxed(&mut picture, 7, &detection, "a long name of a class 7").unwrap();
        pen.trail(&mut picture, 7, [[-50.0, -50.0], [-20.0, -20.0]], 1.0).unwrap();
        pen.trail(&mut picture, 7, [[-50.0, -50.0], [50.0, 50.0]], 1.0).unwrap();
    }

    #[test]
    fn an_old_trail_is_fainter_than_a_new_one() {
        let distance = |strength: f64| {
            let mut picture = grey(50, 50);
            Pen::for_height(720).trail(&mut picture, 3, [[10.0, 25.0], [40.0, 25.0]], strength).unwrap();
            pixel(&picture, 25, 25).iter().map(|c| i32::from(*c).abs_diff(100)).sum::<u32>()
        };
        assert!(distance(1.0) > distance(0.5) && distance(0.5) > distance(0.1));
        assert_eq!(distance(0.0), 0);
    }

    #[test]
    fn neighbouring_tracks_have_colours_far_apart() {
        for id in 1..50 {
            let (a, b) = (colour_of(id), colour_of(id + 1));
            let distance: f64 = (0..3).map(|i| (a[i] - b[i]).abs()).sum();
            assert!(distance > 150.0, "tracks {id} and {}: {distance}", id + 1);
        }
    }
}
