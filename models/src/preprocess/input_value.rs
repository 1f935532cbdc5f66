//! The types that a model's input can be made of.

use half::{f16, slice::HalfFloatSliceExt};

/// An element of a model's input: `f32`, `f16` or `u8`, which is rounded and limited to 0 to 255.
pub trait InputValue: Convert {}

impl<T: Convert> InputValue for T {}

/// What filling needs of an element; private, so that there are no others.
pub trait Convert: Copy + Default {
    /// Writes each value as this type; both slices are of one length.
    fn convert(values: &[f32], converted: &mut [Self]);

    /// The input itself, where there is nothing to convert.
    fn as_f32(_input: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
}

impl Convert for f32 {
    fn convert(values: &[f32], converted: &mut [Self]) {
        converted.copy_from_slice(values);
    }

    fn as_f32(input: &mut [Self]) -> Option<&mut [f32]> {
        Some(input)
    }
}

impl Convert for f16 {
    fn convert(values: &[f32], converted: &mut [Self]) {
        converted.convert_from_f32_slice(values);
    }
}

impl Convert for u8 {
    fn convert(values: &[f32], converted: &mut [Self]) {
        // From 2^23 on an f32 is a whole number: the sum rounds, ties to even, and its low bits are the number.
        const ROUND: f32 = (1 << 23) as f32;
        for (converted, value) in converted.iter_mut().zip(values) {
            *converted = (value.clamp(0.0, 255.0) + ROUND).to_bits() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_rounded_and_limited() {
        let mut bytes = [0; 14];
        let beyond = [f32::NEG_INFINITY, -7.0, -0.0, f32::NAN, 255.5, 1e9, f32::INFINITY];
        let between = [0.499_999_97, 0.5, 1.5, 99.49, 99.51, 254.499, 254.51];
        u8::convert(&[beyond, between].concat(), &mut bytes);
        assert_eq!(bytes, [0, 0, 0, 0, 255, 255, 255, 0, 0, 2, 99, 100, 254, 255]);
    }

    #[test]
    fn halves_are_the_nearest_whatever_the_length() {
        for len in 0..20 {
            let values: Vec<f32> = (0..len).map(|index| (index as f32 - 3.0) * 12.345_67).collect();
            let mut halves = vec![f16::MAX; len];
            f16::convert(&values, &mut halves);
            assert_eq!(halves, values.iter().map(|value| f16::from_f32_const(*value)).collect::<Vec<_>>());
        }
    }
}
