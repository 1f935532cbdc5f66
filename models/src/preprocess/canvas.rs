//! The picture's place in the input, in the model's layout.

use super::{input_value::Convert, is_quarter};
use crate::{letterbox::Letterbox, manifest::Layout};
use framefleet_native::picture::Rotation;

/// Values that are converted together, on their way from the row to the input.
const BLOCK: usize = 64;

/// Takes the rows of the stored picture; after a quarter turn they are columns of the input.
pub struct Canvas<'a, E> {
    input: &'a mut [E],
    /// Of the first channel's first value.
    start: usize,
    steps: Steps,
}

/// How far it is in the input from a value to its neighbour.
struct Steps {
    channel: usize,
    /// Within a row that is written.
    along: usize,
    /// From a row that is written to the next.
    across: usize,
}

impl<'a, E: Convert> Canvas<'a, E> {
    pub fn new(letterbox: &Letterbox, layout: Layout, rotation: Rotation, input: &'a mut [E]) -> Self {
        let Letterbox { model, left, top, .. } = *letterbox;
        let (channel, column) = match layout {
            Layout::Nchw | Layout::Chw => (model.width * model.height, 1),
            Layout::Nhwc => (1, 3),
        };
        let row = model.width * column;
        let (along, across) = if is_quarter(rotation) { (row, column) } else { (column, row) };
        Self { input, start: top * row + left * column, steps: Steps { channel, along, across } }
    }

    /// Lets `convert` write the row of that number: into the input, where it lies there as it is, or else into
    /// `scratch`, whose values then go each to its place.
    pub fn write(&mut self, index: usize, scratch: &mut [Vec<f32>; 3], convert: impl FnOnce([&mut [f32]; 3])) {
        if let Some(rows) = self.rows(index, scratch[0].len()) {
            return convert(rows);
        }
        convert(scratch.each_mut().map(Vec::as_mut_slice));
        let Steps { channel, along, across } = self.steps;
        let input = &mut self.input[self.start + index * across..];
        if (channel, along) == (1, 3) {
            return interleave(scratch, input);
        }
        for (index, row) in scratch.iter().enumerate() {
            scatter(row, &mut input[index * channel..], along);
        }
    }

    /// A row of each channel, where its values are f32 and side by side.
    fn rows(&mut self, index: usize, len: usize) -> Option<[&mut [f32]; 3]> {
        if self.steps.along != 1 {
            return None;
        }
        let first = self.start + index * self.steps.across;
        let rows = [0, 1, 2].map(|channel| first + channel * self.steps.channel).map(|start| start..start + len);
        E::as_f32(self.input)?.get_disjoint_mut(rows).ok()
    }
}

/// Writes three channels side by side.
fn interleave<E: Convert>(rows: &[Vec<f32>; 3], input: &mut [E]) {
    let mut converted = [[E::default(); BLOCK]; 3];
    let [first, second, third] = rows.each_ref().map(|row| row.chunks(BLOCK));
    let pixels = input.as_chunks_mut::<3>().0.chunks_mut(BLOCK);
    for (pixels, ((first, second), third)) in pixels.zip(first.zip(second).zip(third)) {
        for (converted, values) in converted.iter_mut().zip([first, second, third]) {
            E::convert(values, &mut converted[..values.len()]);
        }
        let len = first.len();
        let [first, second, third] = &converted;
        let channels = first.iter().zip(second).zip(third);
        for (pixel, ((first, second), third)) in pixels.iter_mut().take(len).zip(channels) {
            *pixel = [*first, *second, *third];
        }
    }
}

/// Writes a row to every `step`th value.
fn scatter<E: Convert>(row: &[f32], input: &mut [E], step: usize) {
    if step == 1 {
        return E::convert(row, &mut input[..row.len()]);
    }
    if let Some(input) = E::as_f32(input) {
        return stride(row, input, step);
    }
    let mut converted = [E::default(); BLOCK];
    for (values, targets) in row.chunks(BLOCK).zip(input.chunks_mut(BLOCK * step)) {
        let converted = &mut converted[..values.len()];
        E::convert(values, converted);
        stride(converted, targets, step);
    }
}

fn stride<T: Copy>(values: &[T], targets: &mut [T], step: usize) {
    for (target, value) in targets.iter_mut().step_by(step).zip(values) {
        *target = *value;
    }
}
