//! Everything about a workload, in turns, so that what else the machine does hits all sides alike.

use crate::child::Run;
use crate::layouts::{Inference, Layout};
use crate::places::Places;
use crate::workload::Workload;
use crate::{Failure, parts, program};
use framefleet_benches::series::Series;
use framefleet_models::Model;
use ort::environment::Environment;
use std::time::Duration;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub repeats: u32,
    pub window: Duration,
    /// Also what takes long and needs no repeats: long videos, and the peers' best settings.
    pub thorough: bool,
}

/// One value for each repeat; rates in frames per second.
#[derive(Debug)]
pub struct Measured {
    pub decode: Series,
    pub preprocess: Series,
    /// The worker's own layout first.
    pub infer: Vec<(Layout, Series)>,
    pub ours: Vec<Run>,
    /// In the order of the workload's.
    pub peers: Vec<Vec<Run>>,
    pub long: Option<Run>,
}

impl Measured {
    /// What a pipeline would reach that loses nothing: a frame costs the sum of its parts, each on all cores.
    pub fn limit(&self) -> Series {
        Series::in_turn([&self.decode, &self.preprocess, &self.infer[0].1])
    }
}

pub fn measure(
    workload: &Workload,
    places: &Places,
    environment: &Environment,
    effort: Effort,
) -> Result<Measured, Failure> {
    let model = Model::open(&workload.model)?;
    let frames = parts::frames(&workload.video)?;
    let inference = Inference::new(environment, &model, &frames[0])?;
    let mut measured = Measured {
        decode: Series::default(),
        preprocess: Series::default(),
        infer: Layout::all().into_iter().map(|layout| (layout, Series::default())).collect(),
        ours: Vec::new(),
        peers: workload.peers.iter().map(|_| Vec::new()).collect(),
        long: None,
    };
    let infer = |layouts: &mut [(Layout, Series)]| -> Result<(), Failure> {
        layouts.iter_mut().try_for_each(|(layout, rates)| {
            rates.push(inference.rate(*layout, effort.window)?);
            Ok(())
        })
    };
    for repeat in 1..=effort.repeats {
        eprintln!("{}: repeat {repeat} of {}", workload.kind.name(), effort.repeats);
        measured.decode.push(parts::decode(&workload.video)?);
        measured.preprocess.push(parts::preprocess(&frames, &model.manifest, effort.window)?);
        let (own_layout, other_layouts) = measured.infer.split_at_mut(1);
        infer(own_layout)?;
        measured.ours.push(program::run(places, &workload.video, &workload.model)?);
        for (peer, runs) in workload.peers.iter().zip(&mut measured.peers) {
            runs.push(peer.run(workload)?);
        }
        infer(other_layouts)?;
    }
    if let Some(video) = &workload.long_video {
        eprintln!("{}: a longer video", workload.kind.name());
        measured.long = Some(program::run(places, video, &workload.model)?);
    }
    Ok(measured)
}
