//! Outputs that were copied from a GPU, as the heads read them.

use crate::heads::{MOST_OUTPUTS, OutputView};
use framefleet_native::cuda::OutputBytes;
use half::f16;
use ort::value::TensorElementType;

/// Buffers for the values, used again in every run.
#[derive(Debug, Default)]
pub struct Values(Vec<Vec<f32>>);

impl Values {
    /// Lets `read` see the outputs of the whole batch.
    pub fn read<T>(&mut self, outputs: &[OutputBytes], read: impl FnOnce(&[OutputView<'_>]) -> T) -> Result<T, String> {
        if outputs.len() > MOST_OUTPUTS {
            return Err(format!("{} outputs are more than any head reads", outputs.len()));
        }
        self.0.resize_with(outputs.len(), Vec::new);
        for (values, output) in self.0.iter_mut().zip(outputs) {
            values.clear();
            convert(output, values)?;
        }
        let mut views = [OutputView { shape: &[], values: &[] }; MOST_OUTPUTS];
        for ((view, output), values) in views.iter_mut().zip(outputs).zip(&self.0) {
            *view = OutputView { shape: &output.shape.shape, values };
        }
        Ok(read(&views[..outputs.len()]))
    }
}

/// What of the outputs is about one picture of a batch: from there on, since heads read the first picture's part.
pub fn of_picture<'a>(views: &[OutputView<'a>], index: usize) -> [OutputView<'a>; MOST_OUTPUTS] {
    let mut own = [OutputView { shape: &[], values: &[] }; MOST_OUTPUTS];
    for (own, view) in own.iter_mut().zip(views) {
        let one: usize = view.shape.get(1..).unwrap_or_default().iter().product();
        *own = OutputView { shape: view.shape, values: view.values.get(index * one..).unwrap_or_default() };
    }
    own
}

fn convert(output: &OutputBytes, values: &mut Vec<f32>) -> Result<(), String> {
    let bytes = &output.bytes;
    match output.shape.element {
        TensorElementType::Float32 => values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b))),
        TensorElementType::Float16 => {
            values.extend(bytes.as_chunks().0.iter().map(|b| f16::from_ne_bytes(*b).to_f32()));
        }
        TensorElementType::Float64 => values.extend(bytes.as_chunks().0.iter().map(|b| f64::from_ne_bytes(*b) as f32)),
        // Classes and counts: far below 2^24, up to which f32 is exact.
        TensorElementType::Int64 => values.extend(bytes.as_chunks().0.iter().map(|b| i64::from_ne_bytes(*b) as f32)),
        TensorElementType::Int32 => values.extend(bytes.as_chunks().0.iter().map(|b| i32::from_ne_bytes(*b) as f32)),
        TensorElementType::Uint8 => values.extend(bytes.iter().map(|byte| f32::from(*byte))),
        other => return Err(format!("an output is {other}, which no head reads")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_native::cuda::OutputShape;

    fn output(element: TensorElementType, shape: &[usize], bytes: Vec<u8>) -> OutputBytes {
        OutputBytes { shape: OutputShape { element, shape: shape.to_vec() }, bytes }
    }

    #[test]
    fn every_type_is_read_as_f32() {
        let cases = [
            (TensorElementType::Float32, 2.5_f32.to_ne_bytes().to_vec(), 2.5),
            (TensorElementType::Float16, f16::from_f32_const(2.5).to_ne_bytes().to_vec(), 2.5),
            (TensorElementType::Float64, 2.5_f64.to_ne_bytes().to_vec(), 2.5),
            (TensorElementType::Int64, (-7_i64).to_ne_bytes().to_vec(), -7.0),
            (TensorElementType::Int32, (-7_i32).to_ne_bytes().to_vec(), -7.0),
            (TensorElementType::Uint8, vec![200], 200.0),
        ];
        for (element, bytes, expected) in cases {
            let mut values = Values::default();
            let seen = values.read(&[output(element, &[1], bytes)], |views| views[0].values.to_vec()).unwrap();
            assert_eq!(seen, [expected], "{element}");
        }
        let strings = output(TensorElementType::String, &[1], Vec::new());
        assert!(Values::default().read(&[strings], |_| ()).is_err());
    }

    #[test]
    fn a_picture_sees_its_own_part() {
        let bytes: Vec<u8> = (0..6_u8).collect();
        let counts = output(TensorElementType::Uint8, &[3], vec![7, 8, 9]);
        let rows = output(TensorElementType::Uint8, &[3, 1, 2], bytes);
        let seen = Values::default().read(&[rows, counts], |views| {
            let own = of_picture(views, 1);
            (own[0].values.to_vec(), own[1].values.to_vec(), own[0].shape.to_vec())
        });
        assert_eq!(seen.unwrap(), (vec![2.0, 3.0, 4.0, 5.0], vec![8.0, 9.0], vec![3, 1, 2]));
    }
}
