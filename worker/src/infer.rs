//! Finds the objects in decoded frames: one detector per thread, one frame at a time.

use crate::decode::DecodedFrame;
use crate::error::Result;
use crate::pipeline::Detection;
use crate::stage_clock::StageClock;
use crate::write::ToWriter;
use crossbeam_channel::{Receiver, Sender};
use framefleet_contract::detection_file::Row;
use framefleet_contract::summary::{InferParts, StageTime};
use framefleet_models::Detector;
use std::time::Instant;

/// A frame on its way to a detector: the `turn`-th of its segment that is inferred.
#[derive(Debug)]
pub struct FrameToInfer {
    pub turn: u64,
    pub decoded: DecodedFrame,
}

/// The detections of one frame, best first.
#[derive(Debug)]
pub struct InferredFrame {
    pub segment: u32,
    pub turn: u64,
    pub rows: Vec<Row>,
}

/// Runs until the decoder's side of the channel is closed. Takes the lists that it fills from `empty`, while there are any.
pub fn infer(
    detector: &mut Detector,
    work: &Detection<'_>,
    frames: &Receiver<FrameToInfer>,
    results: &Sender<ToWriter>,
    empty: &Receiver<Vec<Row>>,
) -> Result<(StageTime, InferParts)> {
    let mut clock = StageClock::start();
    let mut parts = InferParts::default();
    let inferred = ::metrics::counter!("framefleet_frames_inferred_total");
    while let Ok(FrameToInfer { turn, decoded: frame }) = clock.starved(|| frames.recv()) {
        let picture = frame.frame.picture();
        if let Some(recorded) = work.recorded {
            recorded.offer(&picture, Instant::now());
        }
        let detections = detector.detect(&picture, work.thresholds)?;
        let row = |detection| Row { frame: frame.number, pts_us: frame.pts_us, track_id: None, detection };
        let mut rows = empty.try_recv().unwrap_or_default();
        rows.extend(detections.iter().copied().map(row));
        let times = detector.last_times();
        parts.preprocess_s += times.preprocess;
        parts.model_s += times.infer;
        parts.postprocess_s += times.postprocess;
        let result = InferredFrame { segment: frame.segment, turn, rows };
        // The picture's memory goes back to the decoder before this thread may have to wait.
        drop(frame);
        inferred.increment(1);
        if clock.blocked(|| results.send(ToWriter::Frame(result))).is_err() {
            break;
        }
    }
    Ok((clock.stop(), parts))
}
