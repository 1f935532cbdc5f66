//! Finds the objects in decoded frames: on the CPU one session per thread and one frame at a time, on a device one thread
//! and a batch at a time.
//!
//! ```text
//! FrameSource ─┐                      ┌─ infer-0: its sessions ─┐
//! FrameSource ─┼─► Line, in turns ─►──┼─ infer-1                ├─► the writer of the frame's source
//! FrameSource ─┘                      └─ …  or the device's one ┘
//! ```
//!
//! The threads are those of the device and know no job: a frame carries all that it needs.

mod device_thread;
mod line;
mod pool;
mod recent_sessions;
mod under_way;

pub use pool::{InferencePool, OnDevice, OpenSource};
pub use under_way::UnderWay;

use crate::decode::DecodedFrame;
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::stage_clock::StageClock;
use crate::write::ToWriter;
use crossbeam_channel::{Receiver, Sender};
use framefleet_contract::detection_file::Row;
use framefleet_contract::summary::InferParts;
use framefleet_models::letterbox::Size;
use framefleet_models::{RecordedFrames, Serving, StageTimes, Thresholds};
use recent_sessions::RecentSessions;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;
use under_way::Mark;

/// Where frames come from: what all frames of one call have in common.
#[derive(Debug)]
pub struct FrameSource {
    /// The model that looks at them.
    pub serving: Arc<Serving>,
    pub thresholds: Thresholds,
    /// Takes pictures for the next version of the model to be compared on.
    pub recorded: Option<RecordedFrames>,
    pub results: Sender<ToWriter>,
    /// Empty lists of rows. Nothing is sent to `results` without one, and there are no more of them than `results` has
    /// room for: so no thread ever waits for the writer of one source while others have work.
    pub lists: Receiver<Vec<Row>>,
    /// Frames of a source that is to stop are thrown away.
    pub stop: Stop,
}

/// A frame on its way to a detector: the `turn`-th of its segment that is inferred.
#[derive(Debug)]
struct FrameToInfer {
    turn: u64,
    decoded: DecodedFrame,
    /// To be filled.
    rows: Vec<Row>,
    /// A batch with frames of other sources failed before.
    alone: bool,
    /// Of the model's input: pictures go together only where they have one.
    input_size: Size,
    source: Arc<OpenSource>,
}

/// The detections of one frame, best first.
#[derive(Debug)]
pub struct InferredFrame {
    pub segment: u32,
    pub turn: u64,
    pub rows: Vec<Row>,
}

/// What the frames of one source came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub frames: u64,
    /// Seconds of threads that worked on them.
    pub busy_s: f64,
    pub blocked_s: f64,
    /// Seconds in which threads had nothing to do, neither for this source nor for another, while this one was open.
    pub idle_s: f64,
    pub parts: InferParts,
}

/// Looks at one frame. What goes wrong is its source's matter alone.
fn infer(frame: FrameToInfer, sessions: &mut RecentSessions, mark: &Mark) {
    let mut clock = StageClock::start();
    let FrameToInfer { turn, decoded, rows, source, .. } = frame;
    let segment = decoded.segment;
    let seen = look(&source, &decoded, rows, sessions, mark);
    // The picture's memory goes back to the decoder first.
    drop(decoded);
    let (message, times) = match seen {
        Ok((rows, times)) => (ToWriter::Frame(InferredFrame { segment, turn, rows }), Some(times)),
        Err(error) => (ToWriter::Failed(error), None),
    };
    let wanted = clock.blocked(|| source.results.send(message)).is_ok();
    match times.filter(|_| wanted) {
        Some(times) => source.count(clock.stop(), times),
        None => source.stop.fail(),
    }
}

fn look(
    source: &FrameSource,
    decoded: &DecodedFrame,
    mut rows: Vec<Row>,
    sessions: &mut RecentSessions,
    mark: &Mark,
) -> Result<(Vec<Row>, StageTimes)> {
    let serving = &source.serving;
    let detector = sessions.of(serving)?;
    let seen = or_panic(|| {
        let _inside = mark.enter(serving);
        let picture = decoded.frame.picture().expect("only a pool on a device has hardware that decodes");
        if let Some(recorded) = &source.recorded {
            recorded.offer(&picture, Instant::now());
        }
        let detections = detector.detect(&picture, &source.thresholds)?;
        let row = |detection| Row { frame: decoded.number, pts_us: decoded.pts_us, track_id: None, detection };
        rows.extend(detections.iter().copied().map(row));
        Ok((rows, detector.last_times()))
    });
    seen.unwrap_or_else(|reason| {
        sessions.discard(serving);
        Err(JobError::DetectorPanicked { model: serving.checked().model.name.clone(), reason })
    })
}

/// What `work` gives, or what it panicked with. Whatever it had in its hands must not be used again.
fn or_panic<T>(work: impl FnOnce() -> T) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| said(&*payload))
}

fn said(payload: &(dyn Any + Send)) -> String {
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason given".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_words() {
        assert_eq!(or_panic(|| 1), Ok(1));
        assert_eq!(or_panic::<()>(|| panic!("row {}", 7)), Err("row 7".to_owned()));
        assert_eq!(or_panic::<()>(|| panic!("plain")), Err("plain".to_owned()));
    }
}
