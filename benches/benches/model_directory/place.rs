//! A model directory of its own, and a model of which there is one version after the other.

use crate::{CHILD, Failure};
use framefleet_benches::machine;
use framefleet_contract::identity::Sha256;
use framefleet_models::check::{Limits, Sandbox};
use framefleet_models::{Follow, Lease, ModelDirectory, OwnedPicture, RecordedFrames, Runtime, Thresholds};
use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub const NAME: &str = "m";
const PATIENCE: Duration = Duration::from_mins(1);
const WIDTH: usize = 1280;
const HEIGHT: usize = 720;

pub struct Bench {
    model: Vec<u8>,
    runtime: Runtime,
    pub picture: OwnedPicture,
}

/// A directory that is followed.
pub struct Followed {
    folder: TempDir,
    pub directory: ModelDirectory,
    pub frames: RecordedFrames,
}

impl Bench {
    pub fn new(model: &Path) -> Result<Self, Failure> {
        let model = fs::read(model).map_err(|error| format!("{}: {error}", model.display()))?;
        Ok(Self { model, runtime: Runtime::load()?, picture: noise() })
    }

    pub fn megabytes(&self) -> f64 {
        self.model.len() as f64 / 1e6
    }

    pub fn follow(&self) -> Result<Followed, Failure> {
        let folder = TempDir::new()?;
        let frames = RecordedFrames::default();
        let follow = Follow { warm: machine::cores(), frames: frames.clone(), ..Follow::new(folder.path()) };
        let program = std::env::current_exe()?;
        let sandbox = Sandbox { program, arguments: vec![CHILD.into()], limits: Limits::default() };
        let directory = ModelDirectory::start(follow, sandbox, &self.runtime)?;
        Ok(Followed { folder, directory, frames })
    }

    /// The model with another identity: a second `producer_version`, which is its field 3, comes after the first.
    pub fn version(&self, number: u32) -> Vec<u8> {
        let name = format!("version {number}");
        let field = [&[0x1a, name.len() as u8], name.as_bytes()].concat();
        [self.model.as_slice(), &field].concat()
    }

    pub fn thresholds(lease: &Lease) -> Thresholds {
        Thresholds::from(&lease.serving().checked().model.manifest.defaults)
    }
}

impl Followed {
    pub fn file(&self) -> PathBuf {
        self.folder.path().join(format!("{NAME}.onnx"))
    }

    /// Replaces the file at once, as `mv` does.
    pub fn rename(&self, model: &[u8]) -> Result<(), Failure> {
        let part = self.folder.path().join("part");
        fs::write(&part, model)?;
        Ok(fs::rename(part, self.file())?)
    }

    /// Waits until just this model serves.
    pub fn wait_for(&self, model: &[u8]) -> Result<(), Failure> {
        let (sha256, deadline) = (Sha256::of(model), Instant::now() + PATIENCE);
        while Instant::now() < deadline {
            if let Some(serving) = self.directory.current(NAME)
                && serving.checked().model.sha256 == sha256
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(format!("the model does not serve: {:?}", self.directory.snapshot()).into())
    }

    /// Waits until what comes after a swap is over too: comparing, and freeing what served before.
    pub fn settle(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.directory.snapshot().iter().any(|status| status.serving && status.comparison.is_some()) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("the versions are not compared".into())
    }
}

/// 720p; what is on it does not matter.
fn noise() -> OwnedPicture {
    let samples: Vec<u8> = (0..WIDTH * HEIGHT).map(|n| 16 + (n.wrapping_mul(2_654_435_761) >> 7) as u8 % 220).collect();
    OwnedPicture::copy_of(&Picture {
        width: WIDTH,
        height: HEIGHT,
        planes: [WIDTH, WIDTH / 2, WIDTH / 2].map(|stride| Plane { data: &samples[..stride * HEIGHT], stride }),
        depth: 8,
        chroma_shift_x: 1,
        chroma_shift_y: 1,
        matrix: Matrix::Bt709,
        range: Range::Limited,
        display: Display { width: WIDTH as u32, height: HEIGHT as u32, rotation: Rotation::None },
    })
}
