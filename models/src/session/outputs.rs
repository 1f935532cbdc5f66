//! The tensors that come out of a model, as f32 whatever their type is.

use crate::heads::{MOST_OUTPUTS, OutputView};
use half::f16;
use ort::{
    memory::Allocator,
    session::{HasSelectedOutputs, OutputSelector, RunOptions, SessionOutputs},
    value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType, ValueType},
};

/// What an output was like in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub shape: Vec<usize>,
    pub element: TensorElementType,
}

impl Seen {
    pub fn is_f32(&self) -> bool {
        self.element == TensorElementType::Float32
    }
}

/// Buffers for what is converted, used again in every run.
#[derive(Debug, Default)]
pub struct Outputs {
    seen: Vec<Seen>,
    /// One for each output; empty where it is f32 already.
    converted: Vec<Vec<f32>>,
}

impl Outputs {
    /// What the outputs were like in the last run.
    pub fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Lets `read` see the outputs of these names, in this order.
    pub fn read<T>(
        &mut self,
        names: &[String],
        values: &SessionOutputs<'_>,
        read: impl FnOnce(&[OutputView<'_>]) -> T,
    ) -> Result<T, String> {
        if names.len() > MOST_OUTPUTS {
            return Err(format!("{} outputs are more than any head reads", names.len()));
        }
        self.seen.resize_with(names.len(), || Seen { shape: Vec::new(), element: TensorElementType::Undefined });
        self.converted.resize_with(names.len(), Vec::new);
        for ((name, seen), converted) in names.iter().zip(&mut self.seen).zip(&mut self.converted) {
            look_at(name, find(name, values)?, seen, converted)?;
        }
        let mut views = [OutputView { shape: &[], values: &[] }; MOST_OUTPUTS];
        for (index, name) in names.iter().enumerate() {
            let values =
                if self.seen[index].is_f32() { as_f32(name, find(name, values)?)? } else { &self.converted[index] };
            views[index] = OutputView { shape: &self.seen[index].shape, values };
        }
        Ok(read(&views[..names.len()]))
    }
}

fn find<'a>(name: &str, values: &'a SessionOutputs<'_>) -> Result<&'a DynValue, String> {
    values.get(name).ok_or_else(|| format!("it gives no {name}"))
}

fn as_f32<'a>(name: &str, value: &'a DynValue) -> Result<&'a [f32], String> {
    value.try_extract_tensor::<f32>().map(|(_, values)| values).map_err(|error| format!("its output {name}: {error}"))
}

/// Notes an output's type and shape, and converts what is not f32.
fn look_at(name: &str, value: &DynValue, seen: &mut Seen, converted: &mut Vec<f32>) -> Result<(), String> {
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(format!("its output {name} is no tensor"));
    };
    seen.element = *ty;
    seen.shape.clear();
    seen.shape.extend(shape.iter().map(|length| usize::try_from(*length).unwrap_or(0)));
    converted.clear();
    match ty {
        TensorElementType::Float32 => Ok(()),
        TensorElementType::Float16 => convert(name, value, converted, f16::to_f32),
        TensorElementType::Float64 => convert(name, value, converted, |value: f64| value as f32),
        // Classes and counts: far below 2^24, up to which f32 is exact.
        TensorElementType::Int64 => convert(name, value, converted, |value: i64| value as f32),
        TensorElementType::Int32 => convert(name, value, converted, |value: i32| value as f32),
        TensorElementType::Uint8 => convert(name, value, converted, |value: u8| f32::from(value)),
        other => Err(format!("its output {name} is {other}, which no head reads")),
    }
}

fn convert<E: PrimitiveTensorElementType + Copy + std::fmt::Debug>(
    name: &str,
    value: &DynValue,
    converted: &mut Vec<f32>,
    to_f32: impl Fn(E) -> f32,
) -> Result<(), String> {
    let (_, values) = value.try_extract_tensor::<E>().map_err(|error| format!("its output {name}: {error}"))?;
    converted.extend(values.iter().copied().map(to_f32));
    Ok(())
}

/// Asks for these outputs, with memory of their own where the shapes are given.
pub fn options(names: &[String], shapes: Option<&[Seen]>) -> ort::Result<RunOptions<HasSelectedOutputs>> {
    let mut outputs = OutputSelector::no_default();
    for name in names {
        outputs = outputs.with(name);
    }
    for (name, seen) in names.iter().zip(shapes.unwrap_or_default()) {
        outputs = outputs.preallocate(name, Tensor::<f32>::new(&Allocator::default(), seen.shape.clone())?);
    }
    Ok(RunOptions::new()?.with_outputs(outputs))
}
