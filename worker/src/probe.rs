//! Looks at a video without decoding it: what it is, and a table of all its packets.

use crate::error::Result;
use crate::interrupt::Stop;
use framefleet_contract::packet_table::PacketRow;
use framefleet_contract::plan::{Numbering, Ratio, Video};
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::demux::{Demuxer, Packet, StreamInfo};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::picture::{Display, Rotation};
use std::fs;
use std::path::Path;

/// What the probe found.
#[derive(Debug, Clone)]
pub struct Probe {
    pub video: Video,
    pub numbering: Numbering,
    /// In the order of the file, so that an ordinal is an index.
    pub packets: Vec<PacketRow>,
    /// By ordinal: whether decoding can begin there as if nothing came before, as far as the packet itself tells.
    pub is_idr: Vec<bool>,
    /// Whether the decoder is given new parameters on the way, which a later segment's decoder would not get.
    pub changes_parameters: bool,
}

/// Frames per second where neither the container nor the timestamps tell.
const FALLBACK_FRAME_RATE: Ratio = Ratio { num: 30, den: 1 };
/// Outside of these bounds, a container's frame rate is a mistake.
const PLAUSIBLE_FRAME_RATES: std::ops::RangeInclusive<f64> = 0.01..=1000.0;

/// Demuxes the whole file.
pub fn probe(path: &Path, limits: Limits, stop: &Stop) -> Result<Probe> {
    let mut demuxer = Demuxer::open(path, limits)?;
    let info = demuxer.info()?;
    refuse_truncated(path, &info)?;
    let mut packets = Vec::new();
    let mut is_idr = Vec::new();
    let mut changes_parameters = false;
    while let Some(packet) = demuxer.next_packet()? {
        stop.check()?;
        is_idr.push(packet.is_key() && info.idr_finder.is_some_and(|finder| finder.is_idr(packet.data())));
        changes_parameters |= packet.changes_parameters();
        packets.push(row_of(&packet));
    }
    if packets.is_empty() {
        let reason = "its video stream has no packets".to_owned();
        return Err(MediaError::NoVideo { path: path.to_owned(), reason }.into());
    }
    let numbering = number_frames(&info, &mut packets);
    let video = describe(&info, &packets);
    Ok(Probe { video, numbering, packets, is_idr, changes_parameters })
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
fn refuse_truncated(path: &Path, info: &StreamInfo) -> Result<()> {
    let size = fs::metadata(path).map_or(u64::MAX, |metadata| metadata.len());
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
        size: packet.data().len() as u32,
        checksum: packet.checksum(),
        key: packet.is_key(),
        discard: packet.is_discard(),
        corrupt: packet.is_corrupt(),
        frame: None,
    }
}

/// Numbers the frames by their packets' timestamps, where one packet is one frame for certain.
///
/// That is so in MP4 and MKV for codecs in which every packet shows a picture. Elsewhere a packet may be a field, a
/// picture that is not shown or one without a timestamp, and only decoding tells.
fn number_frames(info: &StreamInfo, packets: &mut [PacketRow]) -> Numbering {
    let one_to_one = info.idr_finder.is_some() && is_mp4_or_mkv(&info.container);
    let timestamps: Option<Vec<i64>> = packets.iter().filter(|row| !row.discard).map(|row| row.pts).collect();
    let Some(mut timestamps) = timestamps.filter(|_| one_to_one) else { return Numbering::Output };
    timestamps.sort_unstable();
    if timestamps.windows(2).any(|pair| pair[0] == pair[1]) {
        return Numbering::Output;
    }
    for row in packets.iter_mut().filter(|row| !row.discard) {
        row.frame = row.pts.and_then(|pts| timestamps.binary_search(&pts).ok()).map(|rank| rank as i64);
    }
    Numbering::Packets
}

fn is_mp4_or_mkv(container: &str) -> bool {
    container.split(',').any(|name| matches!(name, "mp4" | "matroska"))
}

fn describe(info: &StreamInfo, packets: &[PacketRow]) -> Video {
    let shown = packets.iter().filter(|row| !row.discard);
    let first_pts = shown.clone().filter_map(|row| row.pts).min();
    let last_pts = shown.clone().filter_map(|row| row.pts).max();
    let span_us =
        info.time_base.ticks_to_us(last_pts.zip(first_pts).map_or(0, |(last, first)| last.saturating_sub(first)));
    let frames = shown.count() as i64;
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
        packets: packets.len() as u64,
        first_pts,
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
            idr_finder: framefleet_native::ffmpeg::idr::IdrFinder::new("h264", &[1, 0, 0, 0, 3]),
        }
    }

    fn packets(pts: &[Option<i64>]) -> Vec<PacketRow> {
        let row = |pts: &Option<i64>| PacketRow { pts: *pts, size: 1, ..PacketRow::default() };
        pts.iter().map(row).collect()
    }

    #[test]
    fn frames_are_numbered_in_presentation_order() {
        let mut rows = packets(&[Some(0), Some(120), Some(40), Some(80)]);
        assert_eq!(number_frames(&info("mov,mp4"), &mut rows), Numbering::Packets);
        let numbers: Vec<_> = rows.iter().map(|row| row.frame).collect();
        assert_eq!(numbers, [Some(0), Some(3), Some(1), Some(2)]);
    }

    #[test]
    fn a_packet_that_is_not_shown_has_no_number() {
        let mut rows = packets(&[Some(-40), Some(0), Some(40)]);
        rows[0].discard = true;
        number_frames(&info("mov,mp4"), &mut rows);
        assert_eq!(rows[0].frame, None);
        assert_eq!(rows[1].frame, Some(0));
    }

    #[test]
    fn missing_and_repeated_timestamps_leave_the_numbers_to_the_decoder() {
        assert_eq!(number_frames(&info("mov,mp4"), &mut packets(&[Some(0), None])), Numbering::Output);
        assert_eq!(number_frames(&info("mov,mp4"), &mut packets(&[Some(0), Some(0)])), Numbering::Output);
        assert_eq!(number_frames(&info("mpegts"), &mut packets(&[Some(0), Some(1)])), Numbering::Output);
    }

    #[test]
    fn the_frame_rate_comes_from_the_timestamps_where_the_container_is_silent_or_absurd() {
        let rows = packets(&[Some(0), Some(40), Some(80)]);
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
