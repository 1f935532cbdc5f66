//! Where a picture lies in a model's input, and the way back from there.

use crate::manifest::{Manifest, Placement, Rounding};
use framefleet_native::picture::Display;

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

/// A box by its corners; whose pixels they are is said where it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Corners {
    pub x1: f32,
    pub y1: f32,
    pub x2: f32,
    pub y2: f32,
}

/// The displayed picture scaled with its aspect kept and laid into the model's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Letterbox {
    /// The model's input.
    pub model: Size,
    /// The scaled picture inside it.
    pub content: Size,
    /// Padding left of the content.
    pub left: usize,
    /// Padding above the content.
    pub top: usize,
    /// Model pixels in one pixel of the displayed picture.
    ratio: f64,
    display: Display,
}

impl Letterbox {
    /// Lays a picture into a model's input the way the model's own exporter does.
    ///
    /// A dimension that the model leaves open becomes the smallest multiple of the stride that holds the picture with
    /// its long side at `image_size`: 1920×1080 is looked at as 640×384, not 640×640.
    pub fn new(manifest: &Manifest, display: Display) -> Self {
        let (width, height) = (f64::from(display.width.max(1)), f64::from(display.height.max(1)));
        let limit = |fixed: Option<u32>| fixed.unwrap_or(manifest.image_size).max(1);
        let (limit_width, limit_height) = (limit(manifest.input.width), limit(manifest.input.height));
        let ratio = (f64::from(limit_height) / height).min(f64::from(limit_width) / width);
        let whole = |side: f64, most: u32| {
            let scaled = match manifest.preprocessing.rounding {
                Rounding::Truncate => (side * ratio).trunc(),
                Rounding::Nearest => (side * ratio).round_ties_even(),
            };
            (scaled as usize).clamp(1, most as usize)
        };
        let content = Size { width: whole(width, limit_width), height: whole(height, limit_height) };
        let full = |fixed: Option<u32>, content: usize| {
            fixed.map_or_else(|| content.next_multiple_of(manifest.stride.max(1) as usize), |fixed| fixed as usize)
        };
        let model = Size {
            width: full(manifest.input.width, content.width),
            height: full(manifest.input.height, content.height),
        };
        let before = |model: usize, content: usize| match manifest.preprocessing.placement {
            Placement::TopLeft => 0,
            // Ultralytics rounds (model - content) / 2 - 0.1: the odd pixel of padding goes to the right and below.
            Placement::Centred => (model - content) / 2,
        };
        let (left, top) = (before(model.width, content.width), before(model.height, content.height));
        Self { model, content, left, top, ratio, display }
    }

    /// Maps a box from pixels of the model's input to pixels of the displayed picture, and clips it there.
    /// `None` when nothing of it is left, or when it is not a box at all.
    pub fn source_from_model(&self, corners: Corners) -> Option<Corners> {
        let map = |value: f32, before: usize, side: u32| {
            let source = (f64::from(value) - before as f64) / self.ratio;
            source.clamp(0.0, f64::from(side)) as f32
        };
        let mapped = Corners {
            x1: map(corners.x1, self.left, self.display.width),
            y1: map(corners.y1, self.top, self.display.height),
            x2: map(corners.x2, self.left, self.display.width),
            y2: map(corners.y2, self.top, self.display.height),
        };
        // Comparisons with NaN are false, so a box that is not finite ends here too.
        (mapped.x2 > mapped.x1 && mapped.y2 > mapped.y1).then_some(mapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{HeadFamily, InputTensor, Preprocessing};
    use framefleet_native::picture::Rotation;

    fn letterbox(preprocessing: Preprocessing, model: Option<u32>, picture: [u32; 2]) -> Letterbox {
        let input = InputTensor::nchw("images", [Some(1), model, model]);
        let manifest = Manifest::new(HeadFamily::V8, input, preprocessing);
        Letterbox::new(&manifest, Display { width: picture[0], height: picture[1], rotation: Rotation::None })
    }

    /// Model width and height, content width and height, left, top.
    fn layout(preprocessing: Preprocessing, model: Option<u32>, picture: [u32; 2]) -> [usize; 6] {
        let Letterbox { model, content, left, top, .. } = letterbox(preprocessing, model, picture);
        [model.width, model.height, content.width, content.height, left, top]
    }

    #[test]
    fn yolox_truncates_and_starts_at_the_top_left() {
        assert_eq!(layout(Preprocessing::YOLOX, Some(416), [768, 432]), [416, 416, 416, 233, 0, 0]);
        assert_eq!(layout(Preprocessing::YOLOX, Some(416), [100, 50]), [416, 416, 416, 208, 0, 0]);
    }

    #[test]
    fn ultralytics_rounds_and_centres_with_the_odd_pixel_below() {
        assert_eq!(layout(Preprocessing::ULTRALYTICS, Some(640), [1920, 1080]), [640, 640, 640, 360, 0, 140]);
        // 333 * 640 / 500 = 426.24: 214 pixels of padding, 107 on the left. 431: 209, so 104 and 105.
        assert_eq!(layout(Preprocessing::ULTRALYTICS, Some(640), [333, 500]), [640, 640, 426, 640, 107, 0]);
        assert_eq!(layout(Preprocessing::ULTRALYTICS, Some(640), [337, 500]), [640, 640, 431, 640, 104, 0]);
    }

    #[test]
    fn an_open_input_is_the_smallest_multiple_of_the_stride() {
        assert_eq!(layout(Preprocessing::ULTRALYTICS, None, [1920, 1080]), [640, 384, 640, 360, 0, 12]);
        assert_eq!(layout(Preprocessing::ULTRALYTICS, None, [768, 432]), [640, 384, 640, 360, 0, 12]);
        assert_eq!(layout(Preprocessing::ULTRALYTICS, None, [1080, 1920]), [384, 640, 360, 640, 12, 0]);
        assert_eq!(layout(Preprocessing::ULTRALYTICS, None, [640, 640]), [640, 640, 640, 640, 0, 0]);
    }

    #[test]
    fn a_sliver_of_a_picture_keeps_a_pixel() {
        assert_eq!(layout(Preprocessing::YOLOX, Some(416), [10_000, 1]), [416, 416, 416, 1, 0, 0]);
        assert_eq!(layout(Preprocessing::ULTRALYTICS, None, [1, 1]), [640, 640, 640, 640, 0, 0]);
    }

    #[test]
    fn a_box_comes_back_from_the_model_where_it_was() {
        for preprocessing in [Preprocessing::YOLOX, Preprocessing::ULTRALYTICS] {
            for model in [Some(416), None] {
                let letterbox = letterbox(preprocessing, model, [1919, 1079]);
                let source = Corners { x1: 10.5, y1: 20.25, x2: 1900.0, y2: 1000.0 };
                let map = |value: f32, before: usize| (f64::from(value) * letterbox.ratio + before as f64) as f32;
                let in_model = Corners {
                    x1: map(source.x1, letterbox.left),
                    y1: map(source.y1, letterbox.top),
                    x2: map(source.x2, letterbox.left),
                    y2: map(source.y2, letterbox.top),
                };
                let back = letterbox.source_from_model(in_model).unwrap();
                for (back, source) in
                    [(back.x1, source.x1), (back.y1, source.y1), (back.x2, source.x2), (back.y2, source.y2)]
                {
                    assert!((back - source).abs() < 1e-3, "{back} {source}");
                }
            }
        }
    }

    #[test]
    fn boxes_are_clipped_and_what_is_left_empty_is_none() {
        let letterbox = letterbox(Preprocessing::ULTRALYTICS, Some(640), [1280, 720]);
        // The content is rows 140 to 500, at half size.
        let clipped = letterbox.source_from_model(Corners { x1: -5.0, y1: 130.0, x2: 700.0, y2: 150.0 });
        assert_eq!(clipped, Some(Corners { x1: 0.0, y1: 0.0, x2: 1280.0, y2: 20.0 }));
        for empty in [
            Corners { x1: 10.0, y1: 100.0, x2: 20.0, y2: 140.0 },
            Corners { x1: 20.0, y1: 200.0, x2: 10.0, y2: 300.0 },
            Corners { x1: f32::NAN, y1: 200.0, x2: 20.0, y2: 300.0 },
        ] {
            assert_eq!(letterbox.source_from_model(empty), None);
        }
    }
}
