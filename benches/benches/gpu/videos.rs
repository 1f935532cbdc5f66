//! The clips: 1920 × 1080 at 25 frames/s, made once with the program ffmpeg and carried to where the GPU is.

use crate::Failure;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Codec {
    H264,
    Hevc,
}

/// What a clip is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clip {
    /// So many times [`FRAMES`].
    Times(u32),
    /// Without pictures that are shown before one that comes earlier in the file, so that each comes out of the decoder
    /// when its packet goes in.
    InOrder,
}

/// The folder of the clips.
#[derive(Debug)]
pub struct Clips {
    folder: PathBuf,
    /// Shorter, and of 320 × 180 pixels.
    small: bool,
}

/// Of a clip that is not repeated.
pub const FRAMES: u32 = 300;
/// A keyframe every four seconds; groups of pictures are closed, as streams for many readers are.
const GROUP: u32 = 100;
/// What clips there are.
const TIMES: [u32; 3] = [1, 3, 8];
/// All sources of a measurement together have about so many frames, which are some seconds.
const TOGETHER: usize = 24_000;

impl Codec {
    pub fn title(self) -> &'static str {
        match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
        }
    }

    fn encoder(self) -> [&'static str; 4] {
        match self {
            Self::H264 => ["-c:v", "libx264", "-x264-params", "open-gop=0:scenecut=0"],
            Self::Hevc => ["-c:v", "libx265", "-x265-params", "open-gop=0:scenecut=0:log-level=error"],
        }
    }
}

impl Clips {
    pub fn new(folder: &Path, small: bool) -> Self {
        Self { folder: folder.to_owned(), small }
    }

    /// For so many sources at once: the more there are, the shorter.
    pub fn for_sources(&self, codec: Codec, sources: usize) -> Result<PathBuf, Failure> {
        if self.small {
            return self.path(codec, Clip::Times(1));
        }
        let wanted = TOGETHER / sources.max(1);
        let fits = |times: &u32| (*times * FRAMES) as usize <= wanted;
        let times = TIMES.into_iter().rev().find(fits).unwrap_or(TIMES[0]);
        self.path(codec, Clip::Times(times))
    }

    pub fn path(&self, codec: Codec, clip: Clip) -> Result<PathBuf, Failure> {
        let path = self.place(codec, clip);
        if path.is_file() {
            return Ok(path);
        }
        Err(format!("{} is not there: --make-clips VIDEO makes it, which needs the program ffmpeg", path.display())
            .into())
    }

    /// Makes what is missing.
    pub fn make(&self, source: &Path) -> Result<(), Failure> {
        std::fs::create_dir_all(&self.folder)?;
        for codec in [Codec::H264, Codec::Hevc] {
            let once = self.place(codec, Clip::Times(1));
            self.encode(source, codec, &[], &once)?;
            self.encode(source, codec, &["-bf", "0"], &self.place(codec, Clip::InOrder))?;
            for times in TIMES.into_iter().filter(|times| *times > 1 && !self.small) {
                let (loops, once) = ((times - 1).to_string(), once.to_string_lossy());
                let arguments = ["-stream_loop", &loops, "-i", &once, "-map", "0:v:0", "-c", "copy"];
                ffmpeg(&arguments, &self.place(codec, Clip::Times(times)))?;
            }
        }
        Ok(())
    }

    fn place(&self, codec: Codec, clip: Clip) -> PathBuf {
        let what = match clip {
            Clip::Times(times) => format!("{}", times * self.frames()),
            Clip::InOrder => "in-order".to_owned(),
        };
        let codec = codec.title().replace('.', "").to_lowercase();
        self.folder.join(format!("{codec}-{}-{what}.mp4", if self.small { "180p" } else { "1080p" }))
    }

    fn frames(&self) -> u32 {
        if self.small { 60 } else { FRAMES }
    }

    fn encode(&self, source: &Path, codec: Codec, more: &[&str], clip: &Path) -> Result<(), Failure> {
        let size = if self.small { "320:180" } else { "1920:1080" };
        let filter = format!("scale={size},setpts=N/25/TB,format=yuv420p");
        let (frames, group, source) = (self.frames().to_string(), GROUP.to_string(), source.to_string_lossy());
        let input = ["-stream_loop", "-1", "-i", &source, "-map", "0:v:0", "-vf", &filter, "-r", "25"];
        let output = ["-frames:v", &frames, "-preset", "fast", "-g", &group, "-keyint_min", &group];
        ffmpeg(&[&input[..], &codec.encoder(), &output, more].concat(), clip)
    }
}

/// Nothing where the clip is there.
fn ffmpeg(arguments: &[&str], clip: &Path) -> Result<(), Failure> {
    if clip.is_file() {
        return Ok(());
    }
    eprintln!("making {}", clip.display());
    let part = clip.with_extension("part.mp4");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-y", "-v", "error"]).args(arguments).arg(&part).stdin(Stdio::null());
    if !ffmpeg.status()?.success() {
        return Err(format!("{ffmpeg:?} failed").into());
    }
    Ok(std::fs::rename(&part, clip)?)
}
