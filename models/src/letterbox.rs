//! Where a picture lies in a model's input, and the way back from there.

use crate::manifest::{Manifest, Placement, Resize, Rounding};
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

impl From<[f32; 4]> for Corners {
    fn from([x1, y1, x2, y2]: [f32; 4]) -> Self {
        Self { x1, y1, x2, y2 }
    }
}

/// The displayed picture brought to the model's size: laid into its input with the aspect kept, or stretched to it.
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
    ratio: Ratio,
    display: Display,
}

/// Model pixels in one pixel of the displayed picture. The two differ where the picture is stretched.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ratio {
    x: f64,
    y: f64,
}

impl Letterbox {
    /// Brings a picture to a model's size the way the model's own exporter does.
    pub fn new(manifest: &Manifest, display: Display) -> Self {
        match manifest.preprocessing.resize {
            Resize::Letterbox => Self::fitted(manifest, display),
            Resize::Stretch => Self::stretched(manifest, display),
        }
    }

    /// A dimension that the model leaves open becomes the smallest multiple of the stride that holds the picture,
    /// which is at most `image_size` there: 1920×1080 is looked at as 640×384, not 640×640. With a stride of 1 a picture is
    /// not enlarged: such a model brings it to its own size itself.
    fn fitted(manifest: &Manifest, display: Display) -> Self {
        let (width, height) = (f64::from(display.width.max(1)), f64::from(display.height.max(1)));
        let limit = |fixed: Option<u32>| fixed.unwrap_or(manifest.image_size).max(1);
        let (limit_width, limit_height) = (limit(manifest.input.width), limit(manifest.input.height));
        let ratio = (f64::from(limit_height) / height).min(f64::from(limit_width) / width);
        let is_open = manifest.input.width.is_none() || manifest.input.height.is_none();
        let ratio = if is_open && manifest.stride <= 1 { ratio.min(1.0) } else { ratio };
        let whole = |side: f64, most: u32| {
            let scaled = match manifest.preprocessing.rounding {
                Rounding::Truncate => (side * ratio).trunc(),
                Rounding::Nearest => (side * ratio).round_ties_even(),
            };
            (scaled as usize).clamp(1, most as usize)
        };
        let content = Size { width: whole(width, limit_width), height: whole(height, limit_height) };
        let model = model_size(manifest, content);
        let before = |model: usize, content: usize| match manifest.preprocessing.placement {
            Placement::TopLeft => 0,
            // Ultralytics rounds (model - content) / 2 - 0.1: the odd pixel of padding goes to the right and below.
            Placement::Centred => (model - content) / 2,
        };
        let (left, top) = (before(model.width, content.width), before(model.height, content.height));
        Self { model, content, left, top, ratio: Ratio { x: ratio, y: ratio }, display }
    }

    /// A stretched picture has no size of its own to hold: a dimension that the model leaves open is `image_size`, or
    /// the next multiple of the stride.
    fn stretched(manifest: &Manifest, display: Display) -> Self {
        let open = manifest.image_size.max(1) as usize;
        let model = model_size(manifest, Size { width: open, height: open });
        let ratio = |model: usize, side: u32| model as f64 / f64::from(side.max(1));
        let ratio = Ratio { x: ratio(model.width, display.width), y: ratio(model.height, display.height) };
        Self { model, content: model, left: 0, top: 0, ratio, display }
    }

    /// Maps a box from pixels of the model's input to pixels of the displayed picture, and clips it there.
    /// `None` when nothing of it is left, or when it is not a box at all.
    pub fn source_from_model(&self, corners: Corners) -> Option<Corners> {
        let map = |value: f32, before: usize, ratio: f64, side: u32| {
            let source = (f64::from(value) - before as f64) / ratio;
            source.clamp(0.0, f64::from(side)) as f32
        };
        let map_x = |value: f32| map(value, self.left, self.ratio.x, self.display.width);
        let map_y = |value: f32| map(value, self.top, self.ratio.y, self.display.height);
        let mapped =
            Corners { x1: map_x(corners.x1), y1: map_y(corners.y1), x2: map_x(corners.x2), y2: map_y(corners.y2) };
        // Comparisons with NaN are false, so a box that is not finite ends here too.
        (mapped.x2 > mapped.x1 && mapped.y2 > mapped.y1).then_some(mapped)
    }
}

/// The model's own size; where that is open, the smallest multiple of the stride that holds the content.
fn model_size(manifest: &Manifest, content: Size) -> Size {
    let stride = manifest.stride.max(1) as usize;
    let side = |fixed: Option<u32>, content: usize| {
        fixed.map_or_else(|| content.next_multiple_of(stride), |fixed| fixed.max(1) as usize)
    };
    Size { width: side(manifest.input.width, content.width), height: side(manifest.input.height, content.height) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{HeadFamily, InputTensor, Preprocessing};
    use framefleet_native::picture::Rotation;
    use proptest::{option, prelude::*};

    fn letterbox(preprocessing: Preprocessing, model: Option<u32>, picture: [u32; 2]) -> Letterbox {
        laid(&manifest(preprocessing, [model, model]), picture)
    }

    fn manifest(preprocessing: Preprocessing, [width, height]: [Option<u32>; 2]) -> Manifest {
        let input = InputTensor::nchw("images", [Some(1), height, width]);
        Manifest::new(HeadFamily::V8, input, preprocessing)
    }

    fn laid(manifest: &Manifest, [width, height]: [u32; 2]) -> Letterbox {
        Letterbox::new(manifest, Display { width, height, rotation: Rotation::None })
    }

    /// Model width and height, content width and height, left, top.
    fn layout(preprocessing: Preprocessing, model: Option<u32>, picture: [u32; 2]) -> [usize; 6] {
        numbers(letterbox(preprocessing, model, picture))
    }

    fn numbers(Letterbox { model, content, left, top, .. }: Letterbox) -> [usize; 6] {
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
    fn a_side_that_is_open_alone_is_bounded_by_the_image_size() {
        let open_height = manifest(Preprocessing::ULTRALYTICS, [Some(320), None]);
        assert_eq!(numbers(laid(&open_height, [1920, 1080])), [320, 192, 320, 180, 0, 6]);
        assert_eq!(numbers(laid(&open_height, [500, 2000])), [320, 640, 160, 640, 80, 0]);
        let open_width = manifest(Preprocessing::YOLOX, [None, Some(416)]);
        assert_eq!(numbers(laid(&open_width, [1080, 1920])), [256, 416, 234, 416, 0, 0]);
        assert_eq!(numbers(laid(&open_width, [1920, 1080])), [640, 416, 640, 360, 0, 0]);
    }

    #[test]
    fn a_stride_of_one_leaves_nothing_around_the_picture() {
        let bytes = Manifest { stride: 1, ..manifest(Preprocessing::RGB_BYTES, [None, None]) };
        assert_eq!(numbers(laid(&bytes, [1919, 1079])), [640, 360, 640, 360, 0, 0]);
        assert_eq!(numbers(laid(&bytes, [333, 500])), [333, 500, 333, 500, 0, 0]);
        assert_eq!(numbers(laid(&bytes, [1, 10_000])), [1, 640, 1, 640, 0, 0]);
    }

    #[test]
    fn a_stretched_picture_is_the_whole_input() {
        let stretched = |input: [Option<u32>; 2], picture: [u32; 2]| {
            let manifest = Manifest { image_size: 500, ..manifest(Preprocessing::STRETCHED, input) };
            numbers(laid(&manifest, picture))
        };
        assert_eq!(stretched([Some(640), Some(480)], [1920, 1080]), [640, 480, 640, 480, 0, 0]);
        assert_eq!(stretched([None, None], [1920, 1080]), [512, 512, 512, 512, 0, 0]);
        assert_eq!(stretched([Some(320), None], [10, 1000]), [320, 512, 320, 512, 0, 0]);
        assert_eq!(stretched([None, Some(320)], [1, 1]), [512, 320, 512, 320, 0, 0]);
    }

    #[test]
    fn a_box_comes_back_from_a_stretched_input_by_each_sides_own_ratio() {
        let manifest = manifest(Preprocessing::STRETCHED, [Some(640), Some(480)]);
        let letterbox = laid(&manifest, [1920, 1080]);
        let quarter = Corners { x1: 160.0, y1: 120.0, x2: 320.0, y2: 240.0 };
        let expected = Corners { x1: 480.0, y1: 270.0, x2: 960.0, y2: 540.0 };
        assert_eq!(letterbox.source_from_model(quarter), Some(expected));
        for picture in [[1919, 1079], [333, 500], [1, 10_000]] {
            let whole = Corners { x1: 0.0, y1: 0.0, x2: 640.0, y2: 480.0 };
            let expected = Corners { x1: 0.0, y1: 0.0, x2: picture[0] as f32, y2: picture[1] as f32 };
            assert_eq!(laid(&manifest, picture).source_from_model(whole), Some(expected));
        }
    }

    #[test]
    fn a_sliver_of_a_picture_keeps_a_pixel() {
        assert_eq!(layout(Preprocessing::YOLOX, Some(416), [10_000, 1]), [416, 416, 416, 1, 0, 0]);
        assert_eq!(layout(Preprocessing::ULTRALYTICS, None, [1, 1]), [640, 640, 640, 640, 0, 0]);
        for preprocessing in [Preprocessing::ULTRALYTICS, Preprocessing::STRETCHED] {
            assert_eq!(layout(preprocessing, Some(0), [0, 5]), [1, 1, 1, 1, 0, 0]);
        }
    }

    #[test]
    fn a_box_comes_back_from_the_model_where_it_was() {
        for preprocessing in [Preprocessing::YOLOX, Preprocessing::ULTRALYTICS] {
            for model in [Some(416), None] {
                let letterbox = letterbox(preprocessing, model, [1919, 1079]);
                let source = Corners { x1: 10.5, y1: 20.25, x2: 1900.0, y2: 1000.0 };
                let ratio = letterbox.ratio.x;
                assert_eq!(ratio.to_bits(), letterbox.ratio.y.to_bits());
                let map = |value: f32, before: usize| (f64::from(value) * ratio + before as f64) as f32;
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

    proptest! {
        #[test]
        fn whatever_the_sides_the_content_lies_inside_the_input(
            stretch: bool,
            sides in [option::of(0..5000_u32), option::of(0..5000_u32)],
            (stride, image_size) in (0..200_u32, 0..5000_u32),
            picture: [u32; 2],
            corners: [f32; 4],
        ) {
            for preprocessing in [Preprocessing::YOLOX, Preprocessing::ULTRALYTICS] {
                let resize = if stretch { Resize::Stretch } else { Resize::Letterbox };
                let manifest = manifest(Preprocessing { resize, ..preprocessing }, sides);
                let letterbox = laid(&Manifest { stride, image_size, ..manifest }, picture);
                let [width, height, across, down, left, top] = numbers(letterbox);
                prop_assert!(across >= 1 && left + across <= width, "{:?}", letterbox);
                prop_assert!(down >= 1 && top + down <= height, "{:?}", letterbox);
                let [x1, y1, x2, y2] = corners;
                if let Some(source) = letterbox.source_from_model(Corners { x1, y1, x2, y2 }) {
                    prop_assert!(source.x1 >= 0.0 && source.x2 <= picture[0] as f32, "{:?}", source);
                    prop_assert!(source.y1 >= 0.0 && source.y2 <= picture[1] as f32, "{:?}", source);
                }
            }
        }
    }
}
