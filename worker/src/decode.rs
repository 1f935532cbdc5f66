//! Decodes the segments of a job, giving every frame its number.

use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::probe;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::packet_table::PacketRow;
use framefleet_contract::plan::{Numbering, Plan, Segment};
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::decode::{Decoder, Frame, Received};
use framefleet_native::ffmpeg::demux::{Demuxer, Packet};
use framefleet_native::ffmpeg::limits::Limits;
use std::path::{Path, PathBuf};

/// A frame with its place in the video.
#[derive(Debug)]
pub struct DecodedFrame {
    pub segment: u32,
    /// Rank in presentation order, counting every frame.
    pub number: i64,
    /// Since the first frame, microseconds.
    pub pts_us: i64,
    pub frame: Frame,
}

/// What a segment's decoding came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    pub decoded: u64,
    /// Packets that were refused, and frames marked as damaged.
    pub damaged: u64,
    /// One more than the greatest frame number.
    pub end_frame: i64,
}

/// A damaged stream decodes differently from run to run with several threads, and damage shows only while decoding. One
/// thread decodes several times as many frames as two cores can infer.
const DECODER_THREADS: usize = 1;

/// Decodes segments of one job, best in their order: then nothing is read twice.
#[derive(Debug)]
pub struct SegmentDecoder<'a> {
    path: PathBuf,
    limits: Limits,
    plan: &'a Plan,
    folder: &'a JobFolder,
    stop: &'a Stop,
    /// Of the segment decoded last, to go on where it ended.
    reader: Option<Reader>,
}

/// An open file, in front of the packet `next`.
#[derive(Debug)]
struct Reader {
    demuxer: Demuxer,
    next: u64,
    /// The packet `next` itself, where it had to be read to know that it is the one.
    read_ahead: Option<Packet>,
}

impl Reader {
    fn next_packet(&mut self) -> std::result::Result<Option<Packet>, MediaError> {
        self.next += 1;
        match self.read_ahead.take() {
            Some(packet) => Ok(Some(packet)),
            None => self.demuxer.next_packet(),
        }
    }
}

impl<'a> SegmentDecoder<'a> {
    pub fn new(path: &Path, limits: Limits, plan: &'a Plan, folder: &'a JobFolder, stop: &'a Stop) -> Self {
        Self { path: path.to_owned(), limits, plan, folder, stop, reader: None }
    }

    /// Hands every frame of the segment to `sink`, in the order in which the decoder gives them.
    ///
    /// Ends early, without an error, when `sink` answers that nobody wants more frames.
    pub fn decode(&mut self, segment: &Segment, sink: &mut dyn FnMut(DecodedFrame) -> bool) -> Result<DecodeCounts> {
        let table = self.folder.packets(segment.start, segment.end)?;
        let mut reader = self.reader_at(segment, &table)?;
        let display = probe::display_of(&self.plan.video);
        let mut decoder = Decoder::open(&reader.demuxer, display, DECODER_THREADS)?;
        let mut numbers = FrameNumbers::new(self.plan, segment, &table);
        let mut counts = DecodeCounts::default();
        for (ordinal, row) in (segment.start..).zip(&table) {
            self.stop.check()?;
            let mut packet = match reader.next_packet()? {
                Some(packet) if is_planned(&packet, row) => packet,
                _ => return Err(self.changed(ordinal)),
            };
            let taken = match self.plan.numbering {
                Numbering::Packets => decoder.send(&mut packet, ordinal as i64)?,
                Numbering::Output => decoder.send_as_is(&packet)?,
            };
            counts.damaged += u64::from(!taken);
            if !drain(&mut decoder, segment.index, &mut numbers, &mut counts, sink)? {
                return Ok(counts);
            }
        }
        decoder.send_end()?;
        drain(&mut decoder, segment.index, &mut numbers, &mut counts, sink)?;
        self.reader = Some(reader);
        counts.end_frame = numbers.end;
        Ok(counts)
    }

    /// A reader whose next packet is the segment's first.
    fn reader_at(&mut self, segment: &Segment, table: &[PacketRow]) -> Result<Reader> {
        if let Some(reader) = self.reader.take().filter(|reader| reader.next == segment.start) {
            return Ok(reader);
        }
        if segment.start > 0
            && let Some(first) = table.first()
            && let Some(reader) = self.seek(segment.start, first)?
        {
            return Ok(reader);
        }
        let mut reader = Reader { demuxer: Demuxer::open(&self.path, self.limits)?, next: 0, read_ahead: None };
        while reader.next < segment.start {
            self.stop.check()?;
            if reader.next_packet()?.is_none() {
                return Err(self.changed(reader.next));
            }
        }
        Ok(reader)
    }

    /// Tries to come in front of the packet `first` without reading all before it. A seek is only a hint: what counts is
    /// what is read after it. `None` where it was of no use.
    fn seek(&self, ordinal: u64, first: &PacketRow) -> Result<Option<Reader>> {
        let Some(aim) = first.dts.or(first.pts) else { return Ok(None) };
        let mut demuxer = Demuxer::open(&self.path, self.limits)?;
        if demuxer.seek_before(aim).is_err() {
            return Ok(None);
        }
        while let Ok(Some(packet)) = demuxer.next_packet() {
            self.stop.check()?;
            if is_planned(&packet, first) && packet.dts() == first.dts && packet.pts() == first.pts {
                return Ok(Some(Reader { demuxer, next: ordinal, read_ahead: Some(packet) }));
            }
            if packet.dts().is_some_and(|dts| dts > aim) {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn changed(&self, ordinal: u64) -> JobError {
        let difference = format!("packet {ordinal} is another one, or missing");
        JobError::SourceChanged { path: self.path.clone(), difference }
    }
}

fn is_planned(packet: &Packet, row: &PacketRow) -> bool {
    packet.data().len() == row.size as usize && packet.checksum() == row.checksum
}

/// Takes what the decoder has ready. `false` when nobody wants more.
fn drain(
    decoder: &mut Decoder,
    segment: u32,
    numbers: &mut FrameNumbers<'_>,
    counts: &mut DecodeCounts,
    sink: &mut dyn FnMut(DecodedFrame) -> bool,
) -> Result<bool> {
    loop {
        match decoder.receive()? {
            Received::Nothing => return Ok(true),
            Received::Damaged => counts.damaged += 1,
            Received::Frame(frame) => {
                let Some((number, pts_us)) = numbers.next(&frame) else { continue };
                counts.decoded += 1;
                counts.damaged += u64::from(frame.is_damaged());
                if !sink(DecodedFrame { segment, number, pts_us, frame }) {
                    return Ok(false);
                }
            }
        }
    }
}

/// Gives frames their numbers and times.
#[derive(Debug)]
struct FrameNumbers<'a> {
    plan: &'a Plan,
    start: u64,
    table: &'a [PacketRow],
    end: i64,
    /// Where frames are counted: the first one's timestamp, and the last one's time.
    first_pts: Option<i64>,
    last_us: i64,
}

impl<'a> FrameNumbers<'a> {
    fn new(plan: &'a Plan, segment: &Segment, table: &'a [PacketRow]) -> Self {
        let end = match plan.numbering {
            Numbering::Packets => table.iter().filter_map(|row| row.frame).max().map_or(0, |last| last + 1),
            Numbering::Output => 0,
        };
        Self { plan, start: segment.start, table, end, first_pts: None, last_us: 0 }
    }

    /// `None` for a frame that is not shown.
    fn next(&mut self, frame: &Frame) -> Option<(i64, i64)> {
        match self.plan.numbering {
            Numbering::Packets => self.of_packet(frame.pts()?),
            Numbering::Output => Some(self.counted(frame.best_effort_pts())),
        }
    }

    /// The decoder carried the packet's ordinal along as its timestamp.
    fn of_packet(&self, ordinal: i64) -> Option<(i64, i64)> {
        let index = u64::try_from(ordinal).ok()?.checked_sub(self.start)?;
        let row = self.table.get(usize::try_from(index).ok()?)?;
        let ticks = row.pts?.saturating_sub(self.plan.video.first_pts?);
        Some((row.frame?, self.plan.video.time_base.ticks_to_us(ticks)))
    }

    fn counted(&mut self, pts: Option<i64>) -> (i64, i64) {
        let video = &self.plan.video;
        let number = self.end;
        self.end += 1;
        let frame_us = (1e6 / video.frame_rate.as_f64()).round() as i64;
        let guess = if number == 0 { 0 } else { self.last_us.saturating_add(frame_us) };
        let pts_us = pts.map_or(guess, |pts| {
            let first = *self.first_pts.get_or_insert(pts);
            video.time_base.ticks_to_us(pts.saturating_sub(first))
        });
        self.last_us = pts_us;
        (number, pts_us)
    }
}
