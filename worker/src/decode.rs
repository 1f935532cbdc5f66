//! Decodes the segments of a job, giving every frame its number.

use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::probe;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::packet_table::PacketRow;
use framefleet_contract::plan::{Numbering, Plan, Segment};
use framefleet_native::ffmpeg::decode::{Decoder, Frame, Received};
use framefleet_native::ffmpeg::demux::{Demuxer, Packet};
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

/// From this many pixels on, a second decoder thread is worth its memory: below it, one was measured to be as fast.
const PIXELS_FOR_TWO_THREADS: u32 = 1280 * 720;

/// Decodes segments of one job, best in their order: then nothing is read twice.
#[derive(Debug)]
pub struct SegmentDecoder<'a> {
    path: PathBuf,
    plan: &'a Plan,
    folder: &'a JobFolder,
    stop: &'a Stop,
    /// The open file and the ordinal of the packet that comes next.
    reader: Option<(Demuxer, u64)>,
}

impl<'a> SegmentDecoder<'a> {
    pub fn new(path: &Path, plan: &'a Plan, folder: &'a JobFolder, stop: &'a Stop) -> Self {
        Self { path: path.to_owned(), plan, folder, stop, reader: None }
    }

    /// Hands every frame of the segment to `sink`, in the order in which the decoder gives them.
    ///
    /// Ends early, without an error, when `sink` answers that nobody wants more frames.
    pub fn decode(&mut self, segment: &Segment, sink: &mut dyn FnMut(DecodedFrame) -> bool) -> Result<DecodeCounts> {
        let table = self.folder.packets(segment.start, segment.end)?;
        let mut demuxer = self.reader_at(segment, &table)?;
        let mut decoder = Decoder::open(&demuxer, probe::display_of(&self.plan.video), self.threads(&table))?;
        let mut numbers = FrameNumbers::new(self.plan, segment, &table);
        let mut counts = DecodeCounts::default();
        for (ordinal, row) in (segment.start..).zip(&table) {
            self.stop.check()?;
            let mut packet = match demuxer.next_packet()? {
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
        self.reader = Some((demuxer, segment.end));
        counts.end_frame = numbers.end;
        Ok(counts)
    }

    /// A damaged stream decodes differently from run to run with several threads.
    fn threads(&self, table: &[PacketRow]) -> usize {
        let large = self.plan.video.coded_width.saturating_mul(self.plan.video.coded_height) >= PIXELS_FOR_TWO_THREADS;
        if large && !table.iter().any(|row| row.corrupt) { 2 } else { 1 }
    }

    /// A demuxer whose next packet is the segment's first.
    fn reader_at(&mut self, segment: &Segment, table: &[PacketRow]) -> Result<Demuxer> {
        if let Some((demuxer, _)) = self.reader.take_if(|(_, next)| *next == segment.start) {
            return Ok(demuxer);
        }
        let mut demuxer = Demuxer::open(&self.path)?;
        if segment.start == 0 {
            return Ok(demuxer);
        }
        if self.seek(&mut demuxer, &table[0])? {
            return Ok(demuxer);
        }
        let mut demuxer = Demuxer::open(&self.path)?;
        for ordinal in 0..segment.start {
            self.stop.check()?;
            if demuxer.next_packet()?.is_none() {
                return Err(self.changed(ordinal));
            }
        }
        Ok(demuxer)
    }

    /// Tries to bring the demuxer in front of the packet `first`. A seek is only a hint: what counts is what is read.
    fn seek(&self, demuxer: &mut Demuxer, first: &PacketRow) -> Result<bool> {
        let Some(aim) = first.dts.or(first.pts) else { return Ok(false) };
        if demuxer.seek_before(aim).is_err() {
            return Ok(false);
        }
        let mut behind = 0;
        while let Some(packet) = demuxer.next_packet()? {
            self.stop.check()?;
            if is_planned(&packet, first) && packet.dts() == first.dts && packet.pts() == first.pts {
                return self.step_back(demuxer, aim, behind);
            }
            if packet.dts().is_some_and(|dts| dts > aim) {
                return Ok(false);
            }
            behind += 1;
        }
        Ok(false)
    }

    /// Seeks again and reads the packets that were found to lie in front of the first.
    fn step_back(&self, demuxer: &mut Demuxer, aim: i64, packets: usize) -> Result<bool> {
        demuxer.seek_before(aim)?;
        for _ in 0..packets {
            self.stop.check()?;
            demuxer.next_packet()?;
        }
        Ok(true)
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
