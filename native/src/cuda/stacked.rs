use crate::picture::Picture;

/// A picture from the decoder as it is copied to a GPU: three planes one after the other, their rows too, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackedPlanes {
    planes: [StackedPlane; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StackedPlane {
    /// Of the first sample, in bytes.
    pub offset: usize,
    /// Bytes of a row.
    pub pitch: usize,
    pub rows: usize,
}

/// A plane with less in it than its picture says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a plane of {rows} rows of {pitch} bytes has {bytes} bytes with a stride of {stride}")]
pub struct ShortPlane {
    rows: usize,
    pitch: usize,
    bytes: usize,
    stride: usize,
}

impl StackedPlanes {
    /// Of a picture with sides and chroma shifts as decoders give them.
    pub fn of(picture: &Picture<'_>) -> Self {
        let sample_bytes = if picture.depth == 8 { 1 } else { 2 };
        let mut offset = 0;
        let chroma = [picture.chroma_shift_x, picture.chroma_shift_y];
        let planes = [[0, 0], chroma, chroma].map(|[shift_x, shift_y]| {
            let pitch = picture.width.div_ceil(1 << shift_x) * sample_bytes;
            let rows = picture.height.div_ceil(1 << shift_y);
            let plane = StackedPlane { offset, pitch, rows };
            offset += pitch * rows;
            plane
        });
        Self { planes }
    }

    /// Y, U and V.
    pub fn planes(&self) -> &[StackedPlane; 3] {
        &self.planes
    }

    /// Of all planes.
    pub fn bytes(&self) -> usize {
        self.planes.iter().map(|plane| plane.pitch * plane.rows).sum()
    }

    /// Copies the picture that this was made of, or one like it, into memory of at least [`StackedPlanes::bytes`].
    pub fn copy(&self, picture: &Picture<'_>, memory: &mut [u8]) -> Result<(), ShortPlane> {
        for (plane, source) in self.planes.iter().zip(&picture.planes) {
            let StackedPlane { offset, pitch, rows } = *plane;
            let (bytes, stride) = (source.data.len(), source.stride);
            let needed = stride.checked_mul(rows.saturating_sub(1)).and_then(|before| before.checked_add(pitch));
            let end = offset + pitch * rows;
            if stride < pitch || end > memory.len() || needed.is_none_or(|needed| bytes < needed) {
                return Err(ShortPlane { rows, pitch, bytes, stride });
            }
            let target = &mut memory[offset..end];
            if stride == pitch {
                target.copy_from_slice(&source.data[..pitch * rows]);
                continue;
            }
            for (target, source) in target.chunks_exact_mut(pitch.max(1)).zip(source.data.chunks(stride.max(1))) {
                target.copy_from_slice(&source[..pitch]);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::{Display, Matrix, Plane, Range, Rotation};

    fn picture(luma: &[u8], stride: usize) -> Picture<'_> {
        Picture {
            width: 3,
            height: 3,
            planes: [
                Plane { data: luma, stride },
                Plane { data: &[7; 4], stride: 2 },
                Plane { data: &[9; 4], stride: 2 },
            ],
            depth: 8,
            chroma_shift_x: 1,
            chroma_shift_y: 1,
            matrix: Matrix::Bt601,
            range: Range::Limited,
            display: Display { width: 3, height: 3, rotation: Rotation::None },
        }
    }

    #[test]
    fn rows_are_copied_without_what_lies_between_them() {
        let luma = [1, 2, 3, 0xee, 4, 5, 6, 0xee, 7, 8, 9];
        let picture = picture(&luma, 4);
        let stacked = StackedPlanes::of(&picture);
        let mut memory = vec![0; stacked.bytes()];
        stacked.copy(&picture, &mut memory).unwrap();
        assert_eq!(memory, [1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 7, 7, 7, 9, 9, 9, 9]);
    }

    #[test]
    fn a_plane_or_memory_that_is_too_short_is_an_error() {
        let luma = [0; 11];
        let stacked = StackedPlanes::of(&picture(&luma, 4));
        let mut memory = vec![0; stacked.bytes()];
        for (short, stride) in [(&luma[..10], 4), (&luma[..], 2), (&luma[..], usize::MAX)] {
            assert!(stacked.copy(&picture(short, stride), &mut memory).is_err(), "{stride}");
        }
        assert!(stacked.copy(&picture(&luma, 4), &mut memory[1..]).is_err());
        stacked.copy(&picture(&luma, 4), &mut memory).unwrap();
    }
}
