//! What is measured: a video, a model, who else does the same work, and where we want to be.

use crate::measure::Effort;
use crate::peer::{self, Peer};
use crate::places::Places;
use crate::{Failure, clip};
use std::path::{Path, PathBuf};

/// Scores from which detections are kept, and the `IoU` above which NMS drops one: the same for every program.
pub const CONFIDENCE: &str = "0.1";
pub const IOU: &str = "0.6";

const REAL_VIDEO: &str = "one-by-one-person-detection.mp4";
const SAMPLE_VIDEO: &str = "sample/street.mp4";

/// How many times as long the video is with which it is seen whether memory grows.
pub const LONGER: u32 = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Yolox,
    V8n,
    Sample,
}

#[derive(Debug)]
pub struct Workload {
    pub kind: Kind,
    pub video: PathBuf,
    pub long_video: Option<PathBuf>,
    pub model: PathBuf,
    pub peers: Vec<Peer>,
    /// What is missing, in words.
    pub notes: Vec<String>,
}

/// What the project set out to reach.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goals {
    /// End to end, as a share of the limit.
    pub of_limit: Option<f64>,
    /// Times as fast as the first peer.
    pub of_peer: Option<f64>,
    pub peak_mb: Option<f64>,
}

impl Workload {
    fn new(kind: Kind, model: PathBuf, video: PathBuf, long_video: Option<PathBuf>) -> Self {
        Self { kind, video, long_video, model, peers: Vec::new(), notes: Vec::new() }
    }
}

impl Kind {
    pub const ALL: [Self; 3] = [Self::Yolox, Self::V8n, Self::Sample];

    pub fn name(self) -> &'static str {
        match self {
            Self::Yolox => "yolox",
            Self::V8n => "v8n",
            Self::Sample => "sample",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Yolox => "yolox: YOLOX-nano at 416x416 on one-by-one-person-detection.mp4, 768x432",
            Self::V8n => "v8n: a model of YOLOv8n's size at 640x384 on 1080p",
            Self::Sample => "sample: the model and the video that ship, 640x360",
        }
    }

    pub fn goals(self) -> Goals {
        match self {
            Self::Yolox => Goals { of_limit: Some(0.97), of_peer: Some(1.9), peak_mb: None },
            Self::V8n => Goals { of_limit: Some(0.97), of_peer: Some(1.35), peak_mb: Some(250.0) },
            Self::Sample => Goals::default(),
        }
    }
}

/// Makes what the workload needs. An error says why it cannot be measured here.
pub fn prepare(kind: Kind, places: &Places, effort: Effort) -> Result<Workload, Failure> {
    match kind {
        Kind::Yolox => yolox(places, effort),
        Kind::V8n => v8n(places, effort),
        Kind::Sample => sample(places, effort),
    }
}

const NO_DATA: &str = "the folder shared/data beside the repository is not there";

fn yolox(places: &Places, effort: Effort) -> Result<Workload, Failure> {
    let data = places.data.as_ref().ok_or(NO_DATA)?;
    let (video, long_video) = videos(&data.join(REAL_VIDEO), 2, places, effort)?;
    let mut workload = Workload::new(Kind::Yolox, data.join("yolox_nano.onnx"), video, long_video);
    let not_installed = || Failure::from("it is not installed");
    let python = places.python.as_ref().ok_or_else(not_installed);
    match python.and_then(|python| peer::python(python, places, &workload, effort)) {
        Ok(peers) => workload.peers = peers,
        Err(reason) => workload.notes.push(format!("Without the Python pipeline: {reason}.")),
    }
    Ok(workload)
}

fn v8n(places: &Places, effort: Effort) -> Result<Workload, Failure> {
    let python = places.ultralytics.as_ref().ok_or("ultralytics, which makes the model, is not installed")?;
    let model = peer::v8n_model(python, places)?;
    let real = places.data.as_ref().map(|data| data.join(REAL_VIDEO));
    let source = real.clone().unwrap_or_else(|| places.repository.join(SAMPLE_VIDEO));
    let full_hd = clip::full_hd(&source, if effort.thorough { 60 } else { 10 }, &places.cache)?;
    let (video, long_video) = videos(&full_hd, 1, places, effort)?;
    let mut workload = Workload::new(Kind::V8n, model, video, long_video);
    workload.peers = vec![peer::ultralytics(python, places)];
    workload.notes.push("The model's weights are random: there are no detections.".to_owned());
    if real.is_none() {
        workload.notes.push(format!("The video is scaled up from the sample: {NO_DATA}."));
    }
    Ok(workload)
}

fn sample(places: &Places, effort: Effort) -> Result<Workload, Failure> {
    let (video, long_video) = videos(&places.repository.join(SAMPLE_VIDEO), 5, places, effort)?;
    let model = places.repository.join("models/catalog/street.onnx");
    Ok(Workload::new(Kind::Sample, model, video, long_video))
}

/// The video so many times over, and that [`LONGER`] times; in short, the video itself.
fn videos(source: &Path, times: u32, places: &Places, effort: Effort) -> Result<(PathBuf, Option<PathBuf>), Failure> {
    if !effort.thorough {
        return Ok((source.to_owned(), None));
    }
    let long_video = clip::looped(source, times * LONGER, &places.cache)?;
    Ok((clip::looped(source, times, &places.cache)?, Some(long_video)))
}
