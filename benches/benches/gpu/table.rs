//! All parts in turns, so that what else the machine does hits all of them alike.

use crate::card::Card;
use crate::infer::{self, Inferred};
use crate::pipeline::{self, Run};
use crate::videos::{Clip, Clips, Codec};
use crate::window::Window;
use crate::{Failure, Options, decode};
use framefleet_models::Serving;
use framefleet_native::ffmpeg::decode::Frame;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// So many sources of one codec.
#[derive(Debug)]
pub struct Sources {
    pub codec: Codec,
    pub count: usize,
    pub bytes_per_frame: f64,
    frames: u64,
    video: PathBuf,
    /// One for each repeat.
    pub decode: Vec<Window>,
    /// In the order of the models; of each, one for each repeat.
    pub runs: Vec<Vec<Run>>,
}

/// A model by itself, on pictures of the first codec.
#[derive(Debug)]
pub struct ByItself {
    pub name: String,
    /// The most pictures that it takes at once.
    pub largest_batch: usize,
    /// One for each repeat.
    pub inferred: Vec<Inferred>,
}

#[derive(Debug)]
pub struct Measured {
    pub models: Vec<ByItself>,
    pub cells: Vec<Sources>,
}

/// How long a model is measured by itself.
const SPAN: Duration = Duration::from_secs(3);
const SHORT_SPAN: Duration = Duration::from_millis(200);

pub fn measure(card: &Card, clips: &Clips, options: &Options) -> Result<Measured, Failure> {
    let servings: Vec<Arc<Serving>> =
        options.models.iter().map(|onnx| card.serving(onnx, &card.device)).collect::<Result<_, _>>()?;
    let frames = first_frames(card, clips, options)?;
    let mut models: Vec<ByItself> =
        servings.iter().map(|serving| by_itself(card, serving)).collect::<Result<_, _>>()?;
    let mut cells = cells(clips, options)?;
    let span = if card.is_pretended() { SHORT_SPAN } else { SPAN };
    for repeat in 1..=options.repeats {
        for (serving, model) in servings.iter().zip(&mut models) {
            eprintln!("repeat {repeat} of {}: {} by itself", options.repeats, model.name);
            model.inferred.push(infer::rate(card, serving, &frames, span)?);
        }
        for cell in &mut cells {
            measure_cell(card, &servings, cell, repeat)?;
        }
    }
    Ok(Measured { models, cells })
}

/// A batch of them, so that no picture is seen twice in it.
fn first_frames(card: &Card, clips: &Clips, options: &Options) -> Result<Vec<Frame>, Failure> {
    let &codec = options.codecs.first().ok_or("no codec is named")?;
    decode::first_frames(card, &clips.path(codec, Clip::Times(1))?, options.batch)
}

/// The session that is made here is the one that is measured later.
fn by_itself(card: &Card, serving: &Serving) -> Result<ByItself, Failure> {
    eprintln!("loading {}", serving.checked().model.name);
    let session = serving.on_device(&card.device, card.device.largest_batch())?;
    let largest_batch = session.buckets().largest();
    serving.give_back(session);
    Ok(ByItself { name: serving.checked().model.name.clone(), largest_batch, inferred: Vec::new() })
}

fn cells(clips: &Clips, options: &Options) -> Result<Vec<Sources>, Failure> {
    let mut cells = Vec::new();
    for &codec in &options.codecs {
        for &sources in &options.sources {
            let video = clips.for_sources(codec, sources)?;
            let decode::Contents { frames, bytes_per_frame } = decode::contents(&video)?;
            let runs = options.models.iter().map(|_| Vec::new()).collect();
            cells.push(Sources { codec, count: sources, bytes_per_frame, frames, video, decode: Vec::new(), runs });
        }
    }
    Ok(cells)
}

fn measure_cell(card: &Card, servings: &[Arc<Serving>], cell: &mut Sources, repeat: u32) -> Result<(), Failure> {
    let Sources { codec, count: sources, frames, ref video, .. } = *cell;
    eprintln!("repeat {repeat}: {sources} × {}", codec.title());
    cell.decode.push(decode::rate(card, video, sources, frames)?);
    for (serving, runs) in servings.iter().zip(&mut cell.runs) {
        runs.push(pipeline::run(card, serving, video, sources, frames)?);
    }
    Ok(())
}
