//! Writes the detections of each segment in presentation order, and publishes it when its last frame is in.

use crate::error::{JobError, Result};
use crate::infer::InferredFrame;
use crate::progress::Progress;
use crate::stage_clock::StageClock;
use crossbeam_channel::{Receiver, Sender};
use framefleet_contract::detection_file::{Row, SegmentInfo};
use framefleet_contract::job_folder::{JobFolder, StagedSegment};
use framefleet_contract::summary::StageTime;
use framefleet_contract::volume::Put;
use std::collections::{HashMap, VecDeque};
use std::time::Instant;

/// What comes in: frames from all inference threads in any order, and word from the decoder when a segment is all sent.
#[derive(Debug)]
pub enum ToWriter {
    Frame(InferredFrame),
    /// What the decoder counted.
    End(SegmentInfo),
    /// A frame could not be looked at.
    Failed(JobError),
}

/// What the writer saw.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub time: StageTime,
    /// When the first frame came in with its detections.
    pub first_detection: Option<Instant>,
}

/// Runs until all senders are gone. A segment that is not whole by then is not published. For each message a list of rows
/// goes back by `empty`: one that was filled, once it is written.
pub fn write(
    folder: &JobFolder,
    class_names: &[String],
    incoming: &Receiver<ToWriter>,
    empty: &Sender<Vec<Row>>,
    progress: &Progress,
) -> Result<Written> {
    let mut clock = StageClock::start();
    let mut first_detection = None;
    let mut open: HashMap<u32, OpenSegment> = HashMap::new();
    while let Ok(message) = clock.starved(|| incoming.recv()) {
        let index = match message {
            ToWriter::Frame(frame) => {
                first_detection.get_or_insert_with(Instant::now);
                progress.frame_done();
                let index = frame.segment;
                open.entry(index).or_default().take(frame);
                index
            }
            ToWriter::End(info) => {
                let index = info.index;
                open.entry(index).or_default().ended = Some(info);
                give_back(empty, Vec::new());
                index
            }
            ToWriter::Failed(error) => return Err(error),
        };
        let segment = open.entry(index).or_default();
        segment.write_ready(folder, class_names, index, empty)?;
        if segment.is_whole()
            && let Some(segment) = open.remove(&index)
        {
            segment.publish(folder, class_names)?;
        }
    }
    Ok(Written { time: clock.stop(), first_detection })
}

/// There is no room where more lists are about than are needed: this one is freed.
fn give_back(empty: &Sender<Vec<Row>>, rows: Vec<Row>) {
    let _ = empty.try_send(rows);
}

/// Frames are written in turn. What comes early waits, as rows, for the slowest detector.
#[derive(Debug, Default)]
struct OpenSegment {
    /// From the first frame on.
    staged: Option<StagedSegment>,
    /// Frames written.
    written: u64,
    detections: u64,
    /// Rows by turn, from the next one on.
    early: VecDeque<Option<Vec<Row>>>,
    ended: Option<SegmentInfo>,
}

impl OpenSegment {
    fn take(&mut self, frame: InferredFrame) {
        let place = frame.turn.saturating_sub(self.written) as usize;
        if self.early.len() <= place {
            self.early.resize(place + 1, None);
        }
        self.early[place] = Some(frame.rows);
    }

    fn write_ready(
        &mut self,
        folder: &JobFolder,
        class_names: &[String],
        index: u32,
        empty: &Sender<Vec<Row>>,
    ) -> Result<()> {
        while let Some(Some(mut rows)) = self.early.pop_front_if(|next| next.is_some()) {
            let staged = match &mut self.staged {
                Some(staged) => staged,
                None => self.staged.insert(folder.begin_segment(class_names, index)?),
            };
            self.written += 1;
            self.detections += rows.len() as u64;
            rows.drain(..).try_for_each(|row| staged.push(row))?;
            give_back(empty, rows);
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.ended.as_ref().is_some_and(|info| info.inferred == self.written)
    }

    fn publish(self, folder: &JobFolder, class_names: &[String]) -> Result<()> {
        let Some(info) = self.ended else { return Ok(()) };
        let staged = match self.staged {
            Some(staged) => staged,
            None => folder.begin_segment(class_names, info.index)?,
        };
        if staged.publish(&info)? == Put::Published {
            ::metrics::counter!("framefleet_segments_published_total").increment(1);
            ::metrics::counter!("framefleet_detections_total").increment(self.detections);
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

    fn frame(segment: u32, turn: u64) -> ToWriter {
        let detection = Detection { class_id: 0, score: 0.5, x1: 0.0, y1: 0.0, x2: 1.0, y2: 1.0 };
        let number = 100 * i64::from(segment) + turn as i64;
        let rows = vec![Row { frame: number, pts_us: number, track_id: None, detection }];
        ToWriter::Frame(InferredFrame { segment, turn, rows })
    }

    fn end(index: u32, inferred: u64) -> ToWriter {
        let info = SegmentInfo { index, decoded: inferred, inferred, ..SegmentInfo::default() };
        ToWriter::End(info)
    }

    /// Runs the writer on messages made by `messages`, and gives the folder.
    fn written(messages: Vec<ToWriter>) -> (tempfile::TempDir, JobFolder) {
        let root = tempfile::tempdir().unwrap();
        let folder = JobFolder::new(&Volume::open(root.path()).unwrap(), &JobId::new("j").unwrap());
        let (sender, receiver) = crossbeam_channel::unbounded();
        for message in messages {
            sender.send(message).unwrap();
        }
        drop(sender);
        let progress = Progress::new(&Display::Hidden, "testing", "v", 1);
        let (empty, returned) = crossbeam_channel::bounded(2);
        let written = write(&folder, &["box".to_owned()], &receiver, &empty, &progress).unwrap();
        assert!(written.first_detection.is_some());
        assert!(returned.try_iter().all(|rows| rows.is_empty()), "lists to be filled again");
        (root, folder)
    }

    fn frames_of(folder: &JobFolder, segment: u32) -> Vec<i64> {
        folder.segment_rows(segment).unwrap().flat_map(|rows| rows.unwrap()).map(|row| row.frame).collect()
    }

    #[test]
    fn frames_are_put_in_order_however_they_come() {
        let (_root, folder) =
            written(vec![frame(1, 1), frame(0, 2), end(0, 3), frame(0, 0), frame(1, 0), frame(0, 1), end(1, 2)]);
        assert_eq!(frames_of(&folder, 0), [0, 1, 2]);
        assert_eq!(frames_of(&folder, 1), [100, 101]);
    }

    #[test]
    fn a_segment_that_lacks_a_frame_is_not_published() {
        let (_root, folder) = written(vec![frame(0, 1), end(0, 2), frame(1, 0)]);
        assert!(!folder.has("segments/00000.parquet").unwrap());
        assert!(!folder.has("segments/00001.parquet").unwrap());
    }

    #[test]
    fn a_segment_of_which_no_frame_is_inferred_is_published_empty() {
        let (_root, folder) = written(vec![end(0, 0), frame(1, 0)]);
        assert_eq!(frames_of(&folder, 0), [] as [i64; 0]);
    }

    #[test]
    fn every_message_gives_a_list_back() {
        let root = tempfile::tempdir().unwrap();
        let folder = JobFolder::new(&Volume::open(root.path()).unwrap(), &JobId::new("j").unwrap());
        let (sender, receiver) = crossbeam_channel::unbounded();
        for message in [frame(0, 1), frame(0, 0), end(0, 2)] {
            sender.send(message).unwrap();
        }
        drop(sender);
        let (empty, returned) = crossbeam_channel::unbounded();
        let progress = Progress::new(&Display::Hidden, "testing", "v", 1);
        write(&folder, &["box".to_owned()], &receiver, &empty, &progress).unwrap();
        let capacities: Vec<usize> = returned.try_iter().map(|rows| rows.capacity()).collect();
        assert_eq!(capacities.len(), 3);
        let filled = capacities.iter().filter(|capacity| **capacity > 0).count();
        assert_eq!(filled, 2, "those of frames are used again");
    }
}
