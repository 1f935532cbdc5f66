//! From a packet to tracks: one source, one picture at a time, nothing else on the card.
//!
//! The clock starts when the decoder is given the packet that holds a picture, and stops when the tracker has answered for
//! that picture's detections. The next packet is given after that, as from a camera that is slower than the card. Reading
//! and writing files are not in it. The clip has no picture that is shown before an earlier one, so no picture waits for
//! its turn in the decoder.

use crate::card::Card;
use crate::infer::thresholds;
use crate::videos::{Clip, Clips, Codec};
use crate::{Failure, Options, decode};
use framefleet_contract::detection::Detection;
use framefleet_models::device::ToDetect;
use framefleet_native::ffmpeg::decode::Frame;
use framefleet_native::ffmpeg::demux::Demuxer;
use framefleet_native::ffmpeg::limits::Limits;
use framefleet_worker::track::{ByteTrack, ByteTrackSettings, TrackerInput};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

/// Milliseconds, one for each picture.
#[derive(Debug)]
pub struct Latency {
    pub model: String,
    pub by_codec: Vec<(Codec, Vec<f64>)>,
}

/// Those that meet what is new to the decoder and the session.
const WARM_UP: usize = 20;

pub fn of_model(card: &Card, onnx: &Path, clips: &Clips, options: &Options) -> Result<Latency, Failure> {
    let serving = card.serving(onnx, &card.one_at_a_time)?;
    let mut by_codec = Vec::new();
    for &codec in &options.codecs {
        eprintln!("latency: {}, {}", serving.checked().model.name, codec.title());
        by_codec.push((codec, milliseconds(card, &serving, &clips.path(codec, Clip::InOrder)?)?));
    }
    Ok(Latency { model: serving.checked().model.name.clone(), by_codec })
}

fn milliseconds(card: &Card, serving: &framefleet_models::Serving, video: &Path) -> Result<Vec<f64>, Failure> {
    let mut session = serving.on_device(&card.one_at_a_time, 1)?;
    let thresholds = thresholds(serving);
    let mut demuxer = Demuxer::open(video, Limits::default())?;
    let mut decoder = decode::decoder(card, &demuxer)?;
    let mut tracker = ByteTrack::new(ByteTrackSettings::default(), 25.0);
    let (mut inputs, mut given, mut taken) = (Vec::new(), HashMap::new(), Vec::new());
    let mut frames: Vec<Frame> = Vec::new();
    while let Some(packet) = demuxer.next_packet()? {
        given.insert(packet.pts(), Instant::now());
        decoder.send_as_is(&packet)?;
        decode::drain(&mut decoder, &mut |frame| {
            frames.push(frame);
            true
        })?;
        for frame in frames.drain(..) {
            session.start(&[ToDetect { frame: &frame, thresholds: &thresholds }])?;
            inputs.clear();
            session.finish(&mut |detections| inputs.extend(detections.iter().map(tracked)))?;
            std::hint::black_box(tracker.update(&inputs));
            if let Some(start) = given.remove(&frame.pts()) {
                taken.push(1000.0 * start.elapsed().as_secs_f64());
            }
        }
    }
    serving.give_back(session);
    let few = || format!("{} is too short", video.display());
    taken.get(WARM_UP..).filter(|rest| !rest.is_empty()).map(<[f64]>::to_vec).ok_or_else(|| few().into())
}

fn tracked(detection: &Detection) -> TrackerInput {
    let &Detection { score, x1, y1, x2, y2, .. } = detection;
    let [x1, y1, x2, y2, score] = [x1, y1, x2, y2, score].map(f64::from);
    TrackerInput { x1, y1, x2, y2, score }
}
