//! A decoded picture in four bytes, to compare it with another decoder's.

use super::decode::Frame;

impl Frame {
    /// CRC-32 of all samples, without what lies between the rows.
    pub fn checksum(&self) -> u32 {
        let picture = self.picture();
        let sample = if picture.depth > 8 { 2 } else { 1 };
        let mut hasher = crc32fast::Hasher::new();
        for (index, plane) in picture.planes.iter().enumerate() {
            let shift = if index == 0 { 0 } else { picture.chroma_shift_x };
            let row_bytes = picture.width.div_ceil(1 << shift) * sample;
            plane.data.chunks(plane.stride).for_each(|row| hasher.update(&row[..row_bytes.min(row.len())]));
        }
        hasher.finalize()
    }
}
