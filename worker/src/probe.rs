//! Looks at a video without decoding more than its first frame: what it is, all its packets, where it can be cut.

mod packet_scan;

use crate::error::Result;
use crate::interrupt::Stop;
use framefleet_contract::job_folder::JobFolderError;
use framefleet_contract::packet_table::PacketRow;
use framefleet_contract::plan::{Ratio, Video};
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::decode::{Decoder, Pictures, Received};
use framefleet_native::ffmpeg::demux::{Demuxer, Packet, StreamInfo};
use framefleet_native::ffmpeg::hidden::is_hidden;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use framefleet_native::picture::{Display, Rotation};
use packet_scan::{Found, PacketScan, Signs};
use std::path::Path;

pub use packet_scan::Keyframe;

/// What the probe found.
#[derive(Debug, Clone)]
pub struct Probe {
    pub video: Video,
    /// The keyframes that decoding can begin before, in the order of the file. Empty where frames are not numbered.
    pub keyframes: Vec<Keyframe>,
    /// Why the packets' timestamps do not number the frames; `None` where they do.
    pub unnumbered_because: Option<&'static str>,
    /// Why pieces of it would not be decoded like the whole; `None` where nothing speaks against it.
    pub uncut_because: Option<&'static str>,
}

/// Frames per second where neither the container nor the timestamps tell.
const FALLBACK_FRAME_RATE: Ratio = Ratio { num: 30, den: 1 };
/// Outside of these bounds, a container's frame rate is a mistake.
const PLAUSIBLE_FRAME_RATES: std::ops::RangeInclusive<f64> = 0.01..=1000.0;
/// Packets that are decoded to find the first frame. A recording that begins within a group of pictures has frames from
/// its first keyframe on, some seconds later.
const HEAD_PACKETS: usize = 1000;

/// Takes the rows of the packet table, in the order of the file.
pub type PushPacket<'a> = dyn FnMut(PacketRow) -> std::result::Result<(), JobFolderError> + 'a;

/// Demuxes the whole file.
pub fn probe(origin: &Origin, limits: Limits, stop: &Stop, push: &mut PushPacket<'_>) -> Result<Probe> {
    let path = origin.shown();
    let mut demuxer = Demuxer::open(origin, limits)?;
    let info = demuxer.info()?;
    refuse_truncated(path, demuxer.file_bytes(), &info)?;
    let mut scan = PacketScan::new(first_shown(origin, limits, &info, stop)?);
    while let Some(packet) = demuxer.next_packet()? {
        stop.check()?;
        let signs = Signs {
            is_hidden: is_hidden(&info.codec, packet.data()),
            is_idr: packet.is_key() && info.idr_finder.is_some_and(|finder| finder.is_idr(packet.data())),
            changes_parameters: packet.changes_parameters(),
        };
        let mut row = row_of(&packet);
        scan.take(&mut row, signs);
        push(row)?;
    }
    let mut found = scan.finish();
    if found.packets == 0 {
        let reason = "its video stream has no packets".to_owned();
        return Err(MediaError::NoVideo { path: path.to_owned(), reason }.into());
    }
    found.keyframes.retain(|keyframe| is_indexed(&demuxer, keyframe));
    let video = describe(&info, &found);
    limits.check_duration(path, video.duration_us as f64 / 1e6)?;
    Ok(Probe {
        video,
        keyframes: found.keyframes,
        unnumbered_because: found.unnumbered_because,
        uncut_because: found.uncut_because,
    })
}

/// The timestamp of the first frame that comes out of a decoder: pictures that would be shown before it never are.
fn first_shown(origin: &Origin, limits: Limits, info: &StreamInfo, stop: &Stop) -> Result<Option<i64>> {
    let mut demuxer = Demuxer::open(origin, limits)?;
    let display = Display { width: info.width, height: info.height, rotation: Rotation::None };
    let mut decoder = Decoder::open(&demuxer, display, Pictures::Reused)?;
    let mut timestamps = Vec::new();
    let mut at_end = false;
    while !at_end {
        stop.check()?;
        if let Some(mut packet) = demuxer.next_packet()?.filter(|_| timestamps.len() < HEAD_PACKETS) {
            timestamps.push(packet.pts());
            decoder.send(&mut packet, timestamps.len() as i64 - 1)?;
        } else {
            at_end = true;
            decoder.send_end()?;
        }
        loop {
            match decoder.receive()? {
                Received::Frame(frame) => {
                    let ordinal = frame.pts().and_then(|ordinal| usize::try_from(ordinal).ok());
                    return Ok(ordinal.and_then(|ordinal| *timestamps.get(ordinal)?));
                }
                Received::Damaged => {}
                Received::Nothing => break,
            }
        }
    }
    Ok(None)
}

/// A container's flag is not enough where it has an index, nor the index alone: some flag every packet, others index them.
fn is_indexed(demuxer: &Demuxer, keyframe: &Keyframe) -> bool {
    let known = |timestamp: i64| demuxer.index_has_keyframe(timestamp);
    known(keyframe.pts).is_none_or(|by_pts| by_pts || keyframe.dts.and_then(known) == Some(true))
}

/// How the plan's video is displayed.
pub fn display_of(video: &Video) -> Display {
    let rotation = match video.rotation_degrees {
        90 => Rotation::Quarter,
        180 => Rotation::Half,
        270 => Rotation::ThreeQuarters,
        _ => Rotation::None,
    };
    Display { width: video.width, height: video.height, rotation }
}

/// A copy that stopped early has an index of packets that are not there.
fn refuse_truncated(path: &Path, size: u64, info: &StreamInfo) -> Result<()> {
    match info.indexed_end {
        Some(end) if end > size => {
            let reason = format!("it ends after {size} bytes, and its index names frames up to byte {end}");
            Err(MediaError::Corrupt { path: path.to_owned(), reason }.into())
        }
        _ => Ok(()),
    }
}

fn row_of(packet: &Packet) -> PacketRow {
    PacketRow {
        pts: packet.pts(),
        dts: packet.dts(),
        position: packet.position(),
        size: packet.payload().len() as u32,
        checksum: packet.checksum(),
        key: packet.is_key(),
        discard: packet.is_discard(),
        corrupt: packet.is_corrupt(),
        shown: false,
    }
}

fn describe(info: &StreamInfo, found: &Found) -> Video {
    let (first_pts, last_pts) = found.pts_range.unzip();
    let span_us =
        info.time_base.ticks_to_us(last_pts.zip(first_pts).map_or(0, |(last, first)| last.saturating_sub(first)));
    let frames = found.kept;
    let frame_rate = info
        .frame_rate
        .filter(|rate| plausible(*rate))
        .or_else(|| rate_of(frames - 1, span_us))
        .unwrap_or(FALLBACK_FRAME_RATE);
    let frame_us = (1e6 / frame_rate.as_f64()).round() as i64;
    let duration_us =
        if last_pts > first_pts { span_us.saturating_add(frame_us) } else { frames.saturating_mul(frame_us) };
    let (width, height) = displayed_size(info);
    Video {
        container: info.container.clone(),
        codec: info.codec.clone(),
        pixel_format: info.pixel_format.clone(),
        coded_width: info.width,
        coded_height: info.height,
        width,
        height,
        rotation_degrees: match info.rotation {
            Rotation::None => 0,
            Rotation::Quarter => 90,
            Rotation::Half => 180,
            Rotation::ThreeQuarters => 270,
        },
        time_base: info.time_base,
        frame_rate,
        packets: found.packets,
        announced_frames: found.announced,
        first_pts: found.first_shown.or(first_pts),
        duration_us,
    }
}

fn plausible(rate: Ratio) -> bool {
    PLAUSIBLE_FRAME_RATES.contains(&rate.as_f64())
}

fn rate_of(intervals: i64, span_us: i64) -> Option<Ratio> {
    let millihertz = (intervals as f64 * 1e9 / span_us as f64).round();
    let rate = Ratio { num: millihertz as i32, den: 1000 };
    (span_us > 0 && plausible(rate)).then_some(rate)
}

/// How what the container tells of is displayed.
pub fn display_of_stream(info: &StreamInfo) -> Display {
    let (width, height) = displayed_size(info);
    Display { width, height, rotation: info.rotation }
}

/// Square pixels by stretching the width, as players do, and then the rotation.
fn displayed_size(info: &StreamInfo) -> (u32, u32) {
    let width = (f64::from(info.width) * info.sample_aspect.as_f64()).round().clamp(1.0, 65536.0) as u32;
    match info.rotation {
        Rotation::None | Rotation::Half => (width, info.height),
        Rotation::Quarter | Rotation::ThreeQuarters => (info.height, width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(container: &str) -> StreamInfo {
        StreamInfo {
            container: container.into(),
            codec: "h264".into(),
            pixel_format: "yuv420p".into(),
            width: 720,
            height: 576,
            sample_aspect: Ratio { num: 16, den: 15 },
            rotation: Rotation::None,
            time_base: Ratio { num: 1, den: 1000 },
            frame_rate: None,
            indexed_end: None,
            idr_finder: None,
        }
    }

    #[test]
    fn the_frame_rate_comes_from_the_timestamps_where_the_container_is_silent_or_absurd() {
        let rows = Found { packets: 3, kept: 3, pts_range: Some((0, 80)), ..Found::default() };
        assert_eq!(describe(&info("mp4"), &rows).frame_rate, Ratio { num: 25_000, den: 1000 });
        let absurd = StreamInfo { frame_rate: Some(Ratio { num: 90_000, den: 1 }), ..info("mp4") };
        let video = describe(&absurd, &rows);
        assert_eq!(video.frame_rate, Ratio { num: 25_000, den: 1000 });
        assert_eq!(video.duration_us, 120_000);
    }

    #[test]
    fn pixels_become_square_and_the_picture_upright() {
        assert_eq!(displayed_size(&info("mp4")), (768, 576));
        let phone = StreamInfo { rotation: Rotation::Quarter, ..info("mp4") };
        assert_eq!(displayed_size(&phone), (576, 768));
    }
}
