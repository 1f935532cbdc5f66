//! What the preprocessing kernel is told: of each picture, and of the input that all of them go to.

use super::parameters::{DeviceRange, Element, Plain};
use cudarc::driver::DeviceRepr;

/// A picture, and how it goes into its part of the input. A mirror of the struct in `preprocess.cu`.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct PictureParameters {
    /// Where Y, U and V begin: in bytes from the picture's first one, and on the device once it is placed there.
    pub planes: [u64; 3],
    /// Luma samples of the stored picture in one sample of the content, along a stored row and along a stored column.
    pub scale_across: f64,
    pub scale_down: f64,
    /// Bytes from a row of each plane to the next.
    pub pitch: [u32; 3],
    /// Samples from one of each plane to the next in its row: 2 where two chromas are interleaved.
    pub step: [u32; 3],
    /// By how many bits samples of two bytes are too high: 6 where 10 bits are at the top of 16.
    pub shift_right: u32,
    /// Bits of a sample, 8 to 16. A sample is one byte at a depth of 8, otherwise two, little endian.
    pub depth: u32,
    /// Luma columns and rows.
    pub width: u32,
    pub height: u32,
    /// A chroma plane has `ceil(width / 2^chroma_shift_x)` columns and `ceil(height / 2^chroma_shift_y)` rows.
    pub chroma_shift_x: u32,
    pub chroma_shift_y: u32,
    /// The scaled and upright picture in the input; what is beside it becomes padding.
    pub content_width: u32,
    pub content_height: u32,
    pub content_left: u32,
    pub content_top: u32,
    /// 1 where stored rows are columns of the content.
    pub is_quarter_turn: u32,
    /// 1 where the content runs against the stored columns, or the stored rows.
    pub is_backwards_across: u32,
    pub is_backwards_down: u32,
    /// In the order of the input's.
    pub channels: [ChannelParameters; 3],
}

/// What gathered Y, U and V (of 30 bits, 22 of them fraction) count for in a channel of the input, what is added, the
/// values of black and white, which are limits, and the value beside the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct ChannelParameters {
    pub y: f32,
    pub u: f32,
    pub v: f32,
    pub offset: f32,
    pub black: f32,
    pub white: f32,
    pub padding: f32,
}

/// The input of a batch, all of which is written. Steps are in elements. A mirror of the struct in `preprocess.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct InputParameters {
    pub picture_step: u64,
    pub channel_step: u64,
    pub row_step: u64,
    pub column_step: u32,
    pub width: u32,
    pub height: u32,
    pub element: Element,
}

const _: () = assert!(size_of::<PictureParameters>() == 200 && size_of::<InputParameters>() == 40, "no padding");

// SAFETY: `#[repr(C)]`, and numbers alone, whose sizes add up to the struct's.
unsafe impl Plain for PictureParameters {}
// SAFETY: as above.
unsafe impl DeviceRepr for PictureParameters {}
// SAFETY: as above.
unsafe impl Plain for InputParameters {}
// SAFETY: as above.
unsafe impl DeviceRepr for InputParameters {}

impl PictureParameters {
    /// The same for a picture that lies there. `None` where the kernel would read beyond it, or not a picture.
    pub fn placed(self, memory: DeviceRange) -> Option<Self> {
        if self.content_width == 0 || self.content_height == 0 {
            return Some(self);
        }
        let is_picture = self.width > 0
            && self.height > 0
            && (8..=16).contains(&self.depth)
            && self.shift_right < 16
            && self.chroma_shift_x < 32
            && self.chroma_shift_y < 32;
        // The device ends the process where samples of two bytes are not at even addresses.
        let bytes = self.sample_bytes();
        let is_even = |value: u64| value.is_multiple_of(bytes);
        let planes = self.planes.map(|offset| memory.address.checked_add(offset));
        let [Some(luma), Some(first), Some(second)] = planes else { return None };
        let placed = Self { planes: [luma, first, second], ..self };
        let aligned = placed.planes.into_iter().chain(self.pitch.map(u64::from)).all(is_even);
        (is_picture && aligned && self.reach()? <= memory.bytes).then_some(placed)
    }

    /// The same with nothing but padding, for what no picture goes to in a batch of fixed size.
    #[must_use]
    pub fn blank(self) -> Self {
        Self { content_width: 0, content_height: 0, ..self }
    }

    fn sample_bytes(&self) -> u64 {
        if self.depth == 8 { 1 } else { 2 }
    }

    /// How many bytes a picture has at least whose last samples are where these are. `None` beyond any memory.
    fn reach(&self) -> Option<u64> {
        let chroma = [self.chroma_shift_x, self.chroma_shift_y];
        let ends = [[0, 0], chroma, chroma].into_iter().enumerate().map(|(plane, [shift_x, shift_y])| {
            let [last_column, last_row] = [(self.width, shift_x), (self.height, shift_y)]
                .map(|(side, shift)| u64::from(side.saturating_sub(1) >> shift));
            let row = (last_column * u64::from(self.step[plane])).checked_add(1)?.checked_mul(self.sample_bytes())?;
            let rows = last_row * u64::from(self.pitch[plane]);
            self.planes[plane].checked_add(rows)?.checked_add(row)
        });
        ends.reduce(|left, right| Some(left?.max(right?))).flatten()
    }
}

/// Where the elements of an input lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputLayout {
    /// Three planes.
    Planes,
    /// Pixels of three values.
    Pixels,
}

impl InputParameters {
    /// Pictures that follow each other without a gap.
    pub fn new(layout: InputLayout, [width, height]: [u32; 2], element: Element) -> Self {
        let (across, down) = (u64::from(width), u64::from(height));
        let (channel_step, column_step) = match layout {
            InputLayout::Planes => (across * down, 1),
            InputLayout::Pixels => (1, 3),
        };
        Self {
            picture_step: 3 * across * down,
            channel_step,
            row_step: across * u64::from(column_step),
            column_step,
            width,
            height,
            element,
        }
    }

    /// How many bytes from the first one to the end of the last that is written for so many pictures.
    pub fn bytes(&self, pictures: u32) -> u64 {
        let sides =
            [(pictures, self.picture_step), (self.height, self.row_step), (self.width, self.column_step.into())];
        if sides.iter().any(|(count, _)| *count == 0) {
            return 0;
        }
        let last = sides
            .into_iter()
            .chain([(3, self.channel_step)])
            .fold(0_u64, |last, (count, step)| last.saturating_add(u64::from(count - 1).saturating_mul(step)));
        last.saturating_add(1).saturating_mul(self.element.bytes())
    }
}
