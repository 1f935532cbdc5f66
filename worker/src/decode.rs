//! Decodes the segments of a job, giving every frame its number.

mod frame_numbers;
mod reader;
mod way;

use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use crate::probe;
use frame_numbers::{FrameNumbers, Place};
use framefleet_contract::detection_file::DecodedOn;
use framefleet_contract::job_folder::JobFolder;
use framefleet_contract::packet_table::PacketRow;
use framefleet_contract::plan::{Numbering, Plan, Segment};
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::decode::{Decoder, Frame, Pictures, Received};
use framefleet_native::ffmpeg::hardware::{Admitted, Hardware};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use reader::Reader;
use std::collections::BTreeSet;
use std::sync::Arc;
use way::{Way, refusal};

/// A frame with its place in the video.
#[derive(Debug)]
pub struct DecodedFrame {
    pub segment: u32,
    /// Rank in presentation order, counting every frame. Rises from frame to frame of a segment.
    pub number: i64,
    /// Since the first frame, microseconds.
    pub pts_us: i64,
    pub frame: Frame,
}

/// What a segment's decoding came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DecodeCounts {
    pub decoded: u64,
    /// Frames of one segment may come from both: then it is software, which had the last word.
    pub decoded_on: DecodedOn,
    /// Why it was software, although there is a GPU.
    pub software_because: Option<String>,
    /// Packets at which damage showed: by a refusal, a mark, a word in FFmpeg's log, or a frame that came too late.
    pub damaged: u64,
    /// One more than the greatest frame number.
    pub end_frame: i64,
    /// Checksums of the pictures of the segment's first packet, and of the first packet behind it.
    pub first_picture: Option<u32>,
    pub next_picture: Option<u32>,
}

/// Decodes segments of one job, best in their order: then little is read twice.
#[derive(Debug)]
pub struct SegmentDecoder<'a> {
    origin: Origin,
    limits: Limits,
    plan: &'a Plan,
    folder: &'a JobFolder,
    stop: &'a Stop,
    way: Way,
    /// Of the segment decoded last, to go on where it ended.
    reader: Option<Reader>,
}

impl<'a> SegmentDecoder<'a> {
    /// In software.
    pub fn new(origin: &Origin, limits: Limits, plan: &'a Plan, folder: &'a JobFolder, stop: &'a Stop) -> Self {
        Self { origin: origin.clone(), limits, plan, folder, stop, way: Way::Software { because: None }, reader: None }
    }

    /// On this GPU, where it can.
    #[must_use]
    pub fn on(self, hardware: Option<&Arc<Hardware>>) -> Self {
        Self { way: Way::of(self.plan, hardware), ..self }
    }

    /// Hands every frame of the segment to `sink`, in presentation order.
    ///
    /// Decoding begins at `decode_from`, and goes one packet beyond the segment, for the picture that its neighbour
    /// begins with. Ends early, without an error, when `sink` answers that nobody wants more frames.
    ///
    /// # Errors
    /// [`JobError::PlanRefuted`] if other frames came out than planned, or if anything is damaged and the plan does not
    /// clear pictures: what a decoder makes of damage depends on what it decoded before.
    ///
    /// Whatever NVDEC complains of, software decodes the segment anew and judges it. No frame is handed out twice: of the
    /// codecs that NVDEC is given, the same frame comes out of both.
    pub fn decode(&mut self, segment: &Segment, sink: &mut dyn FnMut(DecodedFrame) -> bool) -> Result<DecodeCounts> {
        let mut next = i64::MIN;
        if let Way::Nvdec { hardware, bytes } = self.way.clone() {
            let mut once = |frame: DecodedFrame| {
                next = frame.number + 1;
                sink(frame)
            };
            match self.decode_on_nvdec(&hardware, bytes, segment, &mut once) {
                Ok(counts) => return Ok(DecodeCounts { decoded_on: DecodedOn::Nvdec, ..counts }),
                Err(error) => self.way = Way::software(refusal(error)?),
            }
        }
        let mut rest = |frame: DecodedFrame| frame.number < next || sink(frame);
        let pictures = if self.plan.clears_pictures { Pictures::Cleared } else { Pictures::Reused };
        let display = probe::display_of(&self.plan.video);
        let counts =
            self.decode_with(segment, &mut rest, |reader| Decoder::open(&reader.demuxer, display, pictures))?;
        let software_because = match &self.way {
            Way::Software { because } => because.clone(),
            Way::Nvdec { .. } => None,
        };
        Ok(DecodeCounts { decoded_on: DecodedOn::Software, software_because, ..counts })
    }

    fn decode_on_nvdec(
        &mut self,
        hardware: &Hardware,
        bytes: u64,
        segment: &Segment,
        sink: &mut dyn FnMut(DecodedFrame) -> bool,
    ) -> Result<DecodeCounts> {
        let _permit = match hardware.admission().admit(bytes, || self.stop.is_asked()) {
            Admitted::In(permit) => permit,
            Admitted::GivenUp => return Err(JobError::Interrupted),
            Admitted::TooLarge => {
                let budget = hardware.admission().budget().bytes >> 20;
                let reason = format!("it takes {} MiB of the GPU's memory, and {budget} may be taken", bytes >> 20);
                return Err(MediaError::HardwareRefused { reason }.into());
            }
        };
        let display = probe::display_of(&self.plan.video);
        self.decode_with(segment, sink, |reader| Decoder::open_on(hardware, &reader.demuxer, display))
    }

    fn decode_with(
        &mut self,
        segment: &Segment,
        sink: &mut dyn FnMut(DecodedFrame) -> bool,
        open: impl FnOnce(&Reader) -> std::result::Result<Decoder, MediaError>,
    ) -> Result<DecodeCounts> {
        let numbers = FrameNumbers::new(self.plan, segment, self.folder)?;
        let mut reader = self.reader_at(segment)?;
        let mut decoder = open(&reader)?;
        let must_be_sound = !self.plan.clears_pictures;
        let (counts, next) = (DecodeCounts::default(), segment.first_frame);
        let mut frames =
            Frames { segment, must_be_sound, numbers, damaged: BTreeSet::new(), counts, next, refuted: None, sink };
        let end = (segment.end + 1).min(self.plan.video.packets);
        for (ordinal, row) in (segment.decode_from..).zip(self.folder.packets(segment.decode_from, end)?) {
            self.stop.check()?;
            let mut packet = reader.next_packet(&row?)?;
            let taken = match self.plan.numbering {
                Numbering::Packets => decoder.send(&mut packet, ordinal as i64)?,
                Numbering::Output => decoder.send_as_is(&packet)?,
            };
            if !taken {
                frames.damage(ordinal);
            }
            if !frames.drain(&mut decoder, ordinal)? {
                return frames.end_early();
            }
            if ordinal == segment.end {
                reader.put_back(packet);
            }
        }
        decoder.send_end()?;
        if !frames.drain(&mut decoder, segment.end - 1)? {
            return frames.end_early();
        }
        self.reader = Some(reader);
        frames.finish()
    }

    /// A reader whose next packet is the one at which decoding begins.
    fn reader_at(&mut self, segment: &Segment) -> Result<Reader> {
        let first = segment.decode_from;
        if let Some(reader) = self.reader.take().filter(|reader| reader.next == first) {
            return Ok(reader);
        }
        if segment.seek_to > 0 {
            let mut reader = Reader::open(&self.origin, self.limits)?;
            if reader.seek(&self.row(segment.seek_to)?, first, &self.row(first)?, self.stop)? {
                return Ok(reader);
            }
            tracing::info!("segment {}: seeking was of no use, reading from the beginning", segment.index);
        }
        let mut reader = Reader::open(&self.origin, self.limits)?;
        reader.skip_to(first, self.stop)?;
        Ok(reader)
    }

    fn row(&self, ordinal: u64) -> Result<PacketRow> {
        let mut rows = self.folder.packets(ordinal, ordinal + 1)?;
        rows.next().expect("a table that is too short gives an error").map_err(JobError::from)
    }
}

/// What becomes of the frames of one segment.
struct Frames<'a> {
    segment: &'a Segment,
    /// Whether damage refutes the plan.
    must_be_sound: bool,
    numbers: FrameNumbers,
    /// The packets at which damage showed.
    damaged: BTreeSet<u64>,
    counts: DecodeCounts,
    /// The number that the next frame has if none is missing.
    next: i64,
    /// Why the plan does not hold.
    refuted: Option<String>,
    sink: &'a mut dyn FnMut(DecodedFrame) -> bool,
}

impl Frames<'_> {
    /// Takes what the decoder has ready after the packet `sent`. `false` when nobody wants more.
    fn drain(&mut self, decoder: &mut Decoder, sent: u64) -> Result<bool> {
        loop {
            match decoder.receive()? {
                Received::Nothing => return Ok(self.refuted.is_none()),
                Received::Damaged => self.damage(sent),
                Received::Frame(frame) => {
                    if !self.take(frame, sent)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Damage outside of the segment is its neighbours' matter.
    fn damage(&mut self, ordinal: u64) {
        if (self.segment.start..self.segment.end).contains(&ordinal) {
            self.damaged.insert(ordinal);
            self.counts.damaged = self.damaged.len() as u64;
            self.refute_if(self.must_be_sound, || format!("packet {ordinal} is damaged"));
        }
    }

    fn take(&mut self, frame: Frame, sent: u64) -> Result<bool> {
        let Some(place) = self.place(&frame)? else { return Ok(self.refuted.is_none()) };
        if frame.is_damaged() {
            let carried = frame.pts().and_then(|ordinal| u64::try_from(ordinal).ok());
            self.damage(carried.filter(|_| matches!(self.numbers, FrameNumbers::Ranks(_))).unwrap_or(sent));
        }
        let due = self.next;
        self.refute_if(self.counts.damaged == 0 && place.number != due, || {
            format!("frame {} came where {due} was due", place.number)
        });
        if self.refuted.is_some() {
            return Ok(false);
        }
        if place.number < due {
            // Damage made it late: there is no place for it any more.
            self.damage(sent);
            return Ok(true);
        }
        self.next = place.number + 1;
        self.counts.decoded += 1;
        let Place { number, pts_us } = place;
        Ok((self.sink)(DecodedFrame { segment: self.segment.index, number, pts_us, frame }))
    }

    /// `None` for a frame that is not the segment's own.
    fn place(&mut self, frame: &Frame) -> Result<Option<Place>> {
        let ranks = match &mut self.numbers {
            FrameNumbers::Counter(counter) => return Ok(Some(counter.next(frame))),
            FrameNumbers::Ranks(ranks) => ranks,
        };
        // The decoder carried the packet's ordinal along as its timestamp.
        let ordinal = frame.pts().and_then(|ordinal| u64::try_from(ordinal).ok());
        match ordinal {
            Some(ordinal) if ordinal < self.segment.start => return Ok(None),
            Some(ordinal) if ordinal == self.segment.end => {
                self.counts.next_picture = Some(frame.checksum()?);
                return Ok(None);
            }
            Some(ordinal) if ordinal == self.segment.start => self.counts.first_picture = Some(frame.checksum()?),
            _ => {}
        }
        let place = ordinal.and_then(|ordinal| ranks.place_of(ordinal));
        self.refute_if(place.is_none() && self.counts.damaged == 0, || {
            "a frame came out that no packet announced".to_owned()
        });
        Ok(place)
    }

    fn finish(mut self) -> Result<DecodeCounts> {
        self.counts.end_frame = self.next;
        if let FrameNumbers::Ranks(ranks) = &self.numbers {
            let missing = ranks.frames().saturating_sub(self.counts.decoded);
            self.counts.end_frame = ranks.end();
            // Damage explains that frames are missing, but not that more are than came out.
            let explained = if self.counts.damaged == 0 { 0 } else { self.counts.decoded };
            self.refute_if(missing > explained, || format!("{missing} frames are missing"));
        }
        self.end_early()
    }

    fn end_early(self) -> Result<DecodeCounts> {
        match self.refuted {
            Some(reason) => {
                Err(JobError::PlanRefuted { reason: format!("in segment {}, {reason}", self.segment.index) })
            }
            None => Ok(self.counts),
        }
    }

    fn refute_if(&mut self, refuted: bool, because: impl FnOnce() -> String) {
        if refuted && self.refuted.is_none() {
            self.refuted = Some(because());
        }
    }
}
