//! A decoded picture in host memory, borrowed from the decoder's own buffer.

/// One plane of samples. A row starts every `stride` bytes; rows may be followed by padding.
#[derive(Debug, Clone, Copy)]
pub struct Plane<'a> {
    /// At least `stride * (rows - 1) + bytes of a row` bytes.
    pub data: &'a [u8],
    /// Bytes from one row to the next.
    pub stride: usize,
}

/// How luma and chroma become RGB (ITU-T H.273, `MatrixCoefficients`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matrix {
    /// BT.601: standard definition, and what an unmarked stream is taken for, as swscale and OpenCV do.
    Bt601,
    /// BT.709: high definition.
    Bt709,
    /// BT.2020, non-constant luminance.
    Bt2020,
}

/// Which codes stand for black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// 16 to 235 for luma, 16 to 240 for chroma, at 8 bits; scaled for more.
    Limited,
    /// The whole range of codes.
    Full,
}

/// Quarter turns, clockwise, that bring the stored picture upright.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rotation {
    #[default]
    None,
    Quarter,
    Half,
    ThreeQuarters,
}

/// How the stored picture is meant to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Display {
    /// Width in square pixels, after the rotation.
    pub width: u32,
    /// Height in square pixels, after the rotation.
    pub height: u32,
    pub rotation: Rotation,
}

/// A planar YUV picture. Other pixel formats are converted to this one before they leave the decoder.
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    /// Luma columns.
    pub width: usize,
    /// Luma rows.
    pub height: usize,
    /// Y, U, V. Samples are one byte each at a depth of 8, otherwise two bytes, little endian.
    pub planes: [Plane<'a>; 3],
    /// Bits of a sample: 8 to 16, in the low bits.
    pub depth: u32,
    /// A chroma plane has `ceil(width / 2^chroma_shift_x)` columns.
    pub chroma_shift_x: u32,
    /// A chroma plane has `ceil(height / 2^chroma_shift_y)` rows.
    pub chroma_shift_y: u32,
    pub matrix: Matrix,
    pub range: Range,
    pub display: Display,
}
