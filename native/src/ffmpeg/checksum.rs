//! A decoded picture in four bytes, to compare it with another decoder's.

use super::MediaError;
use super::frame::Frame;
use crate::picture::Picture;

impl Frame {
    /// CRC-32 of all samples, without what lies between the rows: the same for a picture on a GPU, which is copied for that.
    pub fn checksum(&self) -> Result<u32, MediaError> {
        if let Some(picture) = self.picture() {
            return Ok(checksum_of(&picture));
        }
        let host = self.to_host()?;
        Ok(checksum_of(&host.picture().expect("it was copied to the host")))
    }
}

pub(super) fn checksum_of(picture: &Picture<'_>) -> u32 {
    let sample = if picture.depth > 8 { 2 } else { 1 };
    let mut hasher = crc32fast::Hasher::new();
    for (index, plane) in picture.planes.iter().enumerate() {
        let shift = if index == 0 { 0 } else { picture.chroma_shift_x };
        let row_bytes = picture.width.div_ceil(1 << shift) * sample;
        plane.data.chunks(plane.stride).for_each(|row| hasher.update(&row[..row_bytes.min(row.len())]));
    }
    hasher.finalize()
}
