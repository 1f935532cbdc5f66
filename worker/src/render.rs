//! Draws boxes, names and trails into a copy of the video.

use crate::decode::{DecodedFrame, SegmentDecoder};
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::progress::Progress;
use canvas::Canvas;
use framefleet_contract::detection_file::Row;
use framefleet_contract::job_folder::{ANNOTATED, JobFolder};
use framefleet_contract::plan::{Plan, Ratio};
use framefleet_native::ffmpeg::encode::{Mp4Encoder, Mp4Settings};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use opencv::core::MatTraitConstManual;
use pen::Pen;
use std::collections::{HashMap, VecDeque};
use std::path::Path;

pub mod canvas;
pub mod pen;

/// How far back a trail reaches.
const TRAIL_US: i64 = 1_500_000;
/// One tick is a microsecond: annotated frames have the times that `tracks.parquet` gives them.
const MICROSECONDS: Ratio = Ratio { num: 1, den: 1_000_000 };

/// Whose video, plan and tracks are drawn.
#[derive(Debug, Clone, Copy)]
pub struct Rendering<'a> {
    pub video: &'a Origin,
    pub limits: Limits,
    pub plan: &'a Plan,
    pub folder: &'a JobFolder,
    pub class_names: &'a [String],
    /// Every how many frames one was inferred; boxes stay until the next one.
    pub every: u32,
}

/// Makes `annotated.mp4` from the video and the published tracks.
pub fn render(work: &Rendering<'_>, progress: &Progress, stop: &Stop) -> Result<()> {
    let staged = work.folder.stage(ANNOTATED)?;
    let mut annotator = Annotator::new(work, staged.path())?;
    let mut decoder = SegmentDecoder::new(work.video, work.limits, work.plan, work.folder, stop);
    for segment in &work.plan.segments {
        let mut drawn = Ok(());
        decoder.decode(segment, &mut |frame| {
            drawn = annotator.frame(&frame);
            progress.frame_done();
            drawn.is_ok()
        })?;
        drawn?;
    }
    annotator.encoder.finish()?;
    staged.publish()?;
    Ok(())
}

/// One video on its way from decoded frames to an MP4 file.
struct Annotator<'a> {
    work: Rendering<'a>,
    tracks: TrackRows,
    /// Of the last frame that was inferred.
    rows: Vec<Row>,
    trails: HashMap<i64, Trail>,
    pen: Pen,
    canvas: Canvas,
    encoder: Mp4Encoder,
}

/// When and where the middle of a box's lower edge was, in microseconds and pixels.
type Trail = VecDeque<(i64, [f32; 2])>;

impl<'a> Annotator<'a> {
    fn new(work: &Rendering<'a>, path: &Path) -> Result<Self> {
        let video = &work.plan.video;
        let settings = Mp4Settings {
            width: video.width,
            height: video.height,
            time_base: MICROSECONDS,
            frame_rate: video.frame_rate,
        };
        Ok(Self {
            work: *work,
            tracks: TrackRows { batches: Box::new(work.folder.track_rows()?), ready: VecDeque::new() },
            rows: Vec::new(),
            trails: HashMap::new(),
            pen: Pen::for_height(video.height),
            canvas: Canvas::default(),
            encoder: Mp4Encoder::create(path, &settings)?,
        })
    }

    fn frame(&mut self, frame: &DecodedFrame) -> Result<()> {
        if frame.number % i64::from(self.work.every) == 0 {
            self.tracks.take(frame.number, &mut self.rows)?;
            self.extend_trails(frame.pts_us);
        }
        self.canvas.paint(&frame.frame).map_err(|e| JobError::Draw(e.to_string()))?;
        self.draw(frame.pts_us).map_err(|e| JobError::Draw(e.to_string()))?;
        let shown_us = match self.work.plan.video.time_base.ticks_to_us(frame.frame.duration()) {
            known if known > 0 => known,
            _ => (1e6 / self.work.plan.video.frame_rate.as_f64()).round() as i64,
        };
        let bytes = self.canvas.upright.data_bytes().map_err(|e| JobError::Draw(e.to_string()))?;
        Ok(self.encoder.write(bytes, frame.pts_us, shown_us)?)
    }

    fn extend_trails(&mut self, now_us: i64) {
        for row in &self.rows {
            let Some(track_id) = row.track_id else { continue };
            let foot = [f32::midpoint(row.detection.x1, row.detection.x2), row.detection.y2];
            self.trails.entry(track_id).or_default().push_back((now_us, foot));
        }
        for trail in self.trails.values_mut() {
            while trail.pop_front_if(|(at_us, _)| now_us.saturating_sub(*at_us) > TRAIL_US).is_some() {}
        }
        self.trails.retain(|_, trail| !trail.is_empty());
    }

    /// Trails first, so that no box or name is hidden.
    fn draw(&mut self, now_us: i64) -> opencv::Result<()> {
        let mut by_id: Vec<(&i64, &Trail)> = self.trails.iter().collect();
        by_id.sort_unstable_by_key(|(id, _)| **id);
        for (track_id, trail) in by_id {
            let points = trail.iter().zip(trail.iter().skip(1));
            for ((_, from), (at_us, to)) in points {
                let age = (now_us.saturating_sub(*at_us) as f64 / TRAIL_US as f64).clamp(0.0, 1.0);
                self.pen.trail(&mut self.canvas.upright, *track_id, [*from, *to], 1.0 - age)?;
            }
        }
        for row in &self.rows {
            let Some(track_id) = row.track_id else { continue };
            let name = usize::try_from(row.detection.class_id).ok().and_then(|id| self.work.class_names.get(id));
            let label = format!("{} {track_id}", name.map_or("?", String::as_str));
            self.pen.boxed(&mut self.canvas.upright, track_id, &row.detection, &label)?;
        }
        Ok(())
    }
}

/// The rows of `tracks.parquet`, a frame at a time.
struct TrackRows {
    batches: Box<dyn Iterator<Item = RowBatch>>,
    ready: VecDeque<Row>,
}

type RowBatch = std::result::Result<Vec<Row>, framefleet_contract::job_folder::JobFolderError>;

impl TrackRows {
    /// Replaces `rows` by those of the frame `number`. Frames are asked for in rising order.
    fn take(&mut self, number: i64, rows: &mut Vec<Row>) -> Result<()> {
        rows.clear();
        loop {
            while let Some(row) = self.ready.pop_front_if(|row| row.frame <= number) {
                if row.frame == number {
                    rows.push(row);
                }
            }
            if !self.ready.is_empty() {
                return Ok(());
            }
            match self.batches.next() {
                Some(batch) => self.ready.extend(batch?),
                None => return Ok(()),
            }
        }
    }
}
