//! Models by themselves: full batches of pictures that lie on the card already, two batches under way, as the pipeline has
//! them.

use crate::Failure;
use crate::card::Card;
use framefleet_models::device::{BatchSession, IN_FLIGHT, ToDetect};
use framefleet_models::{Serving, StageTimes, Thresholds};
use framefleet_native::ffmpeg::decode::Frame;
use std::time::{Duration, Instant};

/// How fast a model is, and where the device's time goes.
#[derive(Debug, Clone, Copy)]
pub struct Inferred {
    pub frames_per_second: f64,
    /// Of all times of the device together, the share before and after the model.
    pub beside_the_model: f64,
}

pub fn rate(card: &Card, serving: &Serving, frames: &[Frame], span: Duration) -> Result<Inferred, Failure> {
    let mut session = serving.on_device(&card.device, card.device.largest_batch())?;
    let thresholds = thresholds(serving);
    let largest = session.buckets().largest();
    let pictures: Vec<ToDetect<'_>> =
        frames.iter().cycle().take(largest).map(|frame| ToDetect { frame, thresholds: &thresholds }).collect();
    // The first meets what is new to the session.
    session.start(&pictures)?;
    session.finish(&mut |_| ())?;
    let (start, mut done, mut times) = (Instant::now(), 0, StageTimes::default());
    let mut finish = |session: &mut Box<dyn BatchSession>| -> Result<(), Failure> {
        let batch = session.finish(&mut |detections| {
            std::hint::black_box(detections);
        })?;
        times.preprocess += batch.preprocess;
        times.infer += batch.infer;
        times.postprocess += batch.postprocess;
        done += largest;
        Ok(())
    };
    let mut under_way = 0;
    while start.elapsed() < span {
        session.start(&pictures)?;
        under_way += 1;
        if under_way == IN_FLIGHT {
            finish(&mut session)?;
            under_way -= 1;
        }
    }
    (0..under_way).try_for_each(|_| finish(&mut session))?;
    let frames_per_second = done as f64 / start.elapsed().as_secs_f64();
    serving.give_back(session);
    Ok(Inferred {
        frames_per_second,
        beside_the_model: beside_the_model(times.preprocess, times.infer, times.postprocess),
    })
}

/// Those of the model's own.
pub fn thresholds(serving: &Serving) -> Thresholds {
    Thresholds::from(&serving.checked().model.manifest.defaults)
}

pub fn beside_the_model(preprocess: f64, model: f64, postprocess: f64) -> f64 {
    let beside = preprocess + postprocess;
    if beside + model > 0.0 { beside / (beside + model) } else { 0.0 }
}
