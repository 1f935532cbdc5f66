//! Joins the stages: decode ► infer × N ► write. The only file that knows who is whose neighbour.
//!
//! Every stage ends because its senders are dropped: the decoder after the last segment, the detectors when no frame is
//! left, the writer when no detector is. A stage that fails drops its end of a channel, and its neighbours end too.

use crate::decode::SegmentDecoder;
use crate::error::{JobError, Result};
use crate::infer::{FrameToInfer, infer};
use crate::interrupt::Stop;
use crate::progress::Progress;
use crate::stage_clock::{self, StageClock};
use crate::write::{ToWriter, write};
use crossbeam_channel::{Sender, bounded};
use framefleet_contract::detection_file::SegmentInfo;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::plan::{Plan, Segment};
use framefleet_contract::summary::{InferParts, StageTime};
use framefleet_models::{Lease, RecordedFrames, Thresholds};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use std::collections::BTreeMap;
use std::thread::{Builder, ScopedJoinHandle};
use std::time::Instant;

/// Two frames for each inference thread: one is ready when the thread comes for it, and one more evens out a decoder
/// that gives frames in bursts. At 1080p a frame is 3 MB, so this is 6 MB a thread.
const FRAMES_PER_INFERENCE_THREAD: usize = 2;
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
    pub class_names: &'a [String],
    pub thresholds: &'a Thresholds,
    /// Takes pictures for the next version of the model to be compared on.
    pub recorded: Option<&'a RecordedFrames>,
    /// Every how many frames one is inferred.
    pub every: u32,
}

/// What detecting came to.
#[derive(Debug, Default)]
pub struct Detected {
    /// Where the time went.
    pub stages: BTreeMap<String, StageTime>,
    pub infer_parts: Option<InferParts>,
    /// When the first frame came out with its detections.
    pub first_detection: Option<Instant>,
}

/// Detects the given segments and publishes each.
pub fn detect(work: &Detection<'_>, detectors: &mut [Lease], progress: &Progress, stop: &Stop) -> Result<Detected> {
    let (frame_sender, frames) = bounded(FRAMES_PER_INFERENCE_THREAD * detectors.len());
    let (result_sender, results) = bounded(RESULTS);
    let (empty_sender, empty) = bounded(RESULTS);
    let stages = &stop.for_stages();
    std::thread::scope(|scope| {
        let decoder = {
            let results = result_sender.clone();
            let name = "decode".to_owned();
            Builder::new().name(name).spawn_scoped(scope, move || {
                let _watch = FailOnPanic(stages);
                decode(work, stages, &frame_sender, &results)
            })
        };
        let mut inferring = Vec::new();
        for (i, detector) in detectors.iter_mut().enumerate() {
            let (frames, results, empty) = (frames.clone(), result_sender.clone(), empty.clone());
            let thread = Builder::new().name(format!("infer-{i}"));
            inferring.push(thread.spawn_scoped(scope, move || {
                let _watch = FailOnPanic(stages);
                infer(detector, work, &frames, &results, &empty).inspect_err(|_| stages.fail())
            }));
        }
        if decoder.is_err() || inferring.iter().any(std::io::Result::is_err) {
            stages.fail();
        }
        drop((frames, result_sender));
        let written = write(work.folder, work.class_names, &results, &empty_sender, progress);
        drop(results);
        let decoded = join(decoder);
        let inferred: Result<Vec<(StageTime, InferParts)>> = inferring.into_iter().map(join).collect();
        // A stage that failed starves the others: its error comes before what they say.
        let (written, inferred, decoded) = (written?, inferred?, decoded?);
        stop.check()?;
        let stages = BTreeMap::from([
            ("decode".to_owned(), decoded),
            ("infer".to_owned(), stage_clock::sum(inferred.iter().map(|(time, _)| *time))),
            ("write".to_owned(), written.time),
        ]);
        let infer_parts = Some(sum_of_parts(inferred.iter().map(|(_, parts)| parts)));
        Ok(Detected { stages, infer_parts, first_detection: written.first_detection })
    })
}

fn sum_of_parts<'a>(parts: impl Iterator<Item = &'a InferParts>) -> InferParts {
    parts.fold(InferParts::default(), |sum, parts| InferParts {
        preprocess_s: sum.preprocess_s + parts.preprocess_s,
        model_s: sum.model_s + parts.model_s,
        postprocess_s: sum.postprocess_s + parts.postprocess_s,
    })
}

/// Ends the other stages when the thread that holds it panics.
struct FailOnPanic<'a>(&'a Stop);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail();
        }
    }
}

/// The decoder's thread: segments in their order, and only the frames that are to be inferred.
fn decode(
    work: &Detection<'_>,
    stop: &Stop,
    frames: &Sender<FrameToInfer>,
    results: &Sender<ToWriter>,
) -> Result<StageTime> {
    let mut clock = StageClock::start();
    let mut decoder = SegmentDecoder::new(work.video, work.limits, work.plan, work.folder, stop);
    let decoded_total = ::metrics::counter!("framefleet_frames_decoded_total");
    let damaged_total = ::metrics::counter!("framefleet_frames_damaged_total");
    for segment in work.segments {
        let attempt = work.folder.begin_attempt(segment.index)?;
        if attempt.lost_before > 0 {
            let before = attempt.lost_before;
            tracing::info!("segment {} was begun {before} time(s) before and not finished", segment.index);
        }
        let mut inferred = 0;
        let mut wanted = true;
        let counts = decoder.decode(segment, &mut |frame| {
            if frame.number % i64::from(work.every) != 0 {
                return true;
            }
            let frame = FrameToInfer { turn: inferred, decoded: frame };
            inferred += 1;
            wanted = clock.blocked(|| frames.send(frame)).is_ok();
            wanted
        })?;
        if !wanted {
            break;
        }
        decoded_total.increment(counts.decoded);
        damaged_total.increment(counts.damaged);
        let info = SegmentInfo {
            index: segment.index,
            decoded: counts.decoded,
            damaged: counts.damaged,
            inferred,
            end_frame: counts.end_frame,
            first_picture: counts.first_picture,
            next_picture: counts.next_picture,
            ..SegmentInfo::default()
        };
        if results.send(ToWriter::End(info, attempt)).is_err() {
            break;
        }
    }
    Ok(clock.stop())
}

fn join<T>(thread: std::io::Result<ScopedJoinHandle<'_, Result<T>>>) -> Result<T> {
    thread.map_err(|_| JobError::ThreadLost)?.join().map_err(|_| JobError::ThreadLost)?
}
