//! Clips made by the `ffmpeg` program, and what `ffprobe` says of them.

use crate::scratch::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A moving test picture as an FFmpeg input of the given size and seconds, at 25 frames/s.
pub fn moving(size: &str, seconds: u32) -> Vec<String> {
    ["-f", "lavfi", "-i"].map(String::from).into_iter().chain([moving_source(size, seconds)]).collect()
}

fn moving_source(size: &str, seconds: u32) -> String {
    format!("testsrc2=size={size}:rate=25:duration={seconds}")
}

/// Stripes of every colour, five frames.
pub fn bars(size: &str) -> Vec<String> {
    let source = format!("rgbtestsrc=size={size}:complement=1:rate=25:duration=0.2");
    ["-f", "lavfi", "-i"].map(String::from).into_iter().chain([source]).collect()
}

/// A file as an FFmpeg input.
pub fn from(path: &Path) -> Vec<String> {
    vec!["-i".to_owned(), path.to_str().unwrap().to_owned()]
}

impl Scratch {
    /// Has FFmpeg make `name`. `options` are those of its command line, separated by spaces.
    pub fn clip(&self, name: &str, input: &[String], options: &str) -> PathBuf {
        let path = self.join(name);
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-nostdin", "-v", "error", "-y"]).args(input).args(options.split_whitespace()).arg(&path);
        // The encoder of SVT-AV1 greets on stderr whatever it is told.
        ffmpeg.env("SVT_LOG", "1");
        said(&mut ffmpeg);
        path
    }

    /// A clip of ten seconds whose encoder was told to make a keyframe every second.
    pub fn keyed(&self, name: &str, encoder: &str) -> PathBuf {
        self.clip(name, &moving("160x96", 10), &format!("{encoder} -pix_fmt yuv420p"))
    }
}

/// H.264 with B-frames that are referred to, and closed groups of pictures of a second.
pub const H264: &str = "-c:v libx264 -preset ultrafast -g 25 -bf 3 -x264-params b-adapt=0:b-pyramid=normal:scenecut=0";

/// Turns clockwise that a player is told to make, with FFmpeg's filter that makes the opposite turn beforehand.
pub const TURNS: [(u32, &str, [i32; 4]); 3] = [
    (90, "transpose=cclock", [0, 1, -1, 0]),
    (180, "hflip,vflip", [-1, 0, 0, -1]),
    (270, "transpose=clock", [0, -1, 1, 0]),
];

/// Writes the track's matrix (a b, c d; ISO/IEC 14496-12, 8.3.2) over the one that is there.
pub fn set_display_matrix(path: &Path, [a, b, c, d]: [i32; 4]) {
    let mut bytes = fs::read(path).unwrap();
    let header = bytes.windows(4).position(|four| four == b"tkhd").expect("an MP4 file has a track header");
    assert_eq!(bytes[header + 4], 0, "a track header of version 0");
    let matrix = header + 44;
    for (cell, value) in [(0, a), (1, b), (3, c), (4, d)] {
        let at = matrix + 4 * cell;
        bytes[at..at + 4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    fs::write(path, bytes).unwrap();
}

/// Presentation times of all frames in the order in which they are shown, microseconds since the first.
///
/// AVI has no presentation times: the last frames of a stream with B-frames get none, and follow at the frame rate.
pub fn frame_times_us(path: &Path) -> Vec<i64> {
    let (num, den) = fraction(path, "time_base");
    let (frames, seconds) = fraction(path, "r_frame_rate");
    let mut first = None;
    let mut times: Vec<i64> = Vec::new();
    for line in ffprobe(path, "frame=best_effort_timestamp") {
        let after_last = times.last().map_or(0, |last| last + rounded(1_000_000 * seconds, frames));
        times.push(line.parse().map_or(after_last, |ticks: i64| {
            let ticks = ticks - *first.get_or_insert(ticks);
            rounded(ticks * num * 1_000_000, den)
        }));
    }
    times
}

/// Byte position and size of every video packet, in the order of the file.
pub fn packets(path: &Path) -> Vec<(usize, usize)> {
    let number = |text: &str| text.parse().unwrap();
    let lines = ffprobe(path, "packet=pos,size");
    lines.iter().map(|line| line.split_once(',').unwrap()).map(|(size, pos)| (number(pos), number(size))).collect()
}

/// One field of the container, as `ffprobe` names it.
pub fn format_field(path: &Path, name: &str) -> String {
    ffprobe(path, &format!("format={name}")).into_iter().next().unwrap_or_default()
}

/// Mean structural similarity of two clips, frame by frame: 1 where they are the same.
pub fn likeness(a: &Path, b: &Path) -> f64 {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "info", "-i"]).arg(a).arg("-i").arg(b);
    ffmpeg.args(["-lavfi", "[0:v]settb=1/25,setpts=N[a];[1:v]settb=1/25,setpts=N[b];[a][b]ssim", "-f", "null", "-"]);
    let output = ffmpeg.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let after = said.rsplit_once("All:").map(|(_, after)| after);
    after.and_then(|after| after.split_whitespace().next()?.parse().ok()).unwrap_or_else(|| panic!("no SSIM: {said}"))
}

/// Packets that are shown before the last keyframe that was sent before them: those of an open group of pictures.
pub fn leading_packets(path: &Path) -> usize {
    let mut keyframe = i64::MIN;
    let mut leading = 0;
    for line in ffprobe(path, "packet=pts,flags") {
        let (pts, flags) = line.split_once(',').unwrap();
        let pts: i64 = pts.parse().unwrap();
        if flags.starts_with('K') {
            keyframe = pts;
        }
        leading += usize::from(pts < keyframe);
    }
    leading
}

/// One field of the video stream, as `ffprobe` names it.
pub fn stream_field(path: &Path, name: &str) -> String {
    ffprobe(path, &format!("stream={name}")).into_iter().next().unwrap_or_default()
}

fn fraction(path: &Path, field: &str) -> (i64, i64) {
    let text = stream_field(path, field);
    let (num, den) = text.split_once('/').unwrap();
    (num.parse().unwrap(), den.parse().unwrap())
}

/// Of a fraction that is not negative, the nearest integer.
fn rounded(num: i64, den: i64) -> i64 {
    (2 * num + den).div_euclid(2 * den)
}

/// The lines that are not empty. Side data of a frame leaves empty ones and trailing commas.
fn ffprobe(path: &Path, entries: &str) -> Vec<String> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", entries]).arg(path);
    let lines = said(&mut ffprobe);
    lines.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
}

fn said(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}; install FFmpeg's programs (Debian: ffmpeg)"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
