//! Decoding by itself: as many sources at once, each with a thread and a decoder of its own, as the pipeline has them.

use crate::Failure;
use crate::card::Card;
use crate::window::{self, Window};
use framefleet_native::ffmpeg::decode::{Decoder, Frame, Pictures, Received};
use framefleet_native::ffmpeg::demux::Demuxer;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::picture::{Display, Rotation};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A video as a file has it.
#[derive(Debug, Clone, Copy)]
pub struct Contents {
    pub frames: u64,
    /// Of compressed video in a frame, on average.
    pub bytes_per_frame: f64,
}

/// Counts the packets of a video, of which each has a frame.
pub fn contents(video: &Path) -> Result<Contents, Failure> {
    let mut demuxer = Demuxer::open(video, Limits::default())?;
    let (mut frames, mut bytes) = (0, 0);
    while let Some(packet) = demuxer.next_packet()? {
        frames += 1;
        bytes += packet.payload().len();
    }
    Ok(Contents { frames, bytes_per_frame: bytes as f64 / frames.max(1) as f64 })
}

/// Frames of all sources together, from packets to pictures that lie on the card.
pub fn rate(card: &Card, video: &Path, sources: usize, frames: u64) -> Result<Window, Failure> {
    let decoded = &AtomicU64::new(0);
    let count = || decoded.load(Ordering::Relaxed);
    let decode_one = || {
        for_each_frame(card, video, &mut |_| {
            decoded.fetch_add(1, Ordering::Relaxed);
            true
        })
    };
    let all = || {
        thread::scope(|scope| {
            let threads: Vec<_> = (0..sources).map(|_| scope.spawn(decode_one)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a decoder panicked")?)
        })
    };
    let ((), window) = window::over(card, frames * sources as u64, &count, all)?;
    Ok(window)
}

/// The first frames of a video, where the decoder puts them.
pub fn first_frames(card: &Card, video: &Path, count: usize) -> Result<Vec<Frame>, Failure> {
    let mut frames = Vec::with_capacity(count);
    for_each_frame(card, video, &mut |frame| {
        frames.push(frame);
        frames.len() < count
    })?;
    if frames.is_empty() { Err(format!("{} has no frames", video.display()).into()) } else { Ok(frames) }
}

/// The same in host memory, whatever the card can do.
pub fn first_frames_in_software(video: &Path, count: usize) -> Result<Vec<Frame>, Failure> {
    let mut frames = Vec::with_capacity(count);
    let mut demuxer = Demuxer::open(video, Limits::default())?;
    let decoder = Decoder::open(&demuxer, display(&demuxer)?, Pictures::Reused)?;
    through(&mut demuxer, decoder, &mut |frame| {
        frames.push(frame);
        frames.len() < count
    })?;
    Ok(frames)
}

/// A decoder for a video, on the card where there is one that decodes.
pub fn decoder(card: &Card, demuxer: &Demuxer) -> Result<Decoder, Failure> {
    let display = display(demuxer)?;
    Ok(match &card.hardware {
        Some(hardware) => Decoder::open_on(hardware, demuxer, display)?,
        None => Decoder::open(demuxer, display, Pictures::Reused)?,
    })
}

/// The clips have square pixels and stand upright.
fn display(demuxer: &Demuxer) -> Result<Display, Failure> {
    let info = demuxer.info()?;
    Ok(Display { width: info.width, height: info.height, rotation: Rotation::None })
}

fn for_each_frame(card: &Card, video: &Path, sink: &mut dyn FnMut(Frame) -> bool) -> Result<(), Failure> {
    let mut demuxer = Demuxer::open(video, Limits::default())?;
    let decoder = decoder(card, &demuxer)?;
    through(&mut demuxer, decoder, sink)
}

fn through(demuxer: &mut Demuxer, mut decoder: Decoder, sink: &mut dyn FnMut(Frame) -> bool) -> Result<(), Failure> {
    while let Some(packet) = demuxer.next_packet()? {
        decoder.send_as_is(&packet)?;
        if !drain(&mut decoder, sink)? {
            return Ok(());
        }
    }
    decoder.send_end()?;
    drain(&mut decoder, sink)?;
    Ok(())
}

/// Everything that has come out. `false` when no more is wanted.
pub fn drain(decoder: &mut Decoder, sink: &mut dyn FnMut(Frame) -> bool) -> Result<bool, Failure> {
    loop {
        match decoder.receive()? {
            Received::Nothing => return Ok(true),
            Received::Damaged => return Err("the decoder calls a clip damaged".into()),
            Received::Frame(frame) => {
                if !sink(frame) {
                    return Ok(false);
                }
            }
        }
    }
}
