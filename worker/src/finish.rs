//! Turns a job's published segments into its result: the tracker over all detections, in presentation order.

use crate::error::Result;
use crate::interrupt::Stop;
use crate::track::{ByteTrack, TrackerInput};
use framefleet_contract::detection_file::{Row, RowsChecksum, SegmentInfo};
use framefleet_contract::job_folder::{JobFolder, JobFolderError};
use framefleet_contract::plan::Plan;
use framefleet_contract::request::Request;
use framefleet_contract::summary::ClassCounts;
use std::collections::{BTreeMap, HashMap};

/// Whose detections are tracked.
#[derive(Debug, Clone, Copy)]
pub struct Tracking<'a> {
    pub request: &'a Request,
    pub plan: &'a Plan,
    pub folder: &'a JobFolder,
    pub class_names: &'a [String],
}

/// Why the cut between two neighbours is wrong, if it is: the picture behind the one is not the picture that the other
/// begins with. Where one of them was lost to damage, nothing can be said.
pub fn refuted_cut(infos: &[SegmentInfo]) -> Option<String> {
    let wrong = infos.windows(2).find(|pair| {
        pair[0].next_picture.zip(pair[1].first_picture).is_some_and(|(expected, seen)| expected != seen)
    })?;
    Some(format!("segment {} does not begin with the picture that follows segment {}", wrong[1].index, wrong[0].index))
}

/// Tracks the detections of all segments and publishes `tracks.parquet`; nothing if it is told to stop.
pub fn track(work: &Tracking<'_>, infos: &[SegmentInfo], stop: &Stop) -> Result<()> {
    let Tracking { request, plan, folder, class_names } = *work;
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
            let mut checksum = RowsChecksum::default();
            for batch in folder.segment_rows(info.index)? {
                stop.check()?;
                for row in batch? {
                    checksum.add(&row);
                    if frame.first().is_some_and(|first| first.frame != row.frame) {
                        tracker.frame(&mut frame, push)?;
                    }
                    frame.push(row);
                }
            }
            if checksum.value() != info.rows_checksum {
                return Err(folder.damaged_segment(info.index, "its rows are not those that were written").into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::detection::Detection;
    use framefleet_contract::identity::Sha256;
    use framefleet_contract::plan::{Numbering, Ratio, Segment, Video};
    use framefleet_contract::request::{FileSource, ModelRef, Outputs, Settings, Source, VERSION};
    use framefleet_contract::tracker_settings::ByteTrackSettings;
    use framefleet_contract::volume::Volume;

    /// A job of one segment whose detections are one box that never moves, seen in the given frames.
    struct OneBox {
        _root: tempfile::TempDir,
        request: Request,
        plan: Plan,
        folder: JobFolder,
        classes: Vec<String>,
        info: SegmentInfo,
    }

    impl OneBox {
        fn seen_in(frames: impl IntoIterator<Item = i64>, every: u32, end_frame: i64) -> Self {
            let root = tempfile::tempdir().unwrap();
            let model = ModelRef { name: "m".into(), sha256: Sha256::of(b"m") };
            let source = FileSource { path: "v.mp4".into(), size: 1, modified_us: 0, ends_sha256: Sha256::of(b"v") };
            let tracker = ByteTrackSettings::default();
            let settings = Settings { confidence: 0.1, iou: 0.6, every, classes: None, tracker };
            let request = Request::new(None, Source::File(source), model.clone(), settings, Outputs::default());
            let thirty = Ratio { num: 30, den: 1 };
            let video = Video {
                container: "mp4".into(),
                codec: "h264".into(),
                pixel_format: "yuv420p".into(),
                coded_width: 100,
                coded_height: 100,
                width: 100,
                height: 100,
                rotation_degrees: 0,
                time_base: Ratio { num: 1, den: 30 },
                frame_rate: thirty,
                packets: end_frame as u64,
                announced_frames: end_frame as u64,
                first_pts: Some(0),
                duration_us: 0,
            };
            let segments = vec![Segment::whole(0, end_frame as u64)];
            let plan = Plan {
                version: VERSION,
                model,
                video,
                numbering: Numbering::Packets,
                segments,
                clears_pictures: false,
                one_segment_because: None,
            };
            let folder = JobFolder::new(&Volume::open(root.path()).unwrap(), &request.job_id);
            let detection = Detection { class_id: 0, score: 0.9, x1: 10.0, y1: 10.0, x2: 50.0, y2: 50.0 };
            let rows = frames.into_iter().map(|frame| Row { frame, pts_us: frame, track_id: None, detection });
            let info = SegmentInfo { decoded: 1, inferred: 1, end_frame, ..SegmentInfo::default() };
            let classes = vec!["box".to_owned()];
            let mut staged = folder.begin_segment(&classes, 0).unwrap();
            rows.for_each(|row| staged.push(row).unwrap());
            staged.publish(&info).unwrap();
            let info = folder.segment_info(0).unwrap();
            Self { _root: root, request, plan, folder, classes, info }
        }

        fn track(&self, stop: &Stop) -> Result<()> {
            let Self { request, plan, folder, classes, info, .. } = self;
            track(&Tracking { request, plan, folder, class_names: classes }, std::slice::from_ref(info), stop)
        }

        fn track_ids(&self) -> Vec<Option<i64>> {
            self.track(&Stop::default()).unwrap();
            self.folder.track_rows().unwrap().flat_map(|rows| rows.unwrap()).map(|row| row.track_id).collect()
        }
    }

    #[test]
    fn neighbours_that_disagree_about_a_picture_refute_their_cut() {
        let info = |index, first_picture, next_picture| SegmentInfo {
            index,
            first_picture,
            next_picture,
            ..SegmentInfo::default()
        };
        let agreeing = [info(0, Some(1), Some(2)), info(1, Some(2), Some(3)), info(2, Some(3), None)];
        assert_eq!(refuted_cut(&agreeing), None);
        let lost = [info(0, Some(1), None), info(1, Some(2), Some(3)), info(2, None, None)];
        assert_eq!(refuted_cut(&lost), None);
        let wrong = [agreeing[0].clone(), agreeing[1].clone(), info(2, Some(4), None)];
        assert!(refuted_cut(&wrong).unwrap().contains("segment 2 does not begin"));
    }

    #[test]
    fn a_stop_while_tracking_publishes_nothing() {
        let job = OneBox::seen_in(0..10, 1, 10);
        let stop = Stop::default();
        stop.fail();
        assert!(matches!(job.track(&stop), Err(crate::error::JobError::Interrupted)));
        assert!(!job.folder.has("tracks.parquet").unwrap());
    }

    #[test]
    fn frames_in_which_nothing_was_seen_end_a_track() {
        let short_gap = OneBox::seen_in((0..5).chain(20..25), 1, 25).track_ids();
        assert_eq!(short_gap, [Some(1); 10]);
        let long_gap = OneBox::seen_in((0..5).chain(80..85), 1, 85).track_ids();
        assert_eq!(long_gap[..5], [Some(1); 5]);
        assert_eq!(long_gap[5..], [None, Some(2), Some(2), Some(2), Some(2)]);
    }

    #[test]
    fn with_every_the_tracker_counts_inferred_frames_only() {
        // A track is kept for one second: 30 frames of this video, 6 inferred ones.
        let gap_of_25_frames = OneBox::seen_in([0, 5, 10, 40, 45], 5, 50).track_ids();
        assert_eq!(gap_of_25_frames, [Some(1); 5]);
        let gap_of_60_frames = OneBox::seen_in([0, 5, 10, 75, 80], 5, 85).track_ids();
        assert_eq!(gap_of_60_frames[..3], [Some(1); 3]);
        assert_eq!(gap_of_60_frames[3..], [None, Some(2)]);
    }

    #[test]
    fn counts_are_those_of_the_published_rows() {
        let job = OneBox::seen_in(0..10, 1, 10);
        job.track(&Stop::default()).unwrap();
        let counts = count(&job.folder, &job.classes).unwrap();
        assert_eq!((counts.detections, counts.tracked, counts.tracks), (10, 10, 1));
        assert_eq!(counts.classes["box"], ClassCounts { detections: 10, tracks: 1 });
    }
}
