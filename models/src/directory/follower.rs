use super::{
    Follow, ModelStatus, Published, Shared, State,
    entries::{Entries, Key, Look, Ready, Trials},
    watch::{Signal, Watch},
};
use crate::{
    ModelError, Runtime,
    check::{Check, Checked},
    compare::{self, Comparison},
    layout::{self, Fingerprint},
    metrics,
    pins::{Held, Pins},
    serving::Serving,
    store,
};
use framefleet_contract::identity::Sha256;
use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

/// Between two looks into the directory: events come in crowds while a file is written.
const BREATH: Duration = Duration::from_millis(10);

/// Until a model is tried again that could not be tried out.
const AGAIN: Duration = Duration::from_secs(5);

/// About half of the processor's time that a thread of work gets, where both want all of it.
const LESS_URGENT: i32 = 3;

/// The thread that follows a directory.
pub(super) struct Follower {
    follow: Follow,
    checker: Box<dyn Check>,
    runtime: Runtime,
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    watch: Watch,
    entries: Entries,
    current: BTreeMap<String, Current>,
    pins: Pins,
    pins_read: Option<Instant>,
    /// Pins that leave nothing to serve, which was said.
    warned: BTreeMap<String, Held>,
    last_look: Option<Instant>,
    unreadable: Option<String>,
}

/// What serves under a name.
struct Current {
    key: Key,
    serving: Arc<Serving>,
    comparison: Option<Comparison>,
}

impl Follower {
    pub(super) fn new(
        follow: Follow,
        checker: Box<dyn Check>,
        runtime: Runtime,
        shared: Arc<Shared>,
        signal: Arc<Signal>,
    ) -> Self {
        Self {
            follow,
            checker,
            runtime,
            shared,
            signal,
            watch: Watch::default(),
            entries: Entries::default(),
            current: BTreeMap::new(),
            pins: Pins::default(),
            pins_read: None,
            warned: BTreeMap::new(),
            last_look: None,
            unreadable: None,
        }
    }

    /// One check at a time, and looks in between.
    pub(super) fn run(mut self) {
        // For this thread and the children that it starts: work that is under way comes first. Without it, it's as well.
        let _ = rustix::process::nice(LESS_URGENT);
        while !self.signal.is_stopped() {
            match self.next_to_check() {
                Some(key) => self.check(&key),
                None => self.signal.wait_until(self.next_look()),
            }
            if self.signal.is_changed() || Instant::now() >= self.next_look() {
                self.signal.rest_until(self.last_look.map_or_else(Instant::now, |last| last + BREATH));
                self.look();
            }
        }
    }

    /// Sees what is in the directory now. If it cannot be read, nothing is known, and everything stays as it is.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        self.read_pins(now);
        // Before the look, so that what comes after it is told.
        self.watch.ensure(&self.follow.directory, &self.signal);
        let renamed = self.signal.take();
        let only = self.follow.only.as_deref();
        let found = layout::scan(&self.follow.directory, only, &self.entries.known_weights());
        self.note_readable(found.as_ref().err());
        if let Ok(found) = found {
            let settle = self.follow.settle;
            let look = Look { found, renamed: &renamed, now, wall: SystemTime::now(), settle };
            for name in self.entries.absorb(look) {
                self.lose(&name);
            }
        }
        // When it ended: looking at a slow volume must leave time for everything else.
        self.last_look = Some(Instant::now());
        self.publish();
    }

    /// Where one name is followed, it is for work, which no trial should disturb that is of no use to it.
    fn next_to_check(&self) -> Option<Key> {
        let trials = self.follow.only.as_ref().map_or(Trials::Every, |name| Trials::Needed {
            serves: self.current.get(name).map(|current| &current.key),
        });
        self.entries.next_to_check(&self.pins, trials)
    }

    fn next_look(&self) -> Instant {
        let Some(last) = self.last_look else { return Instant::now() };
        let poll = last + self.follow.poll;
        let settled = self.entries.next_to_settle(self.follow.settle).filter(|_| self.unreadable.is_none());
        settled.map_or(poll, |settled| settled.min(poll))
    }

    fn note_readable(&mut self, error: Option<&io::Error>) {
        let directory = self.follow.directory.display();
        match (error, &self.unreadable) {
            (Some(error), None) => {
                tracing::warn!(%directory, %error, "the model directory cannot be read; what serves goes on serving");
            }
            (None, Some(_)) => tracing::info!(%directory, "the model directory can be read again"),
            _ => {}
        }
        self.unreadable = error.map(ToString::to_string);
    }

    /// Tries a version out, if its files are still what they were when they settled, and still are when it is done.
    fn check(&mut self, key: &Key) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(refusal) = entry.outside().cloned() {
            return self.refuse(key, refusal);
        }
        let place = entry.place.clone();
        let weights = entry.weights().map(<[String]>::to_vec);
        let before = Fingerprint::of(&place, weights.as_deref());
        if before != entry.fingerprint {
            return entry.wait(before, Instant::now());
        }
        entry.state = State::Checking;
        self.publish();
        let start = Instant::now();
        let result = self.checker.check(&place, &|| self.signal.is_stopped());
        metrics::count_check(result.as_ref().map(|_| ()).map_err(ModelError::code), start.elapsed());
        let after = Fingerprint::of(&place, weights.as_deref());
        let Some(entry) = self.entries.get_mut(key) else { return };
        match result {
            _ if after != before => entry.wait(after, Instant::now()),
            Err(ModelError::Changed { .. } | ModelError::Interrupted { .. }) => entry.wait(after, Instant::now()),
            Err(error @ ModelError::Unavailable { .. }) => {
                tracing::warn!(model = key.name, version = key.version.as_deref(), %error, "a model is tried again later");
                entry.wait(after, Instant::now() + AGAIN);
            }
            Err(error) => return self.refuse(key, error),
            Ok(checked) => entry.accept(checked),
        }
        self.choose(&key.name);
        self.publish();
    }

    fn refuse(&mut self, key: &Key, error: ModelError) {
        let version = key.version.as_deref();
        tracing::warn!(target: super::REFUSALS, model = key.name, version, code = %error.code(), reason = %error, "a model is refused");
        if let Some(entry) = self.entries.get_mut(key) {
            entry.refuse(error);
        }
        self.choose(&key.name);
        self.publish();
    }

    /// Lets the version serve that should.
    fn choose(&mut self, name: &str) {
        self.warn_of_pin(name);
        let current = self.current.get(name);
        let wanted = self.entries.wanted(name, self.pins.of(name), current.map(|current| &current.key));
        let checked = self.entries.let_go(name, wanted.as_ref());
        let Some(key) = wanted else { return };
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if current.zip(entry.ready.as_ref()).is_some_and(|(current, ready)| current.is(&key, ready)) {
            return;
        }
        match checked {
            Some(checked) => self.swap(key, checked),
            None => entry.wanted = true,
        }
    }

    /// The new version serves as soon as its sessions are there; everything else comes after.
    fn swap(&mut self, key: Key, checked: Checked) {
        let serving = Arc::new(Serving::new(&self.runtime, checked, key.version.clone()));
        let recorded = self.follow.frames.pictures();
        if let Err(error) = serving.warm(self.follow.warm, recorded.first().map(|first| first.picture()).as_ref()) {
            return self.refuse(&key, error);
        }
        let (name, version) = (key.name.clone(), key.version.clone());
        let sha256 = serving.checked().model.sha256.clone();
        let comparison = self.kept_comparison(&sha256);
        let new = Current { key, serving: Arc::clone(&serving), comparison };
        let old = self.current.insert(name.clone(), new);
        self.publish();
        tracing::info!(model = name, version, %sha256, "a model serves");
        if let Some(old) = old {
            metrics::count_swap();
            let comparison = self.compare(&old.serving, &serving);
            old.serving.retire();
            if let Some((current, comparison)) = self.current.get_mut(&name).zip(comparison) {
                current.comparison = Some(comparison);
            }
        }
    }

    /// What another process saw when the model took the place of an older one.
    fn kept_comparison(&self, sha256: &Sha256) -> Option<Comparison> {
        store::last_comparison(self.follow.results.as_ref()?.root(), sha256).ok().flatten()
    }

    fn compare(&self, old: &Arc<Serving>, new: &Serving) -> Option<Comparison> {
        let model = &new.checked().model.name;
        let comparison = compare::compare(old, new, &self.follow.frames.pictures())
            .inspect_err(|error| tracing::warn!(model, %error, "the versions cannot be compared"))
            .ok()?;
        tracing::info!(model, old = old.version(), new = new.version(), "{comparison}");
        if let Some(results) = self.follow.results.as_ref().filter(|_| comparison.frames > 0) {
            let kept = store::put_comparison(results, &comparison);
            kept.inspect_err(|error| tracing::warn!(model, %error, "the comparison is not kept")).ok();
        }
        Some(comparison)
    }

    /// Files of that name are gone: what served may have to go too.
    fn lose(&mut self, name: &str) {
        if self.entries.of_name(name).next().is_some() {
            return self.choose(name);
        }
        if let Some(current) = self.current.remove(name) {
            current.serving.retire();
            tracing::info!(model = name, "no file of the model is left; it is retired");
        }
    }

    fn read_pins(&mut self, now: Instant) {
        let is_fresh = self.pins_read.is_some_and(|last| now < last + self.follow.poll);
        let Some(results) = self.follow.results.as_ref().filter(|_| !is_fresh) else { return };
        self.pins_read = Some(now);
        let pins = Pins::read(results.root(), self.follow.only.as_deref());
        if pins != self.pins {
            self.pins = pins;
            for name in self.entries.names() {
                self.choose(&name);
            }
        }
    }

    /// Says once that a pin leaves nothing that could begin to serve.
    fn warn_of_pin(&mut self, name: &str) {
        let held = self.pins.of(name);
        match self.entries.refusal(name, held) {
            Some(error) if *held != Held::Nowhere => {
                if self.warned.get(name) != Some(held) {
                    tracing::warn!(model = name, %error, "nothing new serves because of the model's pin");
                    self.warned.insert(name.to_owned(), held.clone());
                }
            }
            _ => _ = self.warned.remove(name),
        }
    }

    fn publish(&self) {
        let statuses = self.statuses();
        let mut counts = [0; metrics::STATES.len()];
        for status in &statuses {
            counts[status.state.index()] += 1;
        }
        metrics::count_states(counts);
        let serving = self.current.iter().map(|(name, current)| (name.clone(), Arc::clone(&current.serving))).collect();
        let refused = self.entries.names().into_iter();
        let refused = refused.filter_map(|name| Some((self.entries.refusal(&name, self.pins.of(&name))?, name)));
        let published = Published {
            statuses,
            serving,
            refused: refused.map(|(error, name)| (name, error)).collect(),
            unreadable: self.unreadable.clone(),
        };
        // What was published before is let go of after the lock.
        let _before = std::mem::replace(&mut *self.shared.published(), published);
        self.shared.changed.notify_all();
    }

    fn statuses(&self) -> Vec<ModelStatus> {
        let there = self.entries.iter().map(|(key, entry)| {
            let ready = entry.ready.as_ref();
            ModelStatus {
                state: entry.state.clone(),
                sha256: ready.map(|ready| ready.sha256.clone()),
                family: ready.map(|ready| ready.manifest.head),
                ..self.status(key)
            }
        });
        there.chain(self.entries.retired().iter().map(|key| self.status(key))).collect()
    }

    /// What is known of a version without its files.
    fn status(&self, key: &Key) -> ModelStatus {
        let current = self.current.get(&key.name).filter(|current| current.key == *key);
        ModelStatus {
            name: key.name.clone(),
            version: key.version.clone(),
            state: State::Retired,
            sha256: None,
            serving: current.is_some(),
            serving_sha256: current.map(|current| current.serving.checked().model.sha256.clone()),
            pinned: key.version.is_some() && self.pins.of(&key.name).version() == key.version.as_deref(),
            family: None,
            comparison: current.and_then(|current| current.comparison.clone()),
        }
    }
}

impl Current {
    /// Whether that version serves already, as it is now.
    fn is(&self, key: &Key, ready: &Ready) -> bool {
        let model = &self.serving.checked().model;
        self.key == *key && model.sha256 == ready.sha256 && model.manifest == ready.manifest
    }
}
