//! The memory of one batch on a GPU, and what is done with it.
//!
//! ```text
//! planes of host pictures ─ copy ─► device ┐
//! pictures that NVDEC decoded ─────────────┼─ preprocess ─► input ─ model ─► outputs ─ survivors ─► a list, copied back
//! where each lies ────────── copy ─► table ┘                                   └─ or all of them, copied back
//! ```
//!
//! All of it is asked of one stream and runs by itself; [`Batch::finish`] waits.

mod survivor_list;
mod transfer;

use super::error::CudaError;
use super::kernels::{DeviceRange, HeadParameters, InputParameters, PictureParameters, Plain, Survivor};
use super::model::{GpuModel, GpuModelError, failed};
use super::picture::DevicePicture;
use super::pinned::Pinned;
use super::recording::alone;
use super::stacked::StackedPlanes;
use super::stream::Stream;
use crate::picture::Picture;
use cudarc::driver::{CudaEvent, DevicePtr};
use ort::memory::{Allocator, MemoryInfo};
use ort::session::{IoBinding, RunOptions};
use ort::value::{DynTensor, DynTensorValueType, TensorElementType};
use std::sync::Arc;
use survivor_list::SurvivorList;
use transfer::Transfer;

/// What a batch is of.
#[derive(Debug)]
pub struct BatchShape<'a> {
    /// How many pictures it has room for.
    pub pictures: usize,
    /// The picture's input: its name, and how it is filled.
    pub input: (&'a str, InputParameters),
    pub input_shape: &'a [usize],
    pub input_element: TensorElementType,
    /// Other inputs, which never change.
    pub sides: &'a [(String, DynTensor)],
    pub outputs: &'a [String],
    /// Types and shapes of these outputs, where they are known and always the same. Otherwise each run waits for them.
    pub output_shapes: Option<&'a [OutputShape]>,
    /// The most survivors that there is room for; 0 where nobody looks for any.
    pub survivors: usize,
}

/// The type and shape of an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputShape {
    pub element: TensorElementType,
    pub shape: Vec<usize>,
}

/// A picture, and how it goes into the input.
#[derive(Debug)]
pub struct BatchPicture<'a> {
    pub from: PictureMemory<'a>,
    pub parameters: PictureParameters,
}

/// Where a picture is.
#[derive(Debug)]
pub enum PictureMemory<'a> {
    Host(Picture<'a>),
    Device(Arc<DevicePicture>),
}

/// What a batch came to.
#[derive(Debug)]
pub enum Finished<'a> {
    /// Of all pictures, in any order.
    Survivors(&'a [Survivor]),
    /// In the order of [`BatchShape::outputs`].
    Outputs(&'a [OutputBytes]),
}

/// An output in host memory.
#[derive(Debug, Clone)]
pub struct OutputBytes {
    pub shape: OutputShape,
    pub bytes: Vec<u8>,
}

/// Seconds of the device.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct DeviceTimes {
    pub preprocess: f64,
    pub model: f64,
    pub postprocess: f64,
}

/// The memory of a batch. It is used again and again, and always by the model that it was made for.
pub struct Batch {
    binding: IoBinding,
    options: RunOptions,
    input: InputParameters,
    input_range: DeviceRange,
    input_name: String,
    input_tensor: DynTensor,
    outputs: Outputs,
    output_names: Vec<String>,
    pictures: usize,
    /// One for each picture, on the device and on its way there.
    table: Transfer,
    /// Of the pictures that were in host memory.
    planes: Transfer,
    /// Bytes of them.
    planes_in_use: usize,
    survivors: Option<SurvivorList>,
    finished: Vec<OutputBytes>,
    /// Before the preprocessing, behind it, behind the model, and behind everything.
    marks: [CudaEvent; 4],
    /// In use until the batch is finished.
    kept: Vec<Arc<DevicePicture>>,
    looked_for_survivors: bool,
    // Last: the model's session, which what is bound keeps, uses the stream to its end.
    stream: Stream,
}

#[derive(Debug)]
enum Outputs {
    /// In memory of the batch.
    Bound(Vec<BoundOutput>),
    /// Wherever each run puts them.
    Unbound,
}

#[derive(Debug)]
struct BoundOutput {
    shape: OutputShape,
    range: DeviceRange,
    host: Option<Pinned>,
    _tensor: DynTensor,
}

/// Where a picture's planes begin.
const ALIGNMENT: usize = 256;

impl Batch {
    /// Makes the memory and binds the model to it.
    pub fn new(model: &mut GpuModel, shape: &BatchShape<'_>) -> Result<Self, GpuModelError> {
        let stream = model.stream.clone();
        let failed = |error: ort::Error| failed(&stream, "make room for a batch", &error);
        let mut binding = model.session.create_binding().map_err(failed)?;
        let allocator = model.allocator().map_err(failed)?;
        let (name, input) = shape.input;
        let (tensor, input_range) =
            device_tensor(&allocator, shape.input_element, shape.input_shape).map_err(failed)?;
        if input.bytes(shape.pictures as u32) > input_range.bytes {
            return Err(GpuModelError::Shape(format!(
                "its input of {:?} holds less than {} pictures",
                shape.input_shape, shape.pictures
            )));
        }
        binding.bind_input(name, &tensor).map_err(failed)?;
        for (name, side) in shape.sides {
            binding.bind_input(name, side).map_err(failed)?;
        }
        let outputs = bind_outputs(&mut binding, &allocator, shape).map_err(failed)?;
        let options = match &outputs {
            Outputs::Bound(_) => model.options_of_a_batch(),
            Outputs::Unbound => model.options_of_one_run(),
        };
        let table = Transfer::new(&stream, shape.pictures * size_of::<PictureParameters>())?;
        let survivors = (shape.survivors > 0).then(|| SurvivorList::new(&stream, shape.survivors)).transpose()?;
        Ok(Self {
            options: options.map_err(failed)?,
            binding,
            input,
            input_range,
            input_name: name.to_owned(),
            input_tensor: tensor,
            outputs,
            output_names: shape.outputs.to_vec(),
            pictures: shape.pictures,
            table,
            planes: Transfer::new(&stream, 0)?,
            planes_in_use: 0,
            survivors,
            finished: Vec::new(),
            marks: [stream.event()?, stream.event()?, stream.event()?, stream.event()?],
            kept: Vec::with_capacity(shape.pictures),
            looked_for_survivors: false,
            stream,
        })
    }

    /// Asks for everything up to the survivors, where a head is given for them, or the outputs. At most as many pictures as
    /// there is room for.
    pub fn start(
        &mut self,
        model: &mut GpuModel,
        pictures: &[BatchPicture<'_>],
        head: Option<HeadParameters>,
    ) -> Result<(), GpuModelError> {
        let mark = CudaError::of("mark the time");
        let placed = self.place(pictures)?;
        self.marks[0].record(&self.stream.raw).map_err(&mark)?;
        self.preprocess(&placed)?;
        self.marks[1].record(&self.stream.raw).map_err(&mark)?;
        self.run(model)?;
        self.marks[2].record(&self.stream.raw).map_err(&mark)?;
        self.looked_for_survivors = head.is_some() && self.survivors.is_some();
        match head {
            Some(head) if self.looked_for_survivors => self.look_for_survivors(head)?,
            _ => self.copy_outputs()?,
        }
        self.marks[3].record(&self.stream.raw).map_err(&mark)?;
        Ok(())
    }

    /// Runs the model on whatever is in the input, which records the run where the model records: ONNX Runtime runs it as
    /// often as that takes. Meanwhile no other thread takes memory or waits for the GPU.
    ///
    /// What is bound must have been made before anything is recorded: graphs keep the addresses of memory that ONNX Runtime
    /// takes for free afterwards.
    pub fn record(&mut self, model: &mut GpuModel) -> Result<(), GpuModelError> {
        let _alone = alone();
        self.run(model)?;
        Ok(self.stream.raw.synchronize().map_err(CudaError::of("record a graph"))?)
    }

    /// Whether [`Self::finish`] would not wait.
    pub fn is_done(&self) -> Result<bool, GpuModelError> {
        Ok(self.marks[3].try_is_complete().map_err(CudaError::of("look at a batch"))?)
    }

    /// Waits for what was started. Where there are more survivors than there is room for, all outputs are given.
    pub fn finish(&mut self) -> Result<(Finished<'_>, DeviceTimes), GpuModelError> {
        let failed = CudaError::of("wait for a batch");
        self.marks[3].synchronize().map_err(&failed)?;
        self.kept.clear();
        let seconds = |from: usize, to: usize| {
            self.marks[from].elapsed_ms(&self.marks[to]).map(|ms| f64::from(ms) / 1000.0).map_err(&failed)
        };
        let times = DeviceTimes { preprocess: seconds(0, 1)?, model: seconds(1, 2)?, postprocess: seconds(2, 3)? };
        if self.looked_for_survivors && self.collect_survivors()? {
            let found = self.survivors.as_ref().map_or(&[][..], |survivors| &survivors.found);
            return Ok((Finished::Survivors(found), times));
        }
        self.collect_outputs();
        Ok((Finished::Outputs(&self.finished), times))
    }

    /// `false` where there were more than there is room for: then the outputs are copied instead.
    fn collect_survivors(&mut self) -> Result<bool, GpuModelError> {
        let Some(survivors) = &mut self.survivors else { return Ok(false) };
        if survivors.collect(&self.stream)? {
            return Ok(true);
        }
        self.copy_outputs()?;
        self.stream.raw.synchronize().map_err(CudaError::of("wait for outputs"))?;
        Ok(false)
    }

    /// Types and shapes of the outputs that the model gives for whatever is in the input now.
    pub fn look_at_outputs(&mut self, model: &mut GpuModel) -> Result<Vec<OutputShape>, GpuModelError> {
        self.run(model)?;
        Ok(self.finished.iter().map(|output| output.shape.clone()).collect())
    }

    /// Gathers what is not on the device yet, and tells where everything is or will be.
    fn place(&mut self, pictures: &[BatchPicture<'_>]) -> Result<Vec<PictureParameters>, GpuModelError> {
        let misplaced = || GpuModelError::Shape("a picture is smaller than it says".to_owned());
        let stacks: Vec<Option<StackedPlanes>> = pictures
            .iter()
            .map(|picture| match &picture.from {
                PictureMemory::Host(picture) => Some(StackedPlanes::of(picture)),
                PictureMemory::Device(_) => None,
            })
            .collect();
        let room = |stack: &StackedPlanes| stack.bytes().next_multiple_of(ALIGNMENT);
        let bytes = stacks.iter().flatten().map(room).sum();
        self.planes.make_room(&self.stream, bytes)?;
        let first = self.planes.address(&self.stream);
        let (mut placed, mut offset) = (Vec::with_capacity(self.pictures), 0);
        for (picture, stack) in pictures.iter().take(self.pictures).zip(&stacks) {
            let range = match (&picture.from, stack) {
                (PictureMemory::Host(picture), Some(stack)) => {
                    let memory = &mut self.planes.host.bytes_mut()[offset..offset + stack.bytes()];
                    stack.copy(picture, memory).map_err(|error| GpuModelError::Shape(error.to_string()))?;
                    let range = DeviceRange { address: first + offset as u64, bytes: stack.bytes() as u64 };
                    offset += room(stack);
                    range
                }
                (PictureMemory::Device(picture), _) => {
                    self.kept.push(Arc::clone(picture));
                    DeviceRange { address: picture.address(), bytes: picture.layout().bytes() as u64 }
                }
                (PictureMemory::Host(_), None) => return Err(misplaced()),
            };
            placed.push(picture.parameters.placed(range).ok_or_else(misplaced)?);
        }
        self.planes_in_use = offset;
        // What no picture goes to is made anew too, so that the outputs of a batch are the same every time.
        if let Some(last) = placed.last().copied() {
            placed.resize(self.pictures, last.blank());
        }
        Ok(placed)
    }

    fn preprocess(&mut self, placed: &[PictureParameters]) -> Result<(), GpuModelError> {
        self.planes.upload(&self.stream, self.planes_in_use)?;
        let bytes = PictureParameters::bytes_of(placed);
        self.table.host.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        self.table.upload(&self.stream, bytes.len())?;
        let (stream, table) = (&self.stream.raw, self.table.address(&self.stream));
        // SAFETY: the table has one entry for each, and each was placed in memory that is kept until the batch is finished;
        // the input has room for all of them, which was looked at when it was bound.
        unsafe {
            self.stream.kernels.preprocess(
                stream,
                table,
                placed.len() as u32,
                &self.input,
                self.input_range.address,
            )?;
        }
        Ok(())
    }

    fn run(&mut self, model: &mut GpuModel) -> Result<(), GpuModelError> {
        let failed = |error: ort::Error| failed(&self.stream, "run a model", &error);
        if model.may_read_on_host {
            // Binding copies to where the input is wanted, once, so that what is there then must be the picture.
            self.stream.raw.synchronize().map_err(CudaError::of("preprocess pictures"))?;
            self.binding.bind_input(self.input_name.as_str(), &self.input_tensor).map_err(failed)?;
        }
        let values = model.session.run_binding_with_options(&self.binding, &self.options).map_err(failed)?;
        if matches!(self.outputs, Outputs::Unbound) {
            self.finished.clear();
            for name in &self.output_names {
                let value = values.get(name).ok_or_else(|| GpuModelError::Shape(format!("it gives no {name}")))?;
                let tensor = value.view().downcast::<DynTensorValueType>().map_err(failed)?;
                self.finished.push(bytes_on_host(&tensor)?);
            }
        }
        Ok(())
    }

    fn look_for_survivors(&mut self, mut head: HeadParameters) -> Result<(), GpuModelError> {
        let (Outputs::Bound(outputs), Some(survivors)) = (&self.outputs, &mut self.survivors) else { return Ok(()) };
        let (Some(first), Some(last)) = (outputs.first(), outputs.last()) else { return Ok(()) };
        head.capacity = survivors.capacity as u32;
        let small = || GpuModelError::Shape("an output is smaller than its head".to_owned());
        let head = head.placed(first.range, last.range).ok_or_else(small)?;
        let (stream, failed) = (&self.stream, CudaError::of("count survivors"));
        stream.raw.memset_zeros(&mut survivors.count).map_err(&failed)?;
        let (list, count) = (survivors.list.device_ptr(&stream.raw).0, survivors.count.device_ptr(&stream.raw).0);
        // SAFETY: it was placed in outputs that are bound; the list has room for its capacity, and both are this batch's.
        unsafe { stream.kernels.survivors(&stream.raw, &head, list, count)? };
        survivors.ask_for_first(stream)?;
        Ok(())
    }

    /// Unbound outputs are on the host already.
    fn copy_outputs(&mut self) -> Result<(), GpuModelError> {
        let Outputs::Bound(outputs) = &mut self.outputs else { return Ok(()) };
        for output in outputs {
            let bytes = output.range.bytes as usize;
            let host = match &mut output.host {
                Some(host) => host,
                none => none.insert(Pinned::new(self.stream.gpu.context(), bytes)?),
            };
            // SAFETY: the output is bound and has so many bytes; nobody looks at the copy before the batch is finished.
            unsafe { host.download(bytes, output.range.address, &self.stream.raw) }
                .map_err(CudaError::of("copy an output"))?;
        }
        Ok(())
    }

    fn collect_outputs(&mut self) {
        let Outputs::Bound(outputs) = &self.outputs else { return };
        self.finished.resize_with(outputs.len(), || OutputBytes {
            shape: OutputShape { element: TensorElementType::Undefined, shape: Vec::new() },
            bytes: Vec::new(),
        });
        for (finished, output) in self.finished.iter_mut().zip(outputs) {
            finished.shape.clone_from(&output.shape);
            finished.bytes.clear();
            finished.bytes.extend_from_slice(output.host.as_ref().map_or(&[], |host| host.bytes()));
        }
    }
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pictures, input, .. } = self;
        f.debug_struct("Batch").field("pictures", pictures).field("input", input).finish_non_exhaustive()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // What is under way still reads and writes this memory. An error is one that the next call meets too.
        let _done = self.stream.raw.synchronize();
    }
}

fn bind_outputs(binding: &mut IoBinding, allocator: &Allocator, shape: &BatchShape<'_>) -> ort::Result<Outputs> {
    let Some(shapes) = shape.output_shapes else {
        for name in shape.outputs {
            binding.bind_output_to_device(name, &MemoryInfo::default())?;
        }
        return Ok(Outputs::Unbound);
    };
    let mut bound = Vec::with_capacity(shapes.len());
    for (name, shape) in shape.outputs.iter().zip(shapes) {
        let (mut tensor, range) = device_tensor(allocator, shape.element, &shape.shape)?;
        binding.bind_output(name, &mut tensor)?;
        bound.push(BoundOutput { shape: shape.clone(), range, host: None, _tensor: tensor });
    }
    Ok(Outputs::Bound(bound))
}

/// Of ONNX Runtime's own memory.
fn device_tensor(
    allocator: &Allocator,
    element: TensorElementType,
    shape: &[usize],
) -> ort::Result<(DynTensor, DeviceRange)> {
    let mut tensor = DynTensor::new(allocator, element, shape)?;
    let bytes = element.byte_size(shape.iter().product()).unwrap_or(0) as u64;
    let range = DeviceRange { address: tensor.data_ptr_mut() as u64, bytes };
    Ok((tensor, range))
}

fn bytes_on_host(tensor: &DynTensor) -> Result<OutputBytes, GpuModelError> {
    let (Some(element), Some(shape)) = (tensor.dtype().tensor_type(), tensor.dtype().tensor_shape()) else {
        return Err(GpuModelError::Shape("an output is no tensor".to_owned()));
    };
    let shape: Vec<usize> = shape.iter().map(|side| usize::try_from(*side).unwrap_or(0)).collect();
    let bytes = element.byte_size(shape.iter().product()).unwrap_or(0);
    if !tensor.memory_info().is_cpu_accessible() {
        return Err(GpuModelError::Shape("an output is not in the host's memory".to_owned()));
    }
    let bytes = if bytes == 0 {
        Vec::new()
    } else {
        // SAFETY: a tensor in host memory has as many bytes as its shape and type say, and lives as long as the borrow.
        unsafe { std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), bytes) }.to_vec()
    };
    Ok(OutputBytes { shape: OutputShape { element, shape }, bytes })
}
