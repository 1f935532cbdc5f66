//! Heads with thousands of places, the outputs of which a GPU looks through: it lists the places that pass, and the boxes
//! are decoded here, as those of the CPU's path are.

use super::{Candidate, Centred, Head, Wanted, is_finite, yolox};
use crate::{letterbox::Corners, manifest::HeadFamily};
use framefleet_native::cuda::{Element, HeadParameters, Survivor, Values};

/// An output that lies on a GPU.
#[derive(Debug, Clone, Copy)]
pub struct DeviceOutput<'a> {
    /// `[B, rows, columns]`
    pub shape: &'a [usize],
    /// F32 or F16.
    pub element: Element,
}

impl Head {
    /// What the kernel is told of outputs of these shapes, for the first `pictures` of their batch. `None` for heads whose
    /// outputs are small, or that look at more than a best class, and for shapes that are not this head's.
    ///
    /// A batch may be looked through for the least confidence and all the classes that any of its pictures wants:
    /// [`Head::candidate`] looks at each survivor with its own picture's wishes. The capacity is for the caller to set.
    pub fn survivor_parameters(
        &self,
        outputs: &[DeviceOutput<'_>],
        pictures: u32,
        wanted: Wanted<'_>,
    ) -> Option<HeadParameters> {
        let shapes = outputs.iter().map(|output| Shape::of(output)).collect::<Option<Vec<Shape>>>()?;
        let sizes: Vec<&[usize]> = outputs.iter().map(|output| output.shape).collect();
        if !self.fits(&sizes) || self.classes == 0 || shapes.iter().any(|shape| shape.batch < u64::from(pictures)) {
            return None;
        }
        let (first, last) = (shapes.first()?, shapes.last()?);
        let by_rows = |shape: &Shape, column: u64| shape.values(column, [shape.columns, 1]);
        let (scores, objectness, boxes, places) = match self.family {
            HeadFamily::Yolox | HeadFamily::YoloxDecoded | HeadFamily::V5 | HeadFamily::V6 => {
                (by_rows(first, 5), Some(by_rows(first, 4)), by_rows(first, 0), first.rows)
            }
            HeadFamily::V8 => {
                let by_columns = |row: u64| first.values(row * first.columns, [1, first.columns]);
                (by_columns(4), None, by_columns(0), first.columns)
            }
            HeadFamily::DamoYolo => (by_rows(first, 0), None, by_rows(last, 0), first.rows),
            _ => return None,
        };
        let counts = [u32::try_from(places).ok()?, u32::try_from(self.classes).ok()?];
        let mut parameters = HeadParameters::new(scores, objectness, boxes, counts, [first.element, last.element]);
        parameters.pictures = pictures;
        parameters.confidence = wanted.confidence;
        Some(wanted.classes.map_or(parameters, |classes| parameters.with_wanted(classes)))
    }

    /// What [`Head::decode`] makes of the same place. `None` where it makes nothing of it, which may be for this picture
    /// alone: it may want less than the kernel was told of the batch.
    pub fn candidate(&self, survivor: &Survivor, wanted: Wanted<'_>) -> Option<Candidate> {
        let &Survivor { place, class_id, score, objectness, values, .. } = survivor;
        let is_sure = objectness >= wanted.confidence && score >= wanted.confidence;
        if !is_sure || !wanted.class(class_id) {
            return None;
        }
        let candidate = Candidate { corners: self.corners(place, values)?, score, class_id, anchor: place };
        is_finite(&candidate).then_some(candidate)
    }

    fn corners(&self, place: u32, values: [f32; 4]) -> Option<Corners> {
        match self.family {
            HeadFamily::Yolox => yolox::Cell::at(place as usize, self.model).map(|cell| cell.corners(values)),
            HeadFamily::YoloxDecoded | HeadFamily::V5 | HeadFamily::V6 | HeadFamily::V8 => {
                Some(Centred::from(values).corners())
            }
            HeadFamily::DamoYolo => Some(Corners::from(values)),
            _ => None,
        }
    }
}

/// An output's dimensions.
struct Shape {
    batch: u64,
    rows: u64,
    columns: u64,
    element: Element,
}

impl Shape {
    fn of(output: &DeviceOutput<'_>) -> Option<Self> {
        let &[batch, rows, columns] = output.shape else { return None };
        let is_float = matches!(output.element, Element::F32 | Element::F16);
        let [batch, rows, columns] = [batch, rows, columns].map(|side| side as u64);
        is_float.then_some(Self { batch, rows, columns, element: output.element })
    }

    /// Values that begin with an element, and how many elements it is from place to place and from value to value.
    fn values(&self, first: u64, [place_step, value_step]: [u64; 2]) -> Values {
        Values { address: first * self.element.bytes(), picture_step: self.rows * self.columns, place_step, value_step }
    }
}
