//! What was seen in a frame, and its rows in Parquet.

/// One box in one frame, in pixels of the picture as displayed: clipped to it, `x2 > x1`, `y2 > y1`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// As the model gives it, from 0.
    pub class_id: i32,
    /// 0 to 1.
    pub score: f32,
    pub x1: f32,
    pub y1: f32,
    pub x2: f32,
    pub y2: f32,
}
