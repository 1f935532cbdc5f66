//! Videos for fleets, and what they come to when nobody disturbs anything.

use crate::call::{Call, Detector};
use crate::clip;
use crate::job::Job;
use crate::keeper::PassingFolder;
use crate::repository;
use crate::scratch::Scratch;
use framefleet_contract::identity::Sha256;
use framefleet_contract::summary::FrameCounts;
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

/// A video with a keyframe each second, and what `framefleet run` makes of it.
#[derive(Debug)]
pub struct Footage {
    pub path: PathBuf,
    /// Of its tracks.
    pub digest: Sha256,
    pub frames: FrameCounts,
    pub segments: usize,
    _folder: PassingFolder,
}

/// The options with which a fleet gets the same result: each frame gives many rows, and none is left out.
pub const CONFIDENCE: f32 = 0.0;
pub const IOU: f32 = 1.0;

impl Footage {
    /// One segment.
    pub fn tiny() -> &'static Self {
        static TINY: OnceLock<Footage> = OnceLock::new();
        TINY.get_or_init(|| Self::make("160x96", 1))
    }

    /// Six segments.
    pub fn short() -> &'static Self {
        static SHORT: OnceLock<Footage> = OnceLock::new();
        SHORT.get_or_init(|| Self::make("160x96", 6))
    }

    /// Twenty segments.
    pub fn long() -> &'static Self {
        static LONG: OnceLock<Footage> = OnceLock::new();
        LONG.get_or_init(|| Self::make("160x96", 20))
    }

    /// Six segments in a size that no other has, by which orders for its decoder can tell it.
    pub fn odd() -> &'static Self {
        static ODD: OnceLock<Footage> = OnceLock::new();
        ODD.get_or_init(|| Self::make("176x112", 6))
    }

    /// The sample, and the model that ships, with its own settings: work that takes seconds.
    pub fn street() -> &'static Self {
        static STREET: OnceLock<Footage> = OnceLock::new();
        STREET.get_or_init(|| {
            let scratch = Scratch::new();
            let job = Self::undisturbed(scratch.call(Detector::Street, &[&repository::street()]));
            Self::of(&job, repository::street(), PassingFolder::new())
        })
    }

    fn make(size: &str, seconds: u32) -> Self {
        let (scratch, folder) = (Scratch::new(), PassingFolder::new());
        let h264 = format!("{} -pix_fmt yuv420p", clip::H264);
        let made = scratch.clip("clip.mp4", &clip::moving(size, seconds), &h264);
        let path = folder.path().join("clip.mp4");
        fs::copy(made, &path).unwrap();
        Self::of(&Self::undisturbed(scratch.call(Detector::Colours, &[&path])), path, folder)
    }

    fn of(job: &Job, path: PathBuf, folder: PassingFolder) -> Self {
        Self {
            digest: job.digest(),
            frames: job.summary().frames,
            segments: job.plan().segments.len(),
            path,
            _folder: folder,
        }
    }

    fn undisturbed(call: Call) -> Job {
        call.with(&["--segment-seconds", "1"]).run().job()
    }
}
