//! The model that the jobs of a call run on: one that is held, or what a name of the model directory means by the time
//! that a job begins.

use super::models::sandbox;
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use framefleet_contract::volume::Volume;
use framefleet_models::check::{Check, ModelPlace};
use framefleet_models::{
    Catalog, Follow, Lease, ModelDirectory, ModelError, RecordedFrames, Runtime, Serving, directory::State, store,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// A path, `NAME@VERSION` or `NAME`; the only one there is where it is absent.
    pub model: Option<&'a str>,
    /// The model directory.
    pub directory: &'a Path,
    /// Where pins are, and what jobs were planned with.
    pub results: &'a Volume,
    pub threads: usize,
}

/// A model, or a name that is followed as long as this lives.
#[derive(Debug)]
pub struct ChosenModel {
    followed: Option<(ModelDirectory, String)>,
    serving: Arc<Serving>,
    leases: Vec<Lease>,
    results: Volume,
    threads: usize,
    runtime: Runtime,
    frames: RecordedFrames,
}

/// Between two looks at whether somebody wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

impl ChosenModel {
    /// Tries the model out and makes its sessions.
    pub fn new(wish: Wish<'_>, runtime: &Runtime, stop: &Stop) -> Result<Self> {
        let frames = RecordedFrames::default();
        let (followed, serving) = match wish.model {
            Some(path) if is_path(path) => (None, held(&place_of(Path::new(path)), runtime)?),
            Some(name) if name.contains('@') => {
                let (name, version) = name.split_once('@').unwrap_or((name, ""));
                (None, held(&Catalog::open(wish.directory)?.version(name, version)?, runtime)?)
            }
            name => {
                let name = match name {
                    Some(name) => name.to_owned(),
                    None => Catalog::open(wish.directory)?.only()?.to_owned(),
                };
                let (directory, serving) = follow(&wish, &name, frames.clone(), runtime, stop)?;
                (Some((directory, name)), serving)
            }
        };
        let mut chosen = Self {
            followed,
            serving: Arc::clone(&serving),
            leases: Vec::new(),
            results: wish.results.clone(),
            threads: wish.threads,
            runtime: runtime.clone(),
            frames,
        };
        chosen.take(serving, stop)?;
        Ok(chosen)
    }

    /// Turns to the version that counts by now. A name whose files are gone goes on with what there was.
    pub fn turn_to_newest(&mut self, stop: &Stop) -> Result<()> {
        let newest = self.followed.as_ref().and_then(|(directory, name)| directory.current(name));
        match newest {
            Some(newest) if newest.checked().model.sha256 != self.serving.checked().model.sha256 => {
                let version = newest.version().map_or_else(String::new, |version| format!(" {version}"));
                tracing::warn!("{}{version} counts from here on", newest.checked().model.name);
                self.take(newest, stop)
            }
            _ => Ok(()),
        }
    }

    /// What a job is planned with.
    pub fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// A session for each thread.
    pub fn leases(&mut self) -> &mut [Lease] {
        &mut self.leases
    }

    /// Pictures for the next version to be compared on; absent where none can come.
    pub fn recorded_frames(&self) -> Option<RecordedFrames> {
        self.followed.is_some().then(|| self.frames.clone())
    }

    fn take(&mut self, serving: Arc<Serving>, stop: &Stop) -> Result<()> {
        let serving = as_stored(&self.results, serving, &self.runtime)?;
        let mut leases = Vec::with_capacity(self.threads);
        for _ in 0..self.threads {
            stop.check()?;
            leases.push(serving.lease()?);
        }
        self.leases = leases;
        self.serving = serving;
        Ok(())
    }
}

/// A model with this identity may have been planned with before: then work is done as it was described then.
fn as_stored(results: &Volume, serving: Arc<Serving>, runtime: &Runtime) -> Result<Arc<Serving>> {
    let model = &serving.checked().model;
    let version = serving.version().map(str::to_owned);
    Ok(match store::open(results.root(), &model.sha256, &model.name)? {
        Some(stored) if stored.model.manifest != model.manifest => Arc::new(Serving::new(runtime, stored, version)),
        _ => serving,
    })
}

fn held(place: &ModelPlace, runtime: &Runtime) -> Result<Arc<Serving>> {
    let checked = sandbox()?.check(place)?;
    Ok(Arc::new(Serving::new(runtime, checked, place.version.clone())))
}

/// The model in a file, called as the file is.
pub fn place_of(path: &Path) -> ModelPlace {
    let name = path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
    ModelPlace { name, version: None, onnx: path.to_owned(), toml: path.with_extension("toml") }
}

/// Follows a name, and waits until a version of it can be used.
fn follow(
    wish: &Wish<'_>,
    name: &str,
    frames: RecordedFrames,
    runtime: &Runtime,
    stop: &Stop,
) -> Result<(ModelDirectory, Arc<Serving>)> {
    let follow = Follow {
        only: Some(name.to_owned()),
        warm: wish.threads,
        results: Some(wish.results.clone()),
        frames,
        ..Follow::new(wish.directory)
    };
    let directory = ModelDirectory::start(follow, sandbox()?, runtime)
        .map_err(|e| JobError::BadRequest(format!("no thread for the model directory: {e}; end other programs")))?;
    loop {
        stop.check()?;
        match directory.wait_for(name, PATIENCE) {
            Ok(serving) => return Ok((directory, serving)),
            Err(ModelError::NotFound { .. }) if is_under_way(&directory) => {}
            Err(error) => {
                // Only one name is followed; what else there is, the catalog can say.
                Catalog::open(wish.directory)?.has(name)?;
                return Err(error.into());
            }
        }
    }
}

fn is_under_way(directory: &ModelDirectory) -> bool {
    let states = directory.snapshot();
    states.iter().any(|model| matches!(model.state, State::Waiting | State::Checking))
}

/// `street` is a name; `./street.onnx`, `models/street` and `street.onnx` are paths.
fn is_path(model: &str) -> bool {
    model.contains('/') || Path::new(model).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"))
}
