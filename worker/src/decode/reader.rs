//! Brings a file to the packet at which a segment's decoding begins, and checks every packet against the plan's table.

use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use framefleet_contract::packet_table::PacketRow;
use framefleet_native::ffmpeg::demux::{Demuxer, Packet};
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::ffmpeg::origin::Origin;
use std::path::PathBuf;

/// An open file, in front of the packet `next`.
#[derive(Debug)]
pub struct Reader {
    pub demuxer: Demuxer,
    pub next: u64,
    path: PathBuf,
    /// Came here by a seek, after which a demuxer may give packets that it does not give otherwise.
    has_sought: bool,
    /// The packet `next` itself, where it had to be read already.
    read_ahead: Option<Packet>,
}

impl Reader {
    /// At the beginning of the file.
    pub fn open(origin: &Origin, limits: Limits) -> Result<Self> {
        Ok(Self {
            demuxer: Demuxer::open(origin, limits)?,
            next: 0,
            path: origin.shown().to_owned(),
            has_sought: false,
            read_ahead: None,
        })
    }

    /// Goes in front of the packet `first`, whose ordinal is `ordinal`, by aiming at the keyframe `aim` at or before it.
    ///
    /// A seek is only a hint: what counts is what is read after it. `false` where it was of no use; the reader is good
    /// for nothing then.
    pub fn seek(&mut self, aim: &PacketRow, ordinal: u64, first: &PacketRow, stop: &Stop) -> Result<bool> {
        if self.demuxer.seek_to(aim).is_err() {
            return Ok(false);
        }
        while let Ok(Some(packet)) = self.demuxer.next_packet() {
            stop.check()?;
            if is_same(&packet, first) {
                (self.next, self.read_ahead) = (ordinal, Some(packet));
                self.has_sought = true;
                return Ok(true);
            }
            if is_behind(&packet, first) {
                break;
            }
        }
        Ok(false)
    }

    /// Goes in front of the packet `ordinal`, from the beginning of the file.
    pub fn skip_to(&mut self, ordinal: u64, stop: &Stop) -> Result<()> {
        while self.next < ordinal {
            stop.check()?;
            if self.demuxer.next_packet()?.is_none() {
                return Err(self.changed());
            }
            self.next += 1;
        }
        Ok(())
    }

    /// The next packet, which must be the planned one.
    pub fn next_packet(&mut self, planned: &PacketRow) -> Result<Packet> {
        let packet = match self.read_ahead.take() {
            Some(packet) => Some(packet),
            None => self.demuxer.next_packet()?,
        };
        let Some(packet) = packet.filter(|packet| has_payload_of(packet, planned)) else { return Err(self.changed()) };
        self.next += 1;
        Ok(packet)
    }

    /// Takes the packet back that was read last.
    pub fn put_back(&mut self, packet: Packet) {
        self.next -= 1;
        self.read_ahead = Some(packet);
    }

    /// Where nothing was skipped, it is the file that changed.
    fn changed(&self) -> JobError {
        let difference = format!("packet {} is another one, or missing", self.next);
        if self.has_sought {
            return JobError::PlanRefuted { reason: format!("{difference} after a seek") };
        }
        JobError::SourceChanged { path: self.path.clone(), difference }
    }
}

fn has_payload_of(packet: &Packet, row: &PacketRow) -> bool {
    packet.payload().len() == row.size as usize && packet.checksum() == row.checksum
}

/// Byte positions tell packets of the same bytes apart. Timestamps do where a container has no positions: after a seek
/// some of them are made up.
fn is_same(packet: &Packet, row: &PacketRow) -> bool {
    let same_place = match (packet.position(), row.position) {
        (Some(position), Some(planned)) => position == planned,
        _ => packet.pts() == row.pts && packet.dts() == row.dts,
    };
    same_place && has_payload_of(packet, row)
}

fn is_behind(packet: &Packet, row: &PacketRow) -> bool {
    match (packet.position(), row.position) {
        (Some(position), Some(planned)) => position > planned,
        _ => packet.dts().zip(row.dts).is_some_and(|(dts, planned)| dts > planned),
    }
}
