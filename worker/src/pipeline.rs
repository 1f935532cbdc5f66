//! Joins the stages: decode ► infer ► write. The only file that knows who is whose neighbour.
//!
//! Decoding has a thread of its own for each call, writing is the caller's, and inferring is done by the threads of a pool
//! that all calls share. Every stage ends because its senders are dropped: the decoder after the last segment, the writer
//! when the decoder is done and all frames of the call are answered. A stage that fails asks its call's neighbours to stop.

use crate::decode::SegmentDecoder;
use crate::error::{JobError, Result};
use crate::infer::{FrameSource, InferencePool, OpenSource, Tally};
use crate::interrupt::Stop;
use crate::metrics;
use crate::progress::Progress;
use crate::stage_clock::StageClock;
use crate::write::write;
use crossbeam_channel::bounded;
use framefleet_contract::detection_file::SegmentInfo;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::plan::{Plan, Segment};
use framefleet_contract::summary::{InferParts, StageTime};
use framefleet_models::{RecordedFrames, Serving, Thresholds};
use framefleet_native::cuda::CudaError;
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::thread::{Builder, ScopedJoinHandle};
use std::time::Instant;

/// Detections are small, and the writer is idle nearly always: room for what comes in while it fsyncs a segment.
const RESULTS: usize = 256;

/// What the stages work on.
#[derive(Debug, Clone, Copy)]
pub struct Detection<'a> {
    pub video: &'a Origin,
    pub limits: Limits,
    pub plan: &'a Plan,
    pub folder: &'a JobFolder,
    pub segments: &'a [Segment],
    /// The model.
    pub serving: &'a Arc<Serving>,
    pub thresholds: &'a Thresholds,
    /// Takes pictures for the next version of the model to be compared on.
    pub recorded: Option<&'a RecordedFrames>,
    /// Every how many frames one is inferred.
    pub every: u32,
}

/// What detecting came to.
#[derive(Debug, Clone, Default)]
pub struct Detected {
    /// Where the time went.
    pub stages: BTreeMap<String, StageTime>,
    pub infer_parts: Option<InferParts>,
    /// When the first frame came out with its detections.
    pub first_detection: Option<Instant>,
    pub inferred: Inferred,
}

/// How long the model took for how many frames.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Inferred {
    pub frames: u64,
    /// Seconds of inference threads, with everything before and after the model.
    pub busy_s: f64,
}

/// Detects the given segments and publishes each. Several calls may share the pool at once. When `stop` is asked for, this
/// call ends soon and no other does.
pub fn detect(work: &Detection<'_>, pool: &InferencePool, progress: &Progress, stop: &Stop) -> Result<Detected> {
    let (results, incoming) = bounded(RESULTS);
    let (empty, lists) = bounded(RESULTS);
    (0..RESULTS).for_each(|_| empty.try_send(Vec::new()).expect("it has room for all of them"));
    let stages = &stop.for_stages();
    let (source, tally) = pool.open(FrameSource {
        serving: Arc::clone(work.serving),
        thresholds: work.thresholds.clone(),
        recorded: work.recorded.cloned(),
        results,
        lists,
        stop: stages.clone(),
    });
    std::thread::scope(|scope| {
        let decoder = Builder::new().name("decode".to_owned());
        let decoder = decoder.spawn_scoped(scope, move || {
            let decoded = decode(work, pool, stages, &source);
            // While it waits, it keeps the source, so that the call does not end.
            if let Err(JobError::Media(MediaError::Device(lost @ CudaError::Lost { .. }))) = &decoded {
                pool.lose(lost.clone());
            }
            decoded
        });
        let class_names = &work.serving.checked().model.manifest.classes;
        let written = write(work.folder, class_names, &incoming, &empty, progress).inspect_err(|_| stages.fail());
        // Now whoever still sends to the writer is told that nobody reads.
        drop(incoming);
        let decoded = join(decoder);
        // A failed frame and the writer come first: the decoder was only told to stop.
        let (written, decoded) = (written?, decoded?);
        stop.check()?;
        let tally = *tally.lock().unwrap_or_else(PoisonError::into_inner);
        let stages = BTreeMap::from([
            ("decode".to_owned(), decoded),
            ("infer".to_owned(), time_of(&tally, pool)),
            ("write".to_owned(), written.time),
        ]);
        let inferred = Inferred { frames: tally.frames, busy_s: tally.busy_s };
        Ok(Detected { stages, infer_parts: Some(tally.parts), first_detection: written.first_detection, inferred })
    })
}

/// The time that the threads spent on the frames of another call is neither: this call neither used it nor kept them
/// waiting. For a call alone, it is all the time of all threads.
fn time_of(tally: &Tally, pool: &InferencePool) -> StageTime {
    StageTime { threads: pool.threads(), busy_s: tally.busy_s, starved_s: tally.idle_s, blocked_s: tally.blocked_s }
}

/// The decoder's thread: segments in their order, and only the frames that are to be inferred.
fn decode(work: &Detection<'_>, pool: &InferencePool, stop: &Stop, source: &Arc<OpenSource>) -> Result<StageTime> {
    let mut clock = StageClock::start();
    let mut decoder = SegmentDecoder::new(work.video, work.limits, work.plan, work.folder, stop).on(pool.hardware());
    let damaged_total = ::metrics::counter!("framefleet_frames_damaged_total");
    for segment in work.segments {
        let mut inferred = 0;
        let mut wanted = true;
        let counts = decoder.decode(segment, &mut |frame| {
            if frame.number % i64::from(work.every) != 0 {
                return true;
            }
            wanted = clock.blocked(|| source.send(inferred, frame));
            inferred += 1;
            wanted
        })?;
        if !wanted {
            break;
        }
        metrics::frames_decoded(counts.decoded_on).increment(counts.decoded);
        damaged_total.increment(counts.damaged);
        let info = SegmentInfo {
            index: segment.index,
            decoded: counts.decoded,
            decoded_on: counts.decoded_on,
            software_because: counts.software_because,
            damaged: counts.damaged,
            inferred,
            inferred_on: pool.device().map(str::to_owned),
            end_frame: counts.end_frame,
            first_picture: counts.first_picture,
            next_picture: counts.next_picture,
            ..SegmentInfo::default()
        };
        if !clock.blocked(|| source.end(info)) {
            break;
        }
    }
    Ok(clock.stop())
}

fn join<T>(thread: std::io::Result<ScopedJoinHandle<'_, Result<T>>>) -> Result<T> {
    thread.map_err(|_| JobError::ThreadLost)?.join().map_err(|_| JobError::ThreadLost)?
}
