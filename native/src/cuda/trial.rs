//! A model of a few numbers, on which a GPU and its libraries show that they run models at all.

use super::error::CudaError;
use super::model::{GpuModel, GpuModelError, ModelBytes, Provider, failed};
use super::stream::Stream;
use ort::environment::Environment;
use ort::value::Tensor;

/// What `trial/make.py` made.
const ONNX: &[u8] = include_bytes!("trial/trial.onnx");
const PICTURE: [usize; 4] = [1, 3, 8, 8];
/// What it makes of ones.
const ANSWER: f32 = 108.0;
/// Far more than what algorithms differ by.
const TOLERANCE: f32 = 1.0;

/// Has a model run, so that a library that is broken, or does not fit the others or the GPU, is known before any work begins.
///
/// # Errors
/// [`CudaError::Missing`] with what ONNX Runtime says, or what is wrong with the GPU itself.
pub fn try_out(environment: &Environment, stream: &Stream, provider: Provider<'_>) -> Result<(), CudaError> {
    let answer = answer(environment, stream, provider);
    let reason = match answer {
        Ok(answer) if matches!(answer[..], [x] if (x - ANSWER).abs() < TOLERANCE) => return Ok(()),
        Ok(answer) => format!("it computes {answer:?} where [{ANSWER:?}] is right"),
        Err(GpuModelError::Cuda(error)) => return Err(error),
        Err(GpuModelError::Onnx(said) | GpuModelError::Shape(said)) => {
            said.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    };
    Err(CudaError::Missing {
        what: "ONNX Runtime does not run models on this GPU".to_owned(),
        reason,
        remedy: "`./dev setup --gpu` installs libraries that fit each other".to_owned(),
    })
}

fn answer(environment: &Environment, stream: &Stream, provider: Provider<'_>) -> Result<Vec<f32>, GpuModelError> {
    let bytes = ModelBytes { onnx: ONNX, external: &[] };
    let mut model = GpuModel::load(environment, bytes, stream, provider)?;
    let run = |model: &mut GpuModel| -> ort::Result<Vec<f32>> {
        let picture = Tensor::from_array((PICTURE, vec![1.0_f32; PICTURE.iter().product()]))?;
        let options = model.options_of_one_run()?;
        let outputs = model.session.run_with_options(ort::inputs![picture], &options)?;
        Ok(outputs[0].try_extract_tensor::<f32>()?.1.to_vec())
    };
    run(&mut model).map_err(|error| failed(stream, "run a model", &error))
}
