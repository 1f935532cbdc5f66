//! Clips made with FFmpeg's program, kept from run to run.

use crate::Failure;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The video again and again, its packets as they are.
pub fn looped(source: &Path, times: u32, cache: &Path) -> Result<PathBuf, Failure> {
    if times == 1 {
        return Ok(source.to_owned());
    }
    let arguments = ["-stream_loop", &(times - 1).to_string(), "-i", INPUT, "-map", "0:v:0", "-c", "copy"];
    made(source, &format!("{times}-times"), &arguments, cache)
}

/// So many seconds of H.264 of 1920 × 1080 at 25 frames/s, scaled up from the video, a keyframe every 10 s.
pub fn full_hd(source: &Path, seconds: u32, cache: &Path) -> Result<PathBuf, Failure> {
    let filter = "scale=1920:1080,setpts=N/25/TB,format=yuv420p";
    let frames = (25 * seconds).to_string();
    let input = ["-stream_loop", "-1", "-i", INPUT, "-map", "0:v:0", "-vf", filter, "-r", "25", "-frames:v", &frames];
    let codec = ["-c:v", "libx264", "-preset", "veryfast", "-g", "250"];
    made(source, &format!("1080p-{seconds}-s"), &[&input[..], &codec].concat(), cache)
}

/// Stands for the source's path among FFmpeg's arguments.
const INPUT: &str = "INPUT";

fn made(source: &Path, suffix: &str, arguments: &[&str], cache: &Path) -> Result<PathBuf, Failure> {
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    // Another file of the same name has another length.
    let clip = cache.join(format!("{stem}-{}-{suffix}.mp4", std::fs::metadata(source)?.len()));
    if clip.is_file() {
        return Ok(clip);
    }
    eprintln!("making {}", clip.display());
    let part = clip.with_extension("part.mp4");
    let arguments =
        arguments.iter().map(|&word| if word == INPUT { source.as_os_str().to_owned() } else { OsString::from(word) });
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-y", "-v", "error"]).args(arguments).arg(&part).stdin(Stdio::null());
    if !ffmpeg.status()?.success() {
        return Err(format!("{ffmpeg:?} failed").into());
    }
    std::fs::rename(&part, &clip)?;
    Ok(clip)
}
