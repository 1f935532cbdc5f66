//! The one thread of a device: makes batches of the frames of all sources, and keeps two of them under way.
//!
//! ```text
//! Line ─► batch ─► start ─► under way (at most 2) ─► finish ─► each frame's writer
//!          ▲                                 │ out of memory: half the batch, once
//!          └───────────── put back ──────────┘ lost device: the process ends
//! ```

use super::line::{Next, Wish};
use super::pool::Shared;
use super::under_way::Mark;
use super::{FrameToInfer, InferredFrame, or_panic};
use crate::error::JobError;
use crate::write::ToWriter;
use framefleet_contract::detection::Detection;
use framefleet_contract::detection_file::Row;
use framefleet_contract::summary::StageTime;
use framefleet_models::device::{BatchSession, Device, IN_FLIGHT, ToDetect};
use framefleet_models::{ModelError, Serving, StageTimes};
use framefleet_native::cuda::CudaError;
use framefleet_native::ffmpeg::decode::Frame;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a frame may wait for others to fill its batch, while the device is at work on other ones.
pub(super) const DEADLINE: Duration = Duration::from_millis(5);
/// Between two looks at whether the device is done with a batch, while there are no frames for the next one: far less than a
/// batch takes.
const LOOK: Duration = Duration::from_micros(200);
/// Sessions that are kept: that of a model and, for a while, of the one that takes its place.
const KEPT: usize = 2;

pub(super) struct DeviceThread<'a> {
    shared: &'a Shared,
    device: &'a Arc<dyn Device>,
    mark: &'a Mark,
    /// The one used last at the end.
    loaded: Vec<Loaded>,
    under_way: VecDeque<Batch>,
    /// When the device was done with the batch before.
    last_done: Instant,
    /// Frames that a lost device cannot answer. They are kept, so that their sources neither end nor take them for done.
    lost: Vec<FrameToInfer>,
}

struct Loaded {
    serving: Arc<Serving>,
    session: Box<dyn BatchSession>,
    /// Its memory did not suffice once before.
    halved: bool,
}

struct Batch {
    frames: Vec<FrameToInfer>,
    started: Instant,
}

impl<'a> DeviceThread<'a> {
    pub fn new(shared: &'a Shared, device: &'a Arc<dyn Device>, mark: &'a Mark) -> Self {
        Self {
            shared,
            device,
            mark,
            loaded: Vec::new(),
            under_way: VecDeque::with_capacity(IN_FLIGHT),
            last_done: Instant::now(),
            lost: Vec::new(),
        }
    }

    /// Works until the line is closed and empty. Once the device is lost, it only waits: somebody else ends the process.
    pub fn run(&mut self) {
        let mut sources_left = 0;
        let mut frames = Vec::new();
        while !self.mark.is_lost() {
            if self.has_one_done() {
                self.finish();
                continue;
            }
            match self.next(&mut sources_left, &mut frames) {
                Next::Item(()) => self.begin(std::mem::take(&mut frames)),
                Next::SourceLeft => self.keep_wanted(),
                Next::Nothing => {}
                // Only where nothing is under way.
                Next::Closed => return,
            }
        }
        self.shared.line.wait_until_closed();
    }

    /// Also where it does not know yet, and no more may be started.
    fn has_one_done(&mut self) -> bool {
        let Some(first) = self.under_way.front() else { return false };
        if self.under_way.len() == IN_FLIGHT {
            return true;
        }
        let serving = Arc::clone(first.serving());
        // What goes wrong here is met again by whoever takes the batch.
        self.session_of(&serving).is_none_or(|loaded| loaded.session.is_done().unwrap_or(true))
    }

    fn next(&self, sources_left: &mut u64, frames: &mut Vec<FrameToInfer>) -> Next<()> {
        let wish = Wish {
            largest: &|frame: &FrameToInfer| self.largest(&frame.source.serving),
            alike: &|one: &FrameToInfer, other: &FrameToInfer| {
                let may_share = !(one.alone || other.alone) || Arc::ptr_eq(&one.source, &other.source);
                may_share
                    && one.input_size == other.input_size
                    && Arc::ptr_eq(&one.source.serving, &other.source.serving)
            },
            deadline: DEADLINE,
            patience: (!self.under_way.is_empty()).then_some(LOOK),
        };
        self.shared.line.next_batch(sources_left, &wish, frames)
    }

    /// What the model's session takes. Where there is none yet, the first batch is a single frame.
    fn largest(&self, serving: &Arc<Serving>) -> usize {
        let loaded = self.loaded.iter().find(|loaded| Arc::ptr_eq(&loaded.serving, serving));
        loaded.map_or(1, |loaded| loaded.session.buckets().largest())
    }

    fn begin(&mut self, mut frames: Vec<FrameToInfer>) {
        frames.retain(|frame| !frame.source.stop.is_asked());
        let Some(serving) = frames.first().map(|frame| Arc::clone(&frame.source.serving)) else { return };
        if let Err(broken) = self.load(&serving) {
            return self.give_up(frames, &broken);
        }
        let started = Instant::now();
        let mark = self.mark;
        let outcome = self.session_of(&serving).map(|loaded| {
            let _inside = mark.enter(&serving);
            let pictures: Vec<ToDetect<'_>> = frames
                .iter()
                .map(|frame| ToDetect { frame: &frame.decoded.frame, thresholds: &frame.source.thresholds })
                .collect();
            or_panic(|| loaded.session.start(&pictures))
        });
        frames.iter().for_each(FrameToInfer::keep_for_comparison);
        ::metrics::histogram!("framefleet_batch_frames").record(frames.len() as f64);
        match outcome.map(|outcome| Broken::of(outcome, &serving)) {
            Some(Err(broken)) => self.broke(&serving, frames, &broken),
            _ => self.under_way.push_back(Batch { frames, started }),
        }
    }

    /// Waits for the batch that was started first, and sends its frames on.
    fn finish(&mut self) {
        let Some(batch) = self.under_way.pop_front() else { return };
        let serving = Arc::clone(batch.serving());
        let Batch { mut frames, started } = batch;
        let mark = self.mark;
        let mut found: Vec<Vec<Row>> = Vec::with_capacity(frames.len());
        let outcome = self.session_of(&serving).map(|loaded| {
            let _inside = mark.enter(&serving);
            let mut left = frames.iter_mut();
            or_panic(|| {
                loaded.session.finish(&mut |detections: &[Detection]| {
                    if let Some(frame) = left.next() {
                        found.push(frame.rows_of(detections));
                    }
                })
            })
        });
        let outcome = outcome.map(|outcome| Broken::of(outcome, &serving));
        match outcome.map(|outcome| outcome.and_then(|times| answered(&serving, &frames, &found).map(|()| times))) {
            Some(Ok(times)) => self.answer(frames, found, started, times),
            Some(Err(broken)) => self.broke(&serving, frames, &broken),
            // Its session is gone, and it should have gone with it.
            None => self.put_back(frames),
        }
    }

    /// A batch took the device from its start, or from the end of the one before, to its end. Each frame has an equal part.
    fn answer(&mut self, frames: Vec<FrameToInfer>, found: Vec<Vec<Row>>, started: Instant, times: StageTimes) {
        let now = Instant::now();
        let share = 1.0 / frames.len().max(1) as f64;
        let busy_s = (now - started.max(self.last_done)).as_secs_f64() * share;
        self.last_done = now;
        let parts = StageTimes {
            preprocess: times.preprocess * share,
            infer: times.infer * share,
            postprocess: times.postprocess * share,
        };
        for (frame, rows) in frames.into_iter().zip(found) {
            let FrameToInfer { turn, decoded, source, .. } = frame;
            let message = ToWriter::Frame(InferredFrame { segment: decoded.segment, turn, rows });
            drop(decoded);
            match source.results.send(message) {
                Ok(()) => source.count(StageTime { threads: 1, busy_s, ..StageTime::default() }, parts),
                Err(_) => source.stop.fail(),
            }
        }
    }

    /// A session that failed with these frames is no use any more. All that it had is tried again: with half the batch where
    /// memory was short, once; and where it was not, the frames that failed by themselves.
    fn broke(&mut self, serving: &Arc<Serving>, failed: Vec<FrameToInfer>, broken: &Broken) {
        let Some(at) = self.position(serving) else { return self.put_back(failed) };
        let Loaded { session, halved, .. } = self.loaded.remove(at);
        let half = session.buckets().half().filter(|_| !halved && broken.is_out_of_memory());
        // Before there is another one: its memory is what is missing.
        drop(session);
        let others = self.take_under_way(serving);
        let Some(half) = half else {
            self.part(failed, broken);
            return self.put_back(others);
        };
        self.give_back_at_rest();
        tracing::warn!("{broken}: going on with at most {half} pictures at once");
        let frames = failed.into_iter().chain(others).collect();
        match self.make(serving, half) {
            Ok(session) => {
                self.loaded.push(Loaded { serving: Arc::clone(serving), session, halved: true });
                self.put_back(frames);
            }
            Err(broken) => self.give_up(frames, &broken),
        }
    }

    /// What one source is to blame for must not be its neighbours' end: frames of several sources are tried again, each
    /// source's by themselves.
    fn part(&mut self, mut frames: Vec<FrameToInfer>, broken: &Broken) {
        let of_one_source = frames.iter().all(|frame| Arc::ptr_eq(&frame.source, &frames[0].source));
        if broken.is_lost_device() || of_one_source {
            return self.give_up(frames, broken);
        }
        tracing::warn!("{broken}: trying the videos of this batch one by one");
        for frame in &mut frames {
            frame.alone = true;
        }
        self.put_back(frames);
    }

    /// The sources of these frames end with the error. Where the device is lost, so does the process, and whoever ends it
    /// says why.
    fn give_up(&mut self, frames: Vec<FrameToInfer>, broken: &Broken) {
        if let Broken::Model(ModelError::Device(error @ CudaError::Lost { .. })) = broken {
            self.lost.extend(frames);
            return self.mark.lose(error.clone());
        }
        for frame in frames.iter().filter(|frame| !frame.source.stop.is_asked()) {
            // If its writer is gone, nobody is left to be told.
            let _ = frame.source.results.send(ToWriter::Failed(broken.clone().into()));
            frame.source.stop.fail();
        }
    }

    fn take_under_way(&mut self, serving: &Arc<Serving>) -> Vec<FrameToInfer> {
        let batches = std::mem::take(&mut self.under_way);
        let (its_own, others) = batches.into_iter().partition(|batch| Arc::ptr_eq(batch.serving(), serving));
        self.under_way = others;
        let its_own: VecDeque<Batch> = its_own;
        its_own.into_iter().flat_map(|batch| batch.frames).collect()
    }

    fn put_back(&self, frames: Vec<FrameToInfer>) {
        self.shared.line.put_back(frames.into_iter().map(|frame| (frame.source.id(), frame)));
    }

    fn load(&mut self, serving: &Arc<Serving>) -> Result<(), Broken> {
        if let Some(at) = self.position(serving) {
            self.loaded[at..].rotate_left(1);
            return Ok(());
        }
        let is_at_rest =
            |loaded: &Loaded| !self.under_way.iter().any(|batch| Arc::ptr_eq(batch.serving(), &loaded.serving));
        // Before there is one more, so that there are no more than are kept.
        if self.loaded.len() >= KEPT
            && let Some(at) = self.loaded.iter().position(is_at_rest)
        {
            self.loaded.remove(at).give_back();
        }
        let wanted = self.device.largest_batch();
        let session = match self.make(serving, wanted) {
            // Models that nobody looks with now may have what is missing.
            Err(broken) if broken.is_out_of_memory() && self.give_back_at_rest() => self.make(serving, wanted)?,
            other => other?,
        };
        self.loaded.push(Loaded { serving: Arc::clone(serving), session, halved: false });
        Ok(())
    }

    /// Ends the sessions that have nothing under way. `false` where there are none.
    fn give_back_at_rest(&mut self) -> bool {
        let under_way = &self.under_way;
        let is_at_rest =
            |loaded: &mut Loaded| !under_way.iter().any(|batch| Arc::ptr_eq(batch.serving(), &loaded.serving));
        self.loaded.extract_if(.., is_at_rest).count() > 0
    }

    fn make(&self, serving: &Arc<Serving>, largest: usize) -> Result<Box<dyn BatchSession>, Broken> {
        Broken::of(or_panic(|| serving.on_device(self.device, largest)), serving)
    }

    /// Gives back the sessions of models that nobody wants. Where another version took the model's place, that frees them.
    fn keep_wanted(&mut self) {
        let under_way = &self.under_way;
        let is_wanted = |loaded: &mut Loaded| {
            self.shared.wants(&loaded.serving)
                || under_way.iter().any(|batch| Arc::ptr_eq(batch.serving(), &loaded.serving))
        };
        self.loaded.extract_if(.., |loaded| !is_wanted(loaded)).for_each(Loaded::give_back);
    }

    fn session_of(&mut self, serving: &Arc<Serving>) -> Option<&mut Loaded> {
        let at = self.position(serving)?;
        self.loaded.get_mut(at)
    }

    fn position(&self, serving: &Arc<Serving>) -> Option<usize> {
        self.loaded.iter().position(|loaded| Arc::ptr_eq(&loaded.serving, serving))
    }
}

impl Loaded {
    fn give_back(self) {
        self.serving.give_back(self.session);
    }
}

impl Batch {
    /// Batches have a frame at least, and all of one model.
    fn serving(&self) -> &Arc<Serving> {
        &self.frames[0].source.serving
    }
}

impl FrameToInfer {
    /// Where it is time for one, a picture on a GPU is copied to the host: once a second.
    fn keep_for_comparison(&self) {
        let now = Instant::now();
        let Some(recorded) = self.source.recorded.as_ref().filter(|recorded| recorded.is_due(now)) else { return };
        let copy = self.decoded.frame.picture().is_none().then(|| self.decoded.frame.to_host());
        let on_host = match &copy {
            None => Some(&self.decoded.frame),
            // If it cannot be copied, whoever waits for the batch says why.
            Some(copied) => copied.as_ref().ok(),
        };
        if let Some(picture) = on_host.and_then(Frame::picture) {
            recorded.offer(&picture, now);
        }
    }

    fn rows_of(&mut self, detections: &[Detection]) -> Vec<Row> {
        let mut rows = std::mem::take(&mut self.rows);
        let (frame, pts_us) = (self.decoded.number, self.decoded.pts_us);
        rows.extend(detections.iter().map(|&detection| Row { frame, pts_us, track_id: None, detection }));
        rows
    }
}

/// Every frame has its detections: of one without, nobody would ever hear.
fn answered(serving: &Serving, frames: &[FrameToInfer], found: &[Vec<Row>]) -> Result<(), Broken> {
    if frames.len() == found.len() {
        return Ok(());
    }
    let problem = format!("of {} pictures it answered {}", frames.len(), found.len());
    Err(Broken::Model(ModelError::InferenceFailed { model: serving.checked().model.name.clone(), problem }))
}

/// Why a batch has no detections.
#[derive(Debug, Clone, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Model(ModelError),
    #[error("model {model} broke down ({reason})")]
    Panicked { model: String, reason: String },
}

impl Broken {
    /// What a session answered, or what it panicked with.
    fn of<T>(outcome: Result<Result<T, ModelError>, String>, serving: &Serving) -> Result<T, Self> {
        match outcome {
            Ok(answered) => answered.map_err(Self::Model),
            Err(reason) => Err(Self::Panicked { model: serving.checked().model.name.clone(), reason }),
        }
    }

    fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Model(error) if error.is_out_of_memory())
    }

    fn is_lost_device(&self) -> bool {
        matches!(self, Self::Model(error) if error.is_lost_device())
    }
}

impl From<Broken> for JobError {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Model(error) => Self::Model(error),
            Broken::Panicked { model, reason } => Self::DetectorPanicked { model, reason },
        }
    }
}
