//! Models in a fleet: a job is pinned to one when it is planned, and from then on only the results' copy of it is used.

use crate::cli::models::sandbox;
use crate::error::{JobError, Result};
use crate::interrupt::Stop;
use framefleet_contract::identity::Sha256;
use framefleet_contract::request::ModelRef;
use framefleet_contract::volume::Volume;
use framefleet_models::check::{Check, Checked};
use framefleet_models::directory::State;
use framefleet_models::{Catalog, ModelDirectory, ModelError, Runtime, Serving, store};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The model directory, for whoever plans.
#[derive(Debug)]
pub struct PlannedModels {
    pub directory: ModelDirectory,
    pub place: PathBuf,
    pub results: Volume,
}

/// Between two looks at whether somebody wants to stop.
const PATIENCE: Duration = Duration::from_millis(100);

impl PlannedModels {
    /// What a request's model means now, put into the results.
    pub fn pinned(&self, model: Option<&str>, stop: &Stop) -> Result<Checked> {
        let name = match model {
            Some(name) => name.to_owned(),
            None => Catalog::open(&self.place)?.only()?.to_owned(),
        };
        let checked = match name.split_once('@') {
            Some((name, version)) => self.version(name, version, stop)?,
            None => self.newest(&name, stop)?.checked().clone(),
        };
        Ok(store::put(&self.results, &checked)?)
    }

    /// The version that serves under a name; waits for one that is being tried out.
    fn newest(&self, name: &str, stop: &Stop) -> Result<Arc<Serving>> {
        loop {
            stop.check()?;
            match self.directory.wait_for(name, PATIENCE) {
                Err(ModelError::NotFound { .. }) if self.is_under_way(name) => {}
                other => return Ok(other?),
            }
        }
    }

    fn version(&self, name: &str, version: &str, stop: &Stop) -> Result<Checked> {
        let place = Catalog::open(&self.place)?.version(name, version)?;
        // One that the directory has tried out is in the results as soon as any job was planned with it.
        let known = self.directory.snapshot().into_iter().find(|known| {
            known.name == name && known.version.as_deref() == Some(version) && known.state == State::Ready
        });
        if let Some(sha256) = known.and_then(|known| known.sha256)
            && let Some(stored) = store::open(self.results.root(), &sha256, name)?
        {
            return Ok(stored);
        }
        Ok(sandbox()?.check(&place, &|| stop.is_asked())?)
    }

    fn is_under_way(&self, name: &str) -> bool {
        let models = self.directory.snapshot();
        models.iter().any(|model| model.name == name && matches!(model.state, State::Waiting | State::Checking))
    }
}

/// Models out of the results, the last few that were used. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LoadedModels {
    results: Volume,
    runtime: Runtime,
    recent: Arc<Mutex<VecDeque<Arc<Serving>>>>,
}

/// A model's bytes and sessions take some hundred MB: as many as a fleet that is moving from one to another needs.
const RECENT: usize = 3;

impl LoadedModels {
    pub fn new(results: &Volume, runtime: &Runtime) -> Self {
        Self { results: results.clone(), runtime: runtime.clone(), recent: Arc::default() }
    }

    /// The model that a job was planned with.
    pub fn serving(&self, model: &ModelRef) -> Result<Arc<Serving>> {
        // Held while a model is loaded: two that want the same one load it once.
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is_it = |serving: &Arc<Serving>| {
            let known = &serving.checked().model;
            known.sha256 == model.sha256 && known.name == model.name
        };
        let serving = match recent.iter().position(is_it).and_then(|place| recent.remove(place)) {
            Some(serving) => serving,
            None => Arc::new(Serving::new(&self.runtime, self.load(&model.sha256, &model.name)?, None)),
        };
        recent.push_back(Arc::clone(&serving));
        if recent.len() > RECENT
            && let Some(oldest) = recent.pop_front()
        {
            oldest.retire();
        }
        Ok(serving)
    }

    /// The names of its classes, without its bytes.
    pub fn class_names(&self, model: &ModelRef) -> Result<Vec<String>> {
        let manifest = store::manifest(self.results.root(), &model.sha256)?;
        Ok(manifest.ok_or_else(|| not_stored(&model.sha256, &model.name))?.classes)
    }

    fn load(&self, sha256: &Sha256, name: &str) -> Result<Checked> {
        store::open(self.results.root(), sha256, name)?.ok_or_else(|| not_stored(sha256, name))
    }
}

fn not_stored(sha256: &Sha256, name: &str) -> JobError {
    let problem = format!("model {name} ({sha256}) is not in the results, where planning put it");
    ModelError::NotFound { problem, remedy: "submit the job again".to_owned() }.into()
}
