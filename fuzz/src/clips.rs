//! Small clips of many kinds to begin from, made by the `ffmpeg` program.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// A clip's name, and its bytes.
#[derive(Debug, Clone)]
pub struct Clip {
    pub name: String,
    pub bytes: Vec<u8>,
}

const H264: &str = "-c:v libx264 -preset veryfast -g 5 -bf 2 -pix_fmt yuv420p";
const HEVC: &str = "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=5:bframes=2 -pix_fmt yuv420p";
const VP8: &str = "-c:v libvpx -deadline realtime -cpu-used 8 -g 5 -auto-alt-ref 0";
const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 5";
const AV1: &str = "-c:v libaom-av1 -usage realtime -cpu-used 8 -g 5";

/// Name, encoder, and whatever else is to be said to FFmpeg.
const RECIPES: &[(&str, &str, &str)] = &[
    ("h264.mp4", H264, ""),
    ("h264-faststart.mp4", H264, "-movflags +faststart"),
    ("h264-fragments.mp4", H264, "-movflags +frag_keyframe+empty_moov"),
    ("h264.mov", H264, ""),
    ("h264.mkv", H264, ""),
    ("h264.ts", H264, ""),
    ("h264.avi", H264, ""),
    ("h264.flv", H264, ""),
    ("h264.h264", H264, ""),
    ("h264-interlaced.mp4", "-c:v libx264 -preset veryfast -g 5 -flags +ildct+ilme -pix_fmt yuv420p", ""),
    ("h264-422-10.mp4", "-c:v libx264 -preset veryfast -g 5 -pix_fmt yuv422p10le", ""),
    ("h264-cavlc-slices.mkv", "-c:v libx264 -preset ultrafast -g 5 -slices 3 -pix_fmt yuv420p", ""),
    ("hevc.mp4", HEVC, ""),
    ("hevc.mkv", HEVC, ""),
    ("hevc.ts", HEVC, ""),
    ("hevc.hevc", HEVC, ""),
    ("hevc-10.mp4", "-c:v libx265 -preset medium -x265-params log-level=none:keyint=5 -pix_fmt yuv420p10le", ""),
    ("vp8.webm", VP8, ""),
    ("vp8.ivf", VP8, ""),
    ("vp8.avi", VP8, ""),
    ("vp9.webm", VP9, ""),
    ("vp9.mp4", VP9, ""),
    ("vp9.ivf", VP9, ""),
    ("av1.mp4", AV1, ""),
    ("av1.mkv", AV1, ""),
    ("av1.obu", AV1, ""),
    ("mpeg4.mp4", "-c:v mpeg4 -g 5 -bf 2", ""),
    ("mpeg4.avi", "-c:v mpeg4 -g 5 -vtag DIVX", ""),
    ("mpeg4.m4v", "-c:v mpeg4 -g 5", ""),
    ("mpeg2.ts", "-c:v mpeg2video -g 5 -bf 2", ""),
    ("mpeg2.mpg", "-c:v mpeg2video -g 5 -bf 2", ""),
    ("mpeg2.m2v", "-c:v mpeg2video -g 5", ""),
    ("mpeg2.mkv", "-c:v mpeg2video -g 5 -flags +ildct+ilme", ""),
    ("mpeg2.mxf", "-c:v mpeg2video -g 5", ""),
    ("mpeg1.mpg", "-c:v mpeg1video -g 5", ""),
    ("mjpeg.mp4", "-c:v mjpeg -pix_fmt yuvj420p", ""),
    ("mjpeg.avi", "-c:v mjpeg -pix_fmt yuvj422p", ""),
    ("mjpeg.mjpeg", "-c:v mjpeg -pix_fmt yuvj420p", ""),
    ("wmv2.asf", "-c:v wmv2 -g 5", ""),
    ("msmpeg4.avi", "-c:v msmpeg4 -g 5", ""),
    ("flv1.flv", "-c:v flv -g 5", ""),
    ("theora.ogg", "-c:v libtheora -g 5", ""),
    ("ffv1.mkv", "-c:v ffv1 -level 3", ""),
    ("huffyuv.avi", "-c:v huffyuv", ""),
    ("prores.mov", "-c:v prores_ks", ""),
    ("qtrle.mov", "-c:v qtrle", ""),
    ("rv20.rm", "-c:v rv20 -g 5", ""),
    ("jpeg2000.mov", "-c:v jpeg2000", ""),
    ("png.mov", "-c:v png", ""),
    ("clip.gif", "-c:v gif", ""),
    ("raw.y4m", "-c:v wrapped_avframe -pix_fmt yuv420p", "-frames:v 3"),
    ("mpeg4.nut", "-c:v mpeg4 -g 5", ""),
];

/// Makes the clips that are not in `folder` yet, and reads all of them, in the order of their names.
pub fn load(folder: &Path) -> io::Result<Vec<Clip>> {
    fs::create_dir_all(folder)?;
    let mut clips = Vec::new();
    for (name, encoder, options) in RECIPES {
        let path = folder.join(name);
        if !path.exists() {
            make(&path, encoder, options)?;
        }
        clips.push(Clip { name: (*name).to_owned(), bytes: fs::read(&path)? });
    }
    clips.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(clips)
}

/// Eight moving frames of 64x48 pixels, every third kind of container with sound beside them.
fn make(path: &Path, encoder: &str, options: &str) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let part = path.with_file_name(format!("part-{name}"));
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=64x48:rate=25"]);
    if name.ends_with(".mp4") || name.ends_with(".mpg") || name.ends_with(".asf") {
        ffmpeg.args(["-f", "lavfi", "-i", "sine=sample_rate=22050:duration=0.32", "-b:a", "32k"]);
    }
    ffmpeg.args(["-frames:v", "8", "-threads", "1", "-fflags", "+bitexact", "-flags:v", "+bitexact"]);
    ffmpeg.args(encoder.split_whitespace()).args(options.split_whitespace()).arg(&part).stdin(Stdio::null());
    let output = ffmpeg.output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{ffmpeg:?}: {}", String::from_utf8_lossy(&output.stderr))));
    }
    fs::rename(part, path)
}
