//! Does with a file what the worker does with it, and nothing with the result.

use framefleet_contract::packet_table::PacketRow;
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::decode::{Decoder, Pictures, Received};
use framefleet_native::ffmpeg::demux::Demuxer;
use framefleet_native::ffmpeg::hidden::is_hidden;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::picture::{Display, Picture, Plane, Rotation};
use std::path::Path;

/// What became of a file.
#[derive(Debug, Default)]
pub struct Seen {
    pub packets: u64,
    pub frames: u64,
    pub damaged: u64,
    /// Why it was not looked at to its end.
    pub refused: Option<MediaError>,
}

/// Probes, seeks and decodes.
pub fn look_at(path: &Path) -> Seen {
    let mut seen = Seen::default();
    if let Err(error) = try_look_at(path, &mut seen) {
        seen.refused = Some(error);
    }
    seen
}

fn try_look_at(path: &Path, seen: &mut Seen) -> Result<(), MediaError> {
    let last_key = probe(path, seen)?;
    if let Some(keyframe) = last_key {
        seek(path, &keyframe)?;
    }
    decode(path, seen)
}

/// Gives where a segment could begin: the last keyframe.
fn probe(path: &Path, seen: &mut Seen) -> Result<Option<PacketRow>, MediaError> {
    let mut demuxer = Demuxer::open(path, Limits::default())?;
    let info = demuxer.info()?;
    let mut last_key = None;
    while let Some(packet) = demuxer.next_packet()? {
        seen.packets += 1;
        std::hint::black_box((packet.checksum(), packet.pts(), packet.position(), packet.duration()));
        std::hint::black_box((packet.changes_parameters(), packet.is_corrupt(), packet.is_discard()));
        if packet.is_key() {
            std::hint::black_box(info.idr_finder.is_some_and(|finder| finder.is_idr(packet.data())));
            let (pts, dts, position) = (packet.pts(), packet.dts(), packet.position());
            last_key = Some(PacketRow { pts, dts, position, ..PacketRow::default() });
        }
        std::hint::black_box(is_hidden(&info.codec, packet.data()));
    }
    if let Some(pts) = last_key.and_then(|keyframe| keyframe.pts) {
        std::hint::black_box(demuxer.index_has_keyframe(pts));
    }
    Ok(last_key)
}

fn seek(path: &Path, keyframe: &PacketRow) -> Result<(), MediaError> {
    let mut demuxer = Demuxer::open(path, Limits::default())?;
    // A seek that fails is a seek that is not used.
    if demuxer.seek_to(keyframe).is_ok()
        && let Ok(Some(packet)) = demuxer.next_packet()
    {
        std::hint::black_box(packet.checksum());
    }
    Ok(())
}

fn decode(path: &Path, seen: &mut Seen) -> Result<(), MediaError> {
    let mut demuxer = Demuxer::open(path, Limits::default())?;
    let info = demuxer.info()?;
    let display = Display { width: info.width, height: info.height, rotation: Rotation::None };
    let mut decoder = Decoder::open(&demuxer, display, Pictures::Cleared)?;
    let mut ordinal = 0;
    while let Some(mut packet) = demuxer.next_packet()? {
        seen.damaged += u64::from(!decoder.send(&mut packet, ordinal)?);
        ordinal += 1;
        drain(&mut decoder, seen)?;
    }
    decoder.send_end()?;
    drain(&mut decoder, seen)
}

fn drain(decoder: &mut Decoder, seen: &mut Seen) -> Result<(), MediaError> {
    loop {
        match decoder.receive()? {
            Received::Nothing => return Ok(()),
            Received::Damaged => seen.damaged += 1,
            Received::Frame(frame) => {
                seen.frames += 1;
                std::hint::black_box((frame.pts(), frame.best_effort_pts(), frame.duration(), frame.is_damaged()));
                std::hint::black_box(frame.checksum()?);
                touch(&frame.picture().expect("it was decoded in software"));
            }
        }
    }
}

/// Reads the first and the last byte of every row.
fn touch(picture: &Picture<'_>) {
    let sample = if picture.depth > 8 { 2 } else { 1 };
    let chroma =
        (picture.width.div_ceil(1 << picture.chroma_shift_x), picture.height.div_ceil(1 << picture.chroma_shift_y));
    for (plane, (width, height)) in picture.planes.iter().zip([(picture.width, picture.height), chroma, chroma]) {
        touch_rows(plane, width * sample, height);
    }
}

fn touch_rows(plane: &Plane<'_>, row_bytes: usize, rows: usize) {
    for row in 0..rows {
        let start = row * plane.stride;
        std::hint::black_box((plane.data[start], plane.data[start + row_bytes - 1]));
    }
}
