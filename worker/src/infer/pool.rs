//! The inference threads, and the frames on their way to them.

use super::device_thread::DeviceThread;
use super::line::{Line, Next, SourceId};
use super::recent_sessions::RecentSessions;
use super::under_way::{Mark, UnderWay};
use super::{FrameSource, FrameToInfer, Tally, infer};
use crate::decode::DecodedFrame;
use crate::error::{JobError, Result};
use crate::write::ToWriter;
use crossbeam_channel::RecvTimeoutError;
use framefleet_contract::detection_file::{Row, SegmentInfo};
use framefleet_contract::summary::StageTime;
use framefleet_models::device::Device;
use framefleet_models::letterbox::Letterbox;
use framefleet_models::{Serving, StageTimes};
use framefleet_native::cuda::CudaError;
use framefleet_native::ffmpeg::hardware::Hardware;
use metrics::Counter;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Two frames for each inference thread: one is ready when the thread comes for it, and one more evens out a decoder
/// that gives frames in bursts. At 1080p a frame is 3 MB, so this is 6 MB a thread.
const FRAMES_PER_INFERENCE_THREAD: usize = 2;
/// For a device, which takes many frames at once: those of the next batch, and those of one more that gather while it waits.
/// At 1080p a frame is 3 MB in the device's memory, so with batches of 32 this is 200 MB.
const BATCHES_IN_LINE: usize = 2;
/// Between two looks of a source that waits for its writer at whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// Threads that look at frames of several jobs and models at once. They end when this is dropped.
#[derive(Debug)]
pub struct InferencePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    under_way: UnderWay,
    on: Option<OnDevice>,
}

/// A device that models run on, and the decoder beside it.
#[derive(Debug, Clone)]
pub struct OnDevice {
    pub device: Arc<dyn Device>,
    /// Gives pictures that are on the device already.
    pub hardware: Option<Arc<Hardware>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub line: Line<FrameToInfer>,
    /// The models of the sources that are open.
    wanted: Mutex<Vec<Arc<Serving>>>,
}

impl InferencePool {
    /// Starts `infer-0` and so on: one for each core is best, since each works alone.
    pub fn start(threads: usize) -> Result<Self> {
        let mut pool = Self::new(FRAMES_PER_INFERENCE_THREAD * threads, threads);
        for i in 0..threads {
            pool.spawn(format!("infer-{i}"), move |shared, under_way| work(shared, under_way.mark(i)))?;
        }
        Ok(pool)
    }

    /// Starts the one thread of a device, which looks at frames in batches.
    pub fn on_device(on: OnDevice) -> Result<Self> {
        let device = Arc::clone(&on.device);
        let mut pool = Self::new(BATCHES_IN_LINE * device.largest_batch(), 1);
        pool.on = Some(on);
        pool.spawn("infer-device".to_owned(), move |shared, under_way| {
            DeviceThread::new(shared, &device, under_way.mark(0)).run();
        })?;
        Ok(pool)
    }

    fn new(capacity: usize, threads: usize) -> Self {
        let shared = Arc::new(Shared { line: Line::new(capacity), wanted: Mutex::default() });
        Self { shared, threads: Vec::with_capacity(threads), under_way: UnderWay::of(threads), on: None }
    }

    fn spawn(&mut self, name: String, run: impl FnOnce(&Shared, &UnderWay) + Send + 'static) -> Result<()> {
        let (shared, under_way) = (Arc::clone(&self.shared), self.under_way.clone());
        let failed = format!("the inference thread {name} cannot be started");
        let thread = Builder::new().name(name).spawn(move || run(&shared, &under_way));
        self.threads.push(thread.map_err(|e| JobError::BadRequest(format!("{failed}: {e}")))?);
        Ok(())
    }

    pub fn threads(&self) -> u32 {
        self.threads.len() as u32
    }

    /// What decodes for these threads, where that is not software.
    pub fn hardware(&self) -> Option<&Arc<Hardware>> {
        self.on.as_ref().and_then(|on| on.hardware.as_ref())
    }

    /// What the device is called; `None` for the CPU.
    pub fn device(&self) -> Option<&str> {
        self.on.as_ref().map(|on| on.device.description())
    }

    /// Asks for the end of the process, since the device does not answer it any more, and waits for that. Whoever came to know
    /// it neither fails nor is done: another process takes the work up.
    pub fn lose(&self, error: CudaError) {
        if let Some(mark) = self.under_way.first() {
            mark.lose(error);
        }
        self.shared.line.wait_until_closed();
    }

    /// For a watchdog, which may outlive this.
    pub fn under_way(&self) -> UnderWay {
        self.under_way.clone()
    }

    /// Takes frames of this source until what it gives is dropped. The tally is whole when all of them are answered,
    /// which is when the last sender of the source's results is gone.
    pub fn open(&self, source: FrameSource) -> (Arc<OpenSource>, Arc<Mutex<Tally>>) {
        let tally = Arc::<Mutex<Tally>>::default();
        self.shared.wanted().push(Arc::clone(&source.serving));
        let open = OpenSource {
            source,
            id: self.shared.line.join(),
            shared: Arc::clone(&self.shared),
            tally: Arc::clone(&tally),
            idle_before: self.shared.line.idle_s(),
            inferred: ::metrics::counter!("framefleet_frames_inferred_total"),
        };
        (Arc::new(open), tally)
    }
}

impl Drop for InferencePool {
    fn drop(&mut self) {
        self.shared.line.close();
        for thread in self.threads.drain(..) {
            // One that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    pub fn wants(&self, serving: &Arc<Serving>) -> bool {
        self.wanted().iter().any(|wanted| Arc::ptr_eq(wanted, serving))
    }

    fn wanted(&self) -> MutexGuard<'_, Vec<Arc<Serving>>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source that has a place in the line, until it and all of its frames are gone.
pub struct OpenSource {
    source: FrameSource,
    id: SourceId,
    shared: Arc<Shared>,
    tally: Arc<Mutex<Tally>>,
    idle_before: f64,
    inferred: Counter,
}

impl OpenSource {
    /// Hands over the `turn`-th frame of its segment that is to be inferred, as soon as it is this source's turn. `false`
    /// when nobody wants it.
    pub fn send(self: &Arc<Self>, turn: u64, decoded: DecodedFrame) -> bool {
        let Some(rows) = self.list() else { return false };
        let manifest = &self.serving.checked().model.manifest;
        let input_size = Letterbox::new(manifest, decoded.frame.display()).model;
        let frame = FrameToInfer { turn, decoded, rows, alone: false, input_size, source: Arc::clone(self) };
        self.shared.line.push(self.id, frame, || self.stop.is_asked()).is_ok()
    }

    pub(super) fn id(&self) -> SourceId {
        self.id
    }

    /// Tells the writer that all frames of a segment are sent. `false` when it is not there any more.
    pub fn end(&self, info: SegmentInfo) -> bool {
        self.list().is_some() && self.results.send(ToWriter::End(info)).is_ok()
    }

    /// Waits until the writer has room for one more message.
    fn list(&self) -> Option<Vec<Row>> {
        while !self.stop.is_asked() {
            match self.lists.recv_timeout(PATIENCE) {
                Ok(rows) => return Some(rows),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        None
    }

    pub(super) fn count(&self, time: StageTime, parts: StageTimes) {
        self.inferred.increment(1);
        let mut tally = self.tally();
        tally.frames += 1;
        tally.busy_s += time.busy_s;
        tally.blocked_s += time.blocked_s;
        tally.parts.preprocess_s += parts.preprocess;
        tally.parts.model_s += parts.infer;
        tally.parts.postprocess_s += parts.postprocess;
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for OpenSource {
    type Target = FrameSource;

    fn deref(&self) -> &FrameSource {
        &self.source
    }
}

impl std::fmt::Debug for OpenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSource").field("source", &self.source).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for OpenSource {
    fn drop(&mut self) {
        self.tally().idle_s = self.shared.line.idle_s() - self.idle_before;
        let mut wanted = self.shared.wanted();
        if let Some(at) = wanted.iter().position(|serving| Arc::ptr_eq(serving, &self.source.serving)) {
            wanted.swap_remove(at);
        }
        drop(wanted);
        self.shared.line.leave(self.id);
    }
}

/// A thread, from the start of the pool to its end. Sessions are kept as long as a source wants their model.
fn work(shared: &Shared, mark: &Mark) {
    let mut sessions = RecentSessions::default();
    let mut sources_left = 0;
    loop {
        match shared.line.next(&mut sources_left) {
            Next::Item(frame) if frame.source.stop.is_asked() => {}
            Next::Item(frame) => infer(frame, &mut sessions, mark),
            Next::Nothing => {}
            Next::SourceLeft => sessions.keep(|serving| shared.wants(serving)),
            Next::Closed => return,
        }
    }
}
