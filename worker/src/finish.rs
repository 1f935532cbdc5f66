//! Turns a job's published segments into its result: the tracker over all detections, in presentation order.

use crate::error::Result;
use crate::interrupt::Stop;
use crate::track::{ByteTrack, TrackerInput};
use framefleet_contract::detection_file::{Row, SegmentInfo};
use framefleet_contract::job_folder::{JobFolder, JobFolderError};
use framefleet_contract::plan::Plan;
use framefleet_contract::request::Request;
use framefleet_contract::summary::ClassCounts;
use std::collections::{BTreeMap, HashMap};

/// Tracks and publishes `tracks.parquet`.
pub fn track(
    request: &Request,
    plan: &Plan,
    folder: &JobFolder,
    class_names: &[String],
    infos: &[SegmentInfo],
    stop: &Stop,
) -> Result<()> {
    let every = request.settings.every;
    let frame_rate = plan.video.frame_rate.as_f64() / f64::from(every);
    let mut tracker = FrameTracker {
        tracker: ByteTrack::new(request.settings.tracker, frame_rate),
        every: i64::from(every),
        next: 0,
        inputs: Vec::new(),
    };
    folder.put_tracks(class_names, metadata(request, plan), |push| -> Result<()> {
        let mut frame: Vec<Row> = Vec::new();
        for info in infos {
            stop.check()?;
            for batch in folder.segment_rows(info.index)? {
                for row in batch? {
                    if frame.first().is_some_and(|first| first.frame != row.frame) {
                        tracker.frame(&mut frame, push)?;
                    }
                    frame.push(row);
                }
            }
            if !frame.is_empty() {
                tracker.frame(&mut frame, push)?;
            }
            tracker.pass_until(info.end_frame);
        }
        Ok(())
    })?;
    Ok(())
}

/// A tracker that is told of every inferred frame, also of those in which nothing was seen.
struct FrameTracker {
    tracker: ByteTrack,
    every: i64,
    /// The next frame that the tracker is to hear of.
    next: i64,
    inputs: Vec<TrackerInput>,
}

type Push<'a> = dyn FnMut(Row) -> std::result::Result<(), JobFolderError> + 'a;

impl FrameTracker {
    /// Takes the rows of one frame and passes them on with their tracks.
    fn frame(&mut self, rows: &mut Vec<Row>, push: &mut Push<'_>) -> std::result::Result<(), JobFolderError> {
        let number = rows[0].frame;
        self.pass_until(number);
        self.next = number + self.every;
        self.inputs.clear();
        self.inputs.extend(rows.iter().map(|row| TrackerInput {
            x1: row.detection.x1.into(),
            y1: row.detection.y1.into(),
            x2: row.detection.x2.into(),
            y2: row.detection.y2.into(),
            score: row.detection.score.into(),
        }));
        for tracked in self.tracker.update(&self.inputs) {
            rows[tracked.detection].track_id = Some(tracked.track_id);
        }
        rows.drain(..).try_for_each(push)
    }

    /// Tells of the frames before `end` in which nothing was seen.
    fn pass_until(&mut self, end: i64) {
        while self.next < end {
            self.tracker.update(&[]);
            self.next += self.every;
        }
    }
}

/// What the result depends on, and nothing that differs between two runs of the same work.
fn metadata(request: &Request, plan: &Plan) -> Vec<(String, String)> {
    let video = &plan.video;
    let settings = serde_json::to_string(&request.settings).expect("settings are plain numbers and strings");
    let rate = format!("{}/{}", video.frame_rate.num, video.frame_rate.den);
    [
        ("model", plan.model.name.clone()),
        ("model_sha256", plan.model.sha256.to_string()),
        ("settings", settings),
        ("width", video.width.to_string()),
        ("height", video.height.to_string()),
        ("frame_rate", rate),
        ("program_version", env!("CARGO_PKG_VERSION").to_owned()),
    ]
    .map(|(key, value)| (format!("framefleet.{key}"), value))
    .into()
}

/// What is in the published result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackCounts {
    pub detections: u64,
    pub tracked: u64,
    pub tracks: u64,
    pub classes: BTreeMap<String, ClassCounts>,
}

/// Counts by reading the published file back. A track counts for the class that it was seen as most often.
pub fn count(folder: &JobFolder, class_names: &[String]) -> Result<TrackCounts> {
    let mut counts = TrackCounts::default();
    let mut class_of_track: HashMap<i64, BTreeMap<i32, u64>> = HashMap::new();
    let mut detections: BTreeMap<i32, u64> = BTreeMap::new();
    for batch in folder.track_rows()? {
        for row in batch? {
            let class_id = row.detection.class_id;
            counts.detections += 1;
            *detections.entry(class_id).or_default() += 1;
            if let Some(track_id) = row.track_id {
                counts.tracked += 1;
                *class_of_track.entry(track_id).or_default().entry(class_id).or_default() += 1;
            }
        }
    }
    counts.tracks = class_of_track.len() as u64;
    let name = |class_id: i32| usize::try_from(class_id).ok().and_then(|i| class_names.get(i)).cloned();
    for (class_id, detections) in detections {
        counts.classes.entry(name(class_id).unwrap_or_default()).or_default().detections += detections;
    }
    for seen_as in class_of_track.values() {
        let Some((class_id, _)) = seen_as.iter().max_by_key(|(id, n)| (**n, -**id)) else { continue };
        counts.classes.entry(name(*class_id).unwrap_or_default()).or_default().tracks += 1;
    }
    Ok(counts)
}
