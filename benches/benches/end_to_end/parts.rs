//! Decoding and preprocessing by themselves, with every core at work on that part alone.

use crate::Failure;
use framefleet_models::Manifest;
use framefleet_models::preprocess::Preprocessor;
use framefleet_native::ffmpeg::decode::{Decoder, Frame, Pictures, Received};
use framefleet_native::ffmpeg::demux::Demuxer;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_native::picture::{Display, Rotation};
use std::path::Path;
use std::time::{Duration, Instant};

/// Frames that preprocessing goes round in: 150 MB at 1080p, so they come from memory and not from a cache.
const FRAMES: usize = 50;

/// Runs `work` on as many threads as there are cores and adds up their rates.
pub fn on_all_cores(work: impl Fn() -> Result<f64, Failure> + Sync) -> Result<f64, Failure> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..framefleet_benches::machine::cores()).map(|_| scope.spawn(&work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no part panics")).sum()
    })
}

/// Frames per second of as many single-threaded decoders as cores, each over the whole video.
pub fn decode(video: &Path) -> Result<f64, Failure> {
    on_all_cores(|| {
        let (mut frames, start) = (0, Instant::now());
        for_each_frame(video, &mut |_| {
            frames += 1;
            true
        })?;
        Ok(f64::from(frames) / start.elapsed().as_secs_f64())
    })
}

/// The first frames of a video.
pub fn frames(video: &Path) -> Result<Vec<Frame>, Failure> {
    let mut frames = Vec::new();
    for_each_frame(video, &mut |frame| {
        frames.push(frame);
        frames.len() < FRAMES
    })?;
    if frames.is_empty() { Err("the video has no frames".into()) } else { Ok(frames) }
}

/// Frames per second from decoded pictures to a model's input.
pub fn preprocess(frames: &[Frame], manifest: &Manifest, window: Duration) -> Result<f64, Failure> {
    on_all_cores(|| {
        let pictures: Vec<_> = frames.iter().filter_map(Frame::picture).collect();
        let mut preprocessor = Preprocessor::new(manifest, &pictures[0])?;
        let mut input = vec![0.0; preprocessor.input_len()];
        rate(window, || {
            pictures.iter().try_for_each(|picture| preprocessor.fill(picture, &mut input))?;
            Ok(pictures.len())
        })
    })
}

/// How often per second `work` does what it counts, over at least this time. Its first call is to warm up.
pub fn rate(window: Duration, mut work: impl FnMut() -> Result<usize, Failure>) -> Result<f64, Failure> {
    work()?;
    let (mut done, start) = (0, Instant::now());
    while start.elapsed() < window {
        done += work()?;
    }
    Ok(done as f64 / start.elapsed().as_secs_f64())
}

fn for_each_frame(video: &Path, sink: &mut dyn FnMut(Frame) -> bool) -> Result<(), Failure> {
    let mut demuxer = Demuxer::open(video, Limits::default())?;
    let info = demuxer.info()?;
    // The videos that are measured have square pixels and stand upright.
    let display = Display { width: info.width, height: info.height, rotation: Rotation::None };
    let mut decoder = Decoder::open(&demuxer, display, Pictures::Reused)?;
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

fn drain(decoder: &mut Decoder, sink: &mut dyn FnMut(Frame) -> bool) -> Result<bool, Failure> {
    loop {
        match decoder.receive()? {
            Received::Nothing => return Ok(true),
            Received::Damaged => {}
            Received::Frame(frame) => {
                if !sink(frame) {
                    return Ok(false);
                }
            }
        }
    }
}
