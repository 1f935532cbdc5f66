//! The model that the jobs of a call run on: one that is held, or what a name of the model directory means by the time
//! that a job begins.

use super::models::{sandbox, start};
use crate::error::Result;
use crate::interrupt::Stop;
use framefleet_contract::ErrorCode;
use framefleet_contract::identity::Sha256;
use framefleet_contract::volume::Volume;
use framefleet_models::check::{Check, ModelPlace};
use framefleet_models::{
    Catalog, Follow, Model, ModelDirectory, ModelError, RecordedFrames, Runtime, Serving, directory::State, store,
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
    results: Volume,
    threads: usize,
    runtime: Runtime,
    frames: RecordedFrames,
    /// Whether it is in the results, with the manifest that counts there.
    is_stored: bool,
    /// The newest version, where this call cannot use it.
    passed_over: Option<Sha256>,
}

/// Between two looks at whether somebody wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

impl ChosenModel {
    /// Tries the model out and makes its sessions.
    pub fn new(wish: Wish<'_>, runtime: &Runtime, stop: &Stop) -> Result<Self> {
        let frames = RecordedFrames::default();
        let (followed, serving) = match wish.model {
            Some(path) if is_path(path) => (None, held(&place_of(Path::new(path)), runtime, stop)?),
            Some(name) if name.contains('@') => {
                let (name, version) = name.split_once('@').unwrap_or((name, ""));
                (None, held(&Catalog::open(wish.directory)?.version(name, version)?, runtime, stop)?)
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
            results: wish.results.clone(),
            threads: wish.threads,
            runtime: runtime.clone(),
            frames,
            is_stored: false,
            passed_over: None,
        };
        chosen.take(serving, stop)?;
        Ok(chosen)
    }

    /// Turns to the version that is newest by now, if the call can use it: where `fits` says that it cannot, it is passed
    /// over. A name whose files are gone goes on with what there was.
    pub fn turn_to_newest(&mut self, fits: impl FnOnce(&Model) -> Result<()>, stop: &Stop) -> Result<()> {
        let newest = self.followed.as_ref().and_then(|(directory, name)| directory.current(name));
        let Some(newest) = newest.filter(|newest| self.is_news(&newest.checked().model.sha256)) else { return Ok(()) };
        let Model { name, sha256, .. } = newest.checked().model.clone();
        let version = newest.version().map_or_else(String::new, |version| format!(" {version}"));
        match fits(&newest.checked().model).and_then(|()| self.take(newest, stop)) {
            Ok(()) => tracing::warn!("{name}{version} is used from here on"),
            Err(error) if error.code() == ErrorCode::Interrupted => return Err(error),
            Err(error) => {
                tracing::warn!("{name}{version} cannot be used by this call, and what was used before is: {error}");
                self.passed_over = Some(sha256);
            }
        }
        Ok(())
    }

    /// Puts the model into the results. Where it lies there with another manifest, that one counts: whoever works with a
    /// model works with it as it was first used.
    pub fn store(&mut self, stop: &Stop) -> Result<()> {
        if self.is_stored {
            return Ok(());
        }
        let stored = store::put(&self.results, self.serving.checked())?;
        if !stored.model.manifest.is_used_like(&self.serving.checked().model.manifest) {
            let version = self.serving.version().map(str::to_owned);
            self.take(Arc::new(Serving::new(&self.runtime, stored, version)), stop)?;
        }
        self.is_stored = true;
        Ok(())
    }

    /// What a job is planned with.
    pub fn serving(&self) -> &Arc<Serving> {
        &self.serving
    }

    /// Pictures for the next version to be compared on; absent where none can come.
    pub fn recorded_frames(&self) -> Option<RecordedFrames> {
        self.followed.is_some().then(|| self.frames.clone())
    }

    fn is_news(&self, sha256: &Sha256) -> bool {
        *sha256 != self.serving.checked().model.sha256 && self.passed_over.as_ref() != Some(sha256)
    }

    /// Makes a session for each thread, or the one on a device, so that what is wrong with them is found before a job
    /// begins. They go into the model's stock, where the threads fetch them.
    fn take(&mut self, serving: Arc<Serving>, stop: &Stop) -> Result<()> {
        if self.runtime.device().is_some() {
            serving.warm(1, None)?;
            (self.serving, self.is_stored) = (serving, false);
            return Ok(());
        }
        let mut leases = Vec::with_capacity(self.threads);
        for _ in 0..self.threads {
            stop.check()?;
            leases.push(serving.lease()?);
        }
        drop(leases);
        (self.serving, self.is_stored) = (serving, false);
        Ok(())
    }
}

fn held(place: &ModelPlace, runtime: &Runtime, stop: &Stop) -> Result<Arc<Serving>> {
    let checked = sandbox()?.check(place, &|| stop.is_asked())?;
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
    let directory = start(follow, runtime)?;
    loop {
        stop.check()?;
        match directory.wait_for(name, PATIENCE) {
            Ok(serving) => {
                tell_of_newer(&directory, &serving);
                return Ok((directory, serving));
            }
            Err(ModelError::NotFound { .. }) if is_under_way(&directory) => {}
            Err(error) => {
                stop.check()?;
                // Only one name is followed; what else there is, the catalog can say.
                Catalog::open(wish.directory)?.has(name)?;
                return Err(error.into());
            }
        }
    }
}

/// Somebody who has just copied a version expects it to be used.
fn tell_of_newer(directory: &ModelDirectory, serving: &Serving) {
    let newer = directory.snapshot().into_iter().rev().take_while(|model| !model.serving);
    for model in newer.filter(|model| matches!(model.state, State::Waiting | State::Checking)) {
        let version = |version: Option<&str>| version.map_or_else(String::new, |version| format!(" {version}"));
        let (newer, used) = (version(model.version.as_deref()), version(serving.version()));
        tracing::warn!("{}{newer} is not ready yet: {}{used} is used until it is", model.name, model.name);
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
