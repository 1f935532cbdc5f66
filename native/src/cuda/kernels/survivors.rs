//! What the survivors kernel is told of a head's outputs, and what it finds in them.

use super::parameters::{DeviceRange, Element, Plain};
use cudarc::driver::{DeviceRepr, ValidAsZeroBits};

/// Where a head's outputs have what, and which places pass. A mirror of the struct in `survivors.cu`.
///
/// Scores and objectness lie in the first output, boxes in the last; which may be the same.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct HeadParameters {
    pub scores: Values,
    /// One for each place, where there is any.
    pub objectness: Values,
    /// Four for each place, as the head gives them.
    pub boxes: Values,
    pub places: u32,
    pub classes: u32,
    /// 1 where class scores are multiplied by it.
    pub has_objectness: u32,
    /// F32 or F16, as the boxes'.
    pub score_element: Element,
    pub box_element: Element,
    /// How many survivors there is room for, of all pictures together.
    pub capacity: u32,
    /// The least score.
    pub confidence: f32,
    /// How many of the batch are looked at, the first ones.
    pub pictures: u32,
    /// A bit for each class; those beyond are all wanted.
    pub wanted: [u32; LISTED_CLASSES / 32],
}

/// Values of a tensor by picture, place and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Values {
    /// Where the first is: in bytes from the output's first one, and on the device once the head is placed there.
    pub address: u64,
    /// In elements, as the other steps.
    pub picture_step: u64,
    pub place_step: u64,
    pub value_step: u64,
}

/// A place whose best class is sure enough, and wanted. The order of these in a list is any.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C)]
pub struct Survivor {
    /// Which of the batch.
    pub picture: u32,
    pub place: u32,
    pub class_id: i32,
    /// That of the class, times the objectness where there is any.
    pub score: f32,
    /// Infinite where the head has none.
    pub objectness: f32,
    /// As the head gives it.
    pub values: [f32; 4],
}

/// For how many classes a kernel is told one by one whether they are wanted.
const LISTED_CLASSES: usize = 2048;

const _: () = assert!(size_of::<HeadParameters>() == 384 && size_of::<Survivor>() == 36, "no padding");

// SAFETY: `#[repr(C)]`, and numbers alone, whose sizes add up to the struct's.
unsafe impl Plain for HeadParameters {}
// SAFETY: as above.
unsafe impl DeviceRepr for HeadParameters {}
// SAFETY: as above.
unsafe impl Plain for Survivor {}
// SAFETY: as above.
unsafe impl DeviceRepr for Survivor {}
// SAFETY: zeroes are numbers.
unsafe impl ValidAsZeroBits for Survivor {}

impl HeadParameters {
    /// Every class is wanted, whatever its score; no pictures are looked at yet, and there is room for no survivors.
    /// `elements` are those of the first output and of the last.
    pub fn new(
        scores: Values,
        objectness: Option<Values>,
        boxes: Values,
        [places, classes]: [u32; 2],
        elements: [Element; 2],
    ) -> Self {
        Self {
            scores,
            objectness: objectness.unwrap_or_default(),
            boxes,
            places,
            classes,
            has_objectness: u32::from(objectness.is_some()),
            score_element: elements[0],
            box_element: elements[1],
            capacity: 0,
            confidence: f32::NEG_INFINITY,
            pictures: 0,
            wanted: [u32::MAX; LISTED_CLASSES / 32],
        }
    }

    /// The same with these classes alone. Those that the kernel is not told of one by one stay, so the host looks again.
    #[must_use]
    pub fn with_wanted(mut self, classes: &[i32]) -> Self {
        self.wanted = [0; LISTED_CLASSES / 32];
        for class_id in classes.iter().filter_map(|class_id| usize::try_from(*class_id).ok()) {
            if let Some(word) = self.wanted.get_mut(class_id / 32) {
                *word |= 1 << (class_id % 32);
            }
        }
        self
    }

    /// The same for outputs that lie there, the first and the last. `None` where the kernel would read beyond them.
    pub fn placed(self, first: DeviceRange, last: DeviceRange) -> Option<Self> {
        let placed = |values: Values, count: u32, element: Element, memory: DeviceRange| {
            let end = values.reach([self.pictures, self.places, count], element.bytes())?;
            let address = memory.address.checked_add(values.address)?;
            let is_readable = element != Element::U8 && address.is_multiple_of(element.bytes());
            (is_readable && end <= memory.bytes).then_some(Values { address, ..values })
        };
        let objectness = match self.has_objectness {
            0 => self.objectness,
            _ => placed(self.objectness, 1, self.score_element, first)?,
        };
        Some(Self {
            scores: placed(self.scores, self.classes, self.score_element, first)?,
            objectness,
            boxes: placed(self.boxes, 4, self.box_element, last)?,
            ..self
        })
    }
}

impl Values {
    /// Where the last of so many ends, in bytes from the output's first one. `None` beyond any memory.
    fn reach(&self, counts: [u32; 3], element_bytes: u64) -> Option<u64> {
        let steps = [self.picture_step, self.place_step, self.value_step];
        let mut last = 0_u64;
        for (count, step) in counts.into_iter().zip(steps) {
            last = last.checked_add(u64::from(count.saturating_sub(1)).checked_mul(step)?)?;
        }
        last.checked_add(1)?.checked_mul(element_bytes)?.checked_add(self.address)
    }
}
