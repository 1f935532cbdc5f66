//! A decoded frame as a picture that can be drawn into.

use framefleet_native::ffmpeg::convert::BgrConverter;
use framefleet_native::ffmpeg::decode::Frame;
use framefleet_native::picture::Rotation;
use opencv::core::{self, Mat, MatTraitConst, MatTraitManual, Scalar};

/// Used again for every frame, so that frames of one size cost no memory of their own.
#[derive(Debug, Default)]
pub struct Canvas {
    converter: BgrConverter,
    /// Before it was turned.
    stored: Mat,
    /// BGR, square pixels, turned as it is displayed.
    pub upright: Mat,
}

impl Canvas {
    /// Puts the frame into `upright`.
    pub fn paint(&mut self, frame: &Frame) -> Result<(), Box<dyn std::error::Error>> {
        let (width, height) = BgrConverter::size(frame);
        let turn = match frame.display().rotation {
            Rotation::None => None,
            Rotation::Quarter => Some(core::ROTATE_90_CLOCKWISE),
            Rotation::Half => Some(core::ROTATE_180),
            Rotation::ThreeQuarters => Some(core::ROTATE_90_COUNTERCLOCKWISE),
        };
        let stored = if turn.is_some() { &mut self.stored } else { &mut self.upright };
        if stored.size()? != core::Size::new(width as i32, height as i32) {
            *stored = Mat::new_rows_cols_with_default(height as i32, width as i32, core::CV_8UC3, Scalar::default())?;
        }
        self.converter.convert(frame, stored.data_bytes_mut()?)?;
        if let Some(turn) = turn {
            core::rotate(&self.stored, &mut self.upright, turn)?;
        }
        Ok(())
    }
}
