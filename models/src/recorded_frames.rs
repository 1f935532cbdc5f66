use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Enough to see how two models differ, and not much memory: 25 MB at 1080p.
const CAPACITY: usize = 8;
/// A picture a second: neighbours in a video say the same.
const EVERY: Duration = Duration::from_secs(1);

/// The last few pictures that went through a model, for the next one to be compared on.
///
/// Every handle leads to the same pictures.
#[derive(Debug, Clone, Default)]
pub struct RecordedFrames {
    ring: Arc<Mutex<Ring>>,
}

#[derive(Debug, Default)]
struct Ring {
    pictures: Vec<Arc<OwnedPicture>>,
    next: usize,
    last: Option<Instant>,
}

impl RecordedFrames {
    /// Copies a picture if the last one is a second old. Never waits: if somebody else has the ring, it is left out.
    pub fn offer(&self, picture: &Picture<'_>, now: Instant) {
        let Ok(mut ring) = self.ring.try_lock() else { return };
        if ring.is_due(now) {
            ring.last = Some(now);
            ring.push(picture);
        }
    }

    /// Whether [`Self::offer`] would take a picture: for who has to make one first.
    pub fn is_due(&self, now: Instant) -> bool {
        self.ring.try_lock().is_ok_and(|ring| ring.is_due(now))
    }

    /// The pictures that are there now.
    pub fn pictures(&self) -> Vec<Arc<OwnedPicture>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).pictures.clone()
    }
}

impl Ring {
    fn is_due(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY)
    }

    fn push(&mut self, picture: &Picture<'_>) {
        match self.pictures.get_mut(self.next).map(Arc::get_mut) {
            // Its buffers are reused, unless somebody is looking at it.
            Some(Some(oldest)) => oldest.copy_from(picture),
            Some(None) => self.pictures[self.next] = Arc::new(OwnedPicture::copy_of(picture)),
            None => self.pictures.push(Arc::new(OwnedPicture::copy_of(picture))),
        }
        self.next = (self.next + 1) % CAPACITY;
    }
}

/// A picture that outlives the decoder's buffer.
#[derive(Debug)]
pub struct OwnedPicture {
    width: usize,
    height: usize,
    planes: [OwnedPlane; 3],
    depth: u32,
    chroma_shift_x: u32,
    chroma_shift_y: u32,
    matrix: Matrix,
    range: Range,
    display: Display,
}

#[derive(Debug, Default)]
struct OwnedPlane {
    data: Vec<u8>,
    stride: usize,
}

impl OwnedPicture {
    pub fn copy_of(picture: &Picture<'_>) -> Self {
        let planes = std::array::from_fn(|_| OwnedPlane::default());
        let Picture { width, height, depth, chroma_shift_x, chroma_shift_y, matrix, range, display, .. } = *picture;
        let mut copy = Self { width, height, planes, depth, chroma_shift_x, chroma_shift_y, matrix, range, display };
        copy.copy_planes(picture);
        copy
    }

    /// As a detector takes it.
    pub fn picture(&self) -> Picture<'_> {
        let &Self { width, height, depth, chroma_shift_x, chroma_shift_y, matrix, range, display, .. } = self;
        let planes = self.planes.each_ref().map(|plane| Plane { data: &plane.data, stride: plane.stride });
        Picture { width, height, planes, depth, chroma_shift_x, chroma_shift_y, matrix, range, display }
    }

    fn copy_from(&mut self, picture: &Picture<'_>) {
        let planes = std::mem::replace(&mut self.planes, std::array::from_fn(|_| OwnedPlane::default()));
        let Picture { width, height, depth, chroma_shift_x, chroma_shift_y, matrix, range, display, .. } = *picture;
        *self = Self { width, height, planes, depth, chroma_shift_x, chroma_shift_y, matrix, range, display };
        self.copy_planes(picture);
    }

    fn copy_planes(&mut self, picture: &Picture<'_>) {
        for (own, plane) in self.planes.iter_mut().zip(&picture.planes) {
            own.data.clear();
            own.data.extend_from_slice(plane.data);
            own.stride = plane.stride;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Grey;

    fn lumas(frames: &RecordedFrames) -> Vec<u8> {
        frames.pictures().iter().map(|picture| picture.picture().planes[0].data[0]).collect()
    }

    #[test]
    fn one_picture_a_second_is_kept_and_the_oldest_makes_room() {
        let frames = RecordedFrames::default();
        let start = Instant::now();
        for n in 0..20 {
            let at = start + Duration::from_millis(500 * n);
            frames.offer(&Grey { luma: n as u8, ..Grey::SMALL }.owned().picture(), at);
        }
        let mut seen = lumas(&frames);
        seen.sort_unstable();
        assert_eq!(seen, [4, 6, 8, 10, 12, 14, 16, 18]);
    }

    #[test]
    fn a_copy_is_the_whole_picture_and_its_buffers_are_reused() {
        let frames = RecordedFrames::default();
        let start = Instant::now();
        let large = Grey { width: 64, height: 48, luma: 1 }.owned();
        for n in 0..8 {
            frames.offer(&large.picture(), start + EVERY * n);
        }
        let before = frames.pictures()[0].picture().planes[0].data.as_ptr();
        let small = Grey { luma: 9, ..Grey::SMALL }.owned();
        frames.offer(&small.picture(), start + EVERY * 8);
        let seen = frames.pictures();
        assert_eq!(seen[0].picture().planes[0].data.as_ptr(), before);
        assert_eq!(format!("{:?}", seen[0].picture()), format!("{:?}", small.picture()));
    }

    #[test]
    fn who_looks_at_a_picture_keeps_it_and_who_records_never_waits() {
        let frames = RecordedFrames::default();
        let start = Instant::now();
        frames.offer(&Grey { luma: 1, ..Grey::SMALL }.owned().picture(), start);
        let held = frames.pictures();
        for n in 1..=8 {
            frames.offer(&Grey { luma: 2, ..Grey::SMALL }.owned().picture(), start + EVERY * n);
        }
        assert_eq!(held[0].picture().planes[0].data[0], 1);
        assert_eq!(lumas(&frames), [2; 8]);
        let ring = frames.ring.lock().unwrap();
        frames.offer(&Grey { luma: 3, ..Grey::SMALL }.owned().picture(), start + EVERY * 20);
        drop(ring);
        assert_eq!(lumas(&frames), [2; 8]);
    }
}
