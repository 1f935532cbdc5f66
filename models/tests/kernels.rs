//! The CUDA kernels, compiled for the CPU, give what the CPU's path gives, to the bit.
//!
//! No GPU is needed: a harness includes the kernels' own files. That they compile for GPUs is tested beside
//! `native/src/cuda/compile.rs`.

#![expect(clippy::unwrap_used, reason = "the functions that tests share are tests too")]

#[path = "kernels/harness.rs"]
mod harness;
#[path = "kernels/outputs.rs"]
mod outputs;
#[path = "kernels/pictures.rs"]
mod pictures;

use framefleet_native::cuda::{
    ChannelParameters, HeadParameters, InputParameters, PictureParameters, Survivor, Values,
};
use half::f16;
use harness::Harness;
use std::mem::offset_of;

/// The size of a struct and the offsets of its fields.
macro_rules! layout {
    ($type:ty: $($field:ident)*) => { [size_of::<$type>() $(, offset_of!($type, $field))*] };
}

#[test]
fn both_sides_lay_out_the_parameters_alike() {
    let ours = [
        layout!(PictureParameters: planes scale_across scale_down pitch step shift_right depth width height chroma_shift_x
            chroma_shift_y content_width content_height content_left content_top is_quarter_turn is_backwards_across
            is_backwards_down channels)
        .as_slice(),
        &layout!(ChannelParameters: y u v offset black white padding),
        &layout!(InputParameters: picture_step channel_step row_step column_step width height element),
        &layout!(Values: address picture_step place_step value_step),
        &layout!(HeadParameters: scores objectness boxes places classes has_objectness score_element box_element capacity
            confidence pictures wanted),
        &layout!(Survivor: picture place class_id score objectness values),
    ];
    assert_eq!(Harness::get().layouts(), ours.concat());
}

#[test]
fn halves_are_rounded_as_on_the_cpu() {
    let halves = (0..=u16::MAX).map(|bits| f16::from_bits(bits).to_f32());
    // Beside each of them, between each two, and everywhere else.
    let beside = halves.clone().flat_map(|value| [value.next_up(), value.next_down()]);
    let between = (0..0x7c00).flat_map(|bits| {
        let middle = f32::midpoint(f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32());
        [middle, -middle, middle.next_up(), middle.next_down()]
    });
    let anywhere = (0..=u32::MAX).step_by(65_521).map(f32::from_bits);
    let values: Vec<f32> = halves.chain(beside).chain(between).chain(anywhere).collect();
    for (value, (half, back)) in values.iter().zip(Harness::get().halves(&values)) {
        let expected = f16::from_f32(*value);
        if value.is_nan() {
            assert!(f16::from_bits(half).is_nan() && back.is_nan(), "{value}: {half:x}, {back}");
        } else {
            assert_eq!((half, back.to_bits()), (expected.to_bits(), expected.to_f32().to_bits()), "{value}");
        }
    }
}
