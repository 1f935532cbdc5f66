//! Gathers the detections of each segment and publishes it when its last frame is in.

use crate::error::Result;
use crate::infer::InferredFrame;
use crate::progress::Progress;
use crate::stage_clock::StageClock;
use crossbeam_channel::Receiver;
use framefleet_contract::detection_file::{Row, SegmentInfo};
use framefleet_contract::job_folder::{Attempt, JobFolder};
use framefleet_contract::summary::StageTime;
use framefleet_contract::volume::Put;
use std::collections::HashMap;

/// What comes in: frames from all inference threads in any order, and word from the decoder when a segment is all sent.
#[derive(Debug)]
pub enum ToWriter {
    Frame(InferredFrame),
    /// With the mark of the attempt, which goes once the segment is published or given up.
    End(SegmentInfo, Attempt),
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
            ToWriter::End(info, attempt) => {
                open.entry(info.index).or_default().ended = Some((info, attempt));
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
    ended: Option<(SegmentInfo, Attempt)>,
}

impl OpenSegment {
    fn is_whole(&self) -> bool {
        self.ended.as_ref().is_some_and(|(info, _)| info.inferred == self.frames.len() as u64)
    }

    /// In presentation order, whatever the order in which the frames came.
    fn publish(mut self, folder: &JobFolder, class_names: &[String]) -> Result<()> {
        let Some((info, _attempt)) = self.ended else { return Ok(()) };
        self.frames.sort_unstable_by_key(|(number, _)| *number);
        let detections: usize = self.frames.iter().map(|(_, rows)| rows.len()).sum();
        let rows = self.frames.into_iter().flat_map(|(_, rows)| rows);
        if folder.put_segment(class_names, &info, rows)? == Put::Published {
            ::metrics::counter!("framefleet_segments_published_total").increment(1);
            ::metrics::counter!("framefleet_detections_total").increment(detections as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Display;
    use framefleet_contract::detection::Detection;
    use framefleet_contract::identity::JobId;
    use framefleet_contract::volume::Volume;

    fn frame(segment: u32, number: i64) -> ToWriter {
        let detection = Detection { class_id: 0, score: 0.5, x1: 0.0, y1: 0.0, x2: 1.0, y2: 1.0 };
        let rows = vec![Row { frame: number, pts_us: number, track_id: None, detection }];
        ToWriter::Frame(InferredFrame { segment, number, rows })
    }

    fn end(folder: &JobFolder, index: u32, inferred: u64) -> ToWriter {
        let info = SegmentInfo { index, decoded: inferred, damaged: 0, inferred, end_frame: 0 };
        ToWriter::End(info, folder.begin_attempt(index).unwrap())
    }

    /// Runs the writer on messages made by `messages`, and gives the folder.
    fn written(messages: impl FnOnce(&JobFolder) -> Vec<ToWriter>) -> (tempfile::TempDir, JobFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = JobFolder::new(&Volume::open(root.path()).unwrap(), &JobId::new("j").unwrap());
        let (sender, receiver) = crossbeam_channel::unbounded();
        for message in messages(&folder) {
            sender.send(message).unwrap();
        }
        drop(sender);
        let progress = Progress::new(Display::Hidden, "testing", "v", 1);
        write(&folder, &["box".to_owned()], &receiver, &progress).unwrap();
        (root, folder)
    }

    fn frames_of(folder: &JobFolder, segment: u32) -> Vec<i64> {
        folder.segment_rows(segment).unwrap().flat_map(|rows| rows.unwrap()).map(|row| row.frame).collect()
    }

    #[test]
    fn frames_are_put_in_order_however_they_come() {
        let (_root, folder) = written(|folder| {
            vec![
                frame(1, 12),
                frame(0, 2),
                end(folder, 0, 3),
                frame(0, 0),
                frame(1, 10),
                frame(0, 1),
                end(folder, 1, 2),
            ]
        });
        assert_eq!(frames_of(&folder, 0), [0, 1, 2]);
        assert_eq!(frames_of(&folder, 1), [10, 12]);
    }

    #[test]
    fn a_segment_that_lacks_a_frame_is_not_published() {
        let (_root, folder) = written(|folder| vec![frame(0, 0), end(folder, 0, 2), frame(1, 5)]);
        assert!(!folder.has("segments/00000.parquet").unwrap());
        assert!(!folder.has("segments/00001.parquet").unwrap());
    }

    #[test]
    fn the_mark_of_an_attempt_goes_with_its_end() {
        let (_root, folder) = written(|folder| vec![frame(0, 0), end(folder, 0, 1)]);
        assert!(!folder.has("attempts/00000/0").unwrap());
        assert!(folder.has("segments/00000.parquet").unwrap());
    }
}
