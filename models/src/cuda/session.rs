use super::{
    failed, may_do_without_graphs,
    outputs::{Values, of_picture},
    prepared::{Loaded, Prepared, preprocessor},
    tensorrt::Replacement,
};
use crate::{
    Model, ModelError, Runtime, StageTimes, Thresholds,
    device::{BatchSession, Buckets, IN_FLIGHT, ToDetect},
    heads::{Candidate, Head, Wanted},
    known_picture::KnownPicture,
    letterbox::Letterbox,
    manifest::Manifest,
    preprocess::DevicePreprocessor,
    select::Found,
};
use framefleet_contract::detection::Detection;
use framefleet_native::cuda::{
    Batch, BatchPicture, Finished, GpuModel, ModelBytes, PictureMemory, Provider, Stream, Survivor,
};
use std::{collections::VecDeque, sync::Arc, time::Instant};

/// A model on a GPU.
#[derive(Debug)]
pub struct CudaSession {
    loaded: Loaded,
    /// For the last sizes of the model's input; the last one is first.
    prepared: Vec<Prepared>,
    under_way: VecDeque<Started>,
    replacement: Option<Replacement>,
    /// The thread that it is for has it: what it does from now on can be recorded.
    has_begun: bool,
    values: Values,
    survivors: Vec<Survivor>,
    candidates: Vec<Candidate>,
    detections: Vec<Detection>,
}

/// Each has memory for a few batches.
const SIZES: usize = 2;
/// Runs of each size of batch before it counts as warm: in the first two, ONNX Runtime takes memory.
const WARM_UP_RUNS: usize = 2;

#[derive(Debug)]
struct Started {
    batch: Batch,
    bucket: usize,
    head: Head,
    pictures: Vec<StartedPicture>,
}

#[derive(Debug)]
struct StartedPicture {
    letterbox: Letterbox,
    thresholds: Thresholds,
}

impl CudaSession {
    /// Loads the model, and lets batches of each size see a picture.
    pub fn load(
        runtime: &Runtime,
        model: &Model,
        buckets: Buckets,
        stream: &Stream,
        provider: Provider<'_>,
    ) -> Result<Self, ModelError> {
        let bytes = ModelBytes { onnx: model.bytes(), external: model.external() };
        let loaded = GpuModel::load(runtime.environment(), bytes, stream, provider).map_err(failed(&model.name))?;
        let (name, manifest) = (model.name.clone(), model.manifest.clone());
        let mut session = Self {
            loaded: Loaded { name, manifest, model: loaded, buckets },
            prepared: Vec::new(),
            under_way: VecDeque::with_capacity(IN_FLIGHT),
            replacement: None,
            has_begun: false,
            values: Values::default(),
            survivors: Vec::new(),
            candidates: Vec::new(),
            detections: Vec::new(),
        };
        session.warm_up()?;
        Ok(session)
    }

    /// The same, which goes on as another one as soon as that is there.
    pub fn replaced_by(self, replacement: Replacement) -> Self {
        Self { replacement: Some(replacement), ..self }
    }

    fn warm_up(&mut self) -> Result<(), ModelError> {
        let known = KnownPicture::new(self.loaded.manifest.warm_up);
        let thresholds = Thresholds::from(&self.loaded.manifest.defaults);
        for size in self.loaded.buckets.sizes().to_vec() {
            for _ in 0..WARM_UP_RUNS {
                let picture = || (PictureMemory::Host(known.picture()), &thresholds);
                self.begin((0..size).map(|_| picture()).collect())?;
                self.finish(&mut |_| ())?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, pictures: Vec<(PictureMemory<'_>, &Thresholds)>) -> Result<(), ModelError> {
        let Some((first, _)) = pictures.first() else { return Ok(()) };
        let bucket = self.loaded.buckets.index_for(pictures.len());
        let room = self.loaded.buckets.sizes()[bucket];
        self.prepare(first)?;
        let Self { loaded, prepared, .. } = self;
        let prepared = prepared.first_mut().expect("it was prepared a line above");
        let mut batch = prepared.take(loaded, bucket)?;
        let (mut placed, mut started) = (Vec::with_capacity(pictures.len()), Vec::with_capacity(pictures.len()));
        let mut confidence = f32::INFINITY;
        for (picture, thresholds) in pictures {
            let preprocessor = prepared.preprocessor(&loaded.manifest, &picture)?;
            let parameters = preprocessor.picture();
            started.push(StartedPicture { letterbox: *preprocessor.letterbox(), thresholds: thresholds.clone() });
            placed.push(BatchPicture { from: picture, parameters });
            confidence = confidence.min(thresholds.confidence);
        }
        let head = prepared.survivors(room, placed.len(), confidence);
        batch.start(&mut loaded.model, &placed, head).map_err(failed(&loaded.name))?;
        self.under_way.push_back(Started { batch, bucket, head: prepared.head, pictures: started });
        Ok(())
    }

    /// Brings what there is for such pictures to the front.
    fn prepare(&mut self, like: &PictureMemory<'_>) -> Result<(), ModelError> {
        let like = preprocessor(&self.loaded.manifest, like)?;
        let size = like.letterbox().model;
        if let Some(place) = self.prepared.iter().position(|prepared| prepared.size == size) {
            self.prepared[..=place].rotate_right(1);
            return Ok(());
        }
        // Before there is more, since it is of the GPU's memory.
        self.prepared.truncate(SIZES - 1);
        let prepared = self.recorded(&like)?;
        self.prepared.insert(0, prepared);
        Ok(())
    }

    /// With graphs of all its batches, where they can be recorded; where that fails, the model goes on without.
    fn recorded(&mut self, like: &DevicePreprocessor) -> Result<Prepared, ModelError> {
        let loaded = &mut self.loaded;
        let mut prepared = Prepared::new(loaded, like)?;
        if !loaded.model.records() {
            return Ok(prepared);
        }
        match prepared.record(loaded) {
            Err(error) if may_do_without_graphs(&error) => {
                tracing::info!(model = loaded.name, %error, "no CUDA graphs");
                drop(prepared);
                loaded.model.give_up_recording()?;
                Prepared::new(loaded, like)
            }
            other => other.map(|()| prepared),
        }
    }

    /// What was made before belongs to the thread that loaded the model, to which ONNX Runtime keeps what it records.
    fn begin_on_this_thread(&mut self) {
        if !self.has_begun {
            self.has_begun = true;
            self.loaded.model.begin_to_record();
            if self.loaded.model.records() {
                self.prepared.clear();
            }
        }
    }

    fn turn_to_replacement(&mut self) {
        if !self.under_way.is_empty() {
            return;
        }
        if let Some(other) = self.replacement.as_ref().and_then(Replacement::take) {
            self.prepared.clear();
            *self = other;
        }
    }
}

impl BatchSession for CudaSession {
    fn buckets(&self) -> &Buckets {
        &self.loaded.buckets
    }

    fn start(&mut self, pictures: &[ToDetect<'_>]) -> Result<(), ModelError> {
        self.turn_to_replacement();
        self.begin_on_this_thread();
        let pictures = pictures.iter().map(|picture| Ok((memory_of(picture)?, picture.thresholds)));
        self.begin(pictures.collect::<Result<_, ModelError>>()?)
    }

    fn is_done(&mut self) -> Result<bool, ModelError> {
        self.under_way.front().map_or(Ok(true), |started| started.batch.is_done().map_err(failed(&self.loaded.name)))
    }

    fn finish(&mut self, take: &mut dyn FnMut(&[Detection])) -> Result<StageTimes, ModelError> {
        let Some(mut started) = self.under_way.pop_front() else { return Ok(StageTimes::default()) };
        let begun = Instant::now();
        let (finished, times) = started.batch.finish().map_err(failed(&self.loaded.name))?;
        let waited = begun.elapsed().as_secs_f64();
        let taking = Taking {
            head: &started.head,
            manifest: &self.loaded.manifest,
            candidates: &mut self.candidates,
            detections: &mut self.detections,
        };
        match finished {
            Finished::Survivors(survivors) => {
                self.survivors.clear();
                self.survivors.extend_from_slice(survivors);
                taking.survivors(&mut self.survivors, &started.pictures, take);
            }
            Finished::Outputs(outputs) => {
                let taken = self.values.read(outputs, |views| taking.outputs(views, &started.pictures, take));
                let invalid = |problem| ModelError::Invalid { model: self.loaded.name.clone(), problem };
                taken.and_then(|taken| taken).map_err(invalid)?;
            }
        }
        let on_host = begun.elapsed().as_secs_f64() - waited;
        let Started { batch, bucket, head, .. } = started;
        if let Some(prepared) = self.prepared.iter_mut().find(|prepared| prepared.size == head.model) {
            prepared.give_back(bucket, batch);
        }
        Ok(StageTimes { preprocess: times.preprocess, infer: times.model, postprocess: times.postprocess + on_host })
    }
}

fn memory_of<'a>(picture: &ToDetect<'a>) -> Result<PictureMemory<'a>, ModelError> {
    let frame = picture.frame;
    let on_host = frame.picture().map(PictureMemory::Host);
    let on_device = || frame.device_picture().map(|picture| PictureMemory::Device(Arc::clone(picture)));
    on_host.or_else(on_device).ok_or_else(|| ModelError::PictureInvalid { problem: "it is nowhere".to_owned() })
}

/// What takes the detections out of a batch.
struct Taking<'a> {
    head: &'a Head,
    manifest: &'a Manifest,
    candidates: &'a mut Vec<Candidate>,
    detections: &'a mut Vec<Detection>,
}

impl Taking<'_> {
    fn survivors(self, survivors: &mut [Survivor], pictures: &[StartedPicture], take: &mut dyn FnMut(&[Detection])) {
        survivors.sort_unstable_by_key(|survivor| survivor.picture);
        let mut rest = &*survivors;
        for (index, StartedPicture { letterbox, thresholds }) in (0..).zip(pictures) {
            let (own, others) = rest.split_at(rest.partition_point(|survivor| survivor.picture <= index));
            rest = others;
            self.candidates.clear();
            self.candidates.extend(own.iter().filter_map(|survivor| self.head.candidate(survivor, wanted(thresholds))));
            let found = Found { head: self.head, manifest: self.manifest, letterbox };
            found.select(thresholds, self.candidates, self.detections);
            take(self.detections);
        }
    }

    fn outputs(
        self,
        views: &[crate::heads::OutputView<'_>],
        pictures: &[StartedPicture],
        take: &mut dyn FnMut(&[Detection]),
    ) -> Result<(), String> {
        self.head.check(views)?;
        for (index, StartedPicture { letterbox, thresholds }) in pictures.iter().enumerate() {
            let own = of_picture(views, index);
            self.candidates.clear();
            self.head.decode(&own[..views.len()], wanted(thresholds), self.candidates);
            let found = Found { head: self.head, manifest: self.manifest, letterbox };
            found.select(thresholds, self.candidates, self.detections);
            take(self.detections);
        }
        Ok(())
    }
}

fn wanted(thresholds: &Thresholds) -> Wanted<'_> {
    Wanted { confidence: thresholds.confidence, classes: thresholds.classes.as_deref() }
}
