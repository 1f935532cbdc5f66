//! Gathers the detections of each segment and publishes it when its last frame is in.

use crate::error::Result;
use crate::infer::InferredFrame;
use crate::progress::Progress;
use crate::stage_clock::StageClock;
use crossbeam_channel::Receiver;
use framefleet_contract::detection_file::{Row, SegmentInfo};
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::summary::StageTime;
use std::collections::HashMap;

/// What comes in: frames from all inference threads in any order, and word from the decoder when a segment is all sent.
#[derive(Debug)]
pub enum ToWriter {
    Frame(InferredFrame),
    End(SegmentInfo),
}

/// Runs until all senders are gone. A segment that is not whole by then is not published.
pub fn write(
    folder: &JobFolder,
    class_names: &[String],
    incoming: &Receiver<ToWriter>,
    progress: &Progress,
) -> Result<StageTime> {
    let mut clock = StageClock::start();
    let mut open: HashMap<u32, OpenSegment> = HashMap::new();
    while let Ok(message) = clock.starved(|| incoming.recv()) {
        let index = match message {
            ToWriter::Frame(frame) => {
                progress.frame_done();
                let index = frame.segment;
                open.entry(index).or_default().frames.push((frame.number, frame.rows));
                index
            }
            ToWriter::End(info) => {
                open.entry(info.index).or_default().info = Some(info);
                info.index
            }
        };
        if open[&index].is_whole() {
            let segment = open.remove(&index).unwrap_or_default();
            segment.publish(folder, class_names)?;
        }
    }
    Ok(clock.stop())
}

#[derive(Debug, Default)]
struct OpenSegment {
    frames: Vec<(i64, Vec<Row>)>,
    info: Option<SegmentInfo>,
}

impl OpenSegment {
    fn is_whole(&self) -> bool {
        self.info.is_some_and(|info| info.inferred == self.frames.len() as u64)
    }

    /// In presentation order, whatever the order in which the frames came.
    fn publish(mut self, folder: &JobFolder, class_names: &[String]) -> Result<()> {
        let Some(info) = self.info else { return Ok(()) };
        self.frames.sort_unstable_by_key(|(number, _)| *number);
        let rows: Vec<Row> = self.frames.into_iter().flat_map(|(_, rows)| rows).collect();
        folder.put_segment(class_names, &info, &rows)?;
        metrics::counter!("framefleet_segments_published_total").increment(1);
        metrics::counter!("framefleet_detections_total").increment(rows.len() as u64);
        Ok(())
    }
}
