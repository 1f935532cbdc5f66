//! What lies in the directory and how far each version has come: no files, no threads, and time is told.

use super::status::State;
use crate::{
    Manifest, ModelError,
    check::{Checked, ModelPlace},
    layout::{Fingerprint, Found, KnownWeights, Marks},
    pins::{Held, Pins},
    version,
};
use framefleet_contract::identity::Sha256;
use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashSet},
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// Versions whose files are gone that are still listed.
const RETIRED_SHOWN: usize = 32;

/// How far behind ours the clock of a file server may be. By one that is further behind, a file that is being written
/// looks old.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// How long a model waits for files that may be its weights and do not stand still: some are being copied for that
/// long, and others, such as a log, never end.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// A refused model whose neighbours change is tried again when they stood still for twice as long as the time before,
/// up to `settle` doubled so often: what is written there all day must not start a check all day.
const MOST_DOUBLINGS: u32 = 7;

/// A version of a model. A name's newest version is its last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub name: String,
    pub version: Option<String>,
}

impl Key {
    pub(super) fn of(place: &ModelPlace) -> Self {
        Self { name: place.name.clone(), version: place.version.clone() }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name.cmp(&other.name).then_with(|| match (&self.version, &other.version) {
            (Some(left), Some(right)) => version::compare(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        })
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
pub(super) struct Entry {
    pub place: ModelPlace,
    pub fingerprint: Fingerprint,
    pub state: State,
    /// Why it is refused.
    pub error: Option<ModelError>,
    /// What is wrong with it from the outside.
    outside: Option<ModelError>,
    pub ready: Option<Ready>,
    /// A version that may serve and is wanted, but whose bytes were let go.
    pub wanted: bool,
    weights: Weights,
    /// What is the version's by its place.
    own: Still,
    /// What is beside a file without versions, as far as that counts.
    beside: Still,
    /// Since when its own files look as they do, however often it was tried out since.
    unchanged_since: Instant,
    /// In a row, of the same files.
    refusals: u32,
    /// It is refused, and what may be its weights is not what it was.
    again: bool,
    missing_since: Option<Instant>,
}

/// Whether somebody may still be writing.
#[derive(Debug, Clone, Copy)]
struct Still {
    since: Instant,
    settled: bool,
}

/// Which files beside it a model needs: no one but the check knows.
#[derive(Debug)]
enum Weights {
    /// It may be all of them.
    Unknown,
    /// They never stand still, so it is tried out as if it needed none.
    Ignored,
    Known(Vec<String>),
}

/// What is kept of a model that was checked.
#[derive(Debug)]
pub(super) struct Ready {
    pub sha256: Sha256,
    pub manifest: Manifest,
    /// Let go where another version serves: a directory may hold more than the memory.
    pub checked: Option<Checked>,
}

/// What a look into the directory gave, and when it was taken.
#[derive(Debug)]
pub(super) struct Look<'a> {
    pub found: Vec<Found>,
    /// What was renamed to these names, or to a folder above, is complete.
    pub renamed: &'a HashSet<PathBuf>,
    pub now: Instant,
    pub wall: SystemTime,
    pub settle: Duration,
}

/// Which versions are tried out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Trials<'a> {
    Every,
    /// Those that would take the place of what serves, or of nothing. Each trial takes time from the work.
    Needed {
        serves: Option<&'a Key>,
    },
}

#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: BTreeMap<Key, Entry>,
    retired: Vec<Key>,
}

impl Entries {
    /// Takes in what was found. Gives the names that lost a version.
    pub(super) fn absorb(&mut self, look: Look<'_>) -> BTreeSet<String> {
        let Look { found, renamed, now, wall, settle } = look;
        let mut seen = BTreeSet::new();
        for found in found {
            let key = Key::of(&found.place);
            if !seen.insert(key.clone()) {
                continue;
            }
            self.retired.retain(|retired| *retired != key);
            let complete = renamed.iter().any(|path| found.place.onnx.starts_with(path));
            let older = |marks| is_older(marks, wall, settle);
            let (own, beside) = (complete || older(&found.fingerprint.own), older(&found.fingerprint.beside));
            let entry = self.entries.entry(key).or_insert_with(|| Entry::new(&found, now));
            entry.absorb(found, now);
            entry.own.settle_at_once(own, now);
            entry.beside.settle_at_once(beside || entry.needs_nothing_beside(), now);
            entry.settle(now, settle);
        }
        self.drop_missing(&seen, now, settle)
    }

    /// The version that is to be checked next: the pinned one of a name first, then the newest; what everybody waits
    /// for before what nobody does.
    pub(super) fn next_to_check(&self, pins: &Pins, trials: Trials<'_>) -> Option<Key> {
        let is_meant = |key: &Key| match trials {
            Trials::Every => true,
            Trials::Needed { serves } => self.is_needed(key, pins.of(&key.name), serves),
        };
        let due = self.entries.iter().filter(|(key, entry)| entry.is_due() && is_meant(key));
        let rank = |key: &Key| {
            let is_pinned = key.version.is_some() && pins.of(&key.name).version() == key.version.as_deref();
            let newer = self.of_name(&key.name).filter(|(other, _)| *other > key).count();
            (if is_pinned { 0 } else { newer + 1 }, key.clone())
        };
        due.map(|(key, _)| rank(key)).min().map(|(_, key)| key)
    }

    /// Whether a version would serve if it turned out to be good.
    fn is_needed(&self, key: &Key, held: &Held, serves: Option<&Key>) -> bool {
        match held {
            Held::Unknown(_) => false,
            Held::At(version) => key.version.as_ref() == Some(version),
            Held::Nowhere => {
                let is_better = |(other, entry): (&Key, &Entry)| entry.state == State::Ready || Some(other) == serves;
                !self.of_name(&key.name).any(|other| other.0 > key && is_better(other))
            }
        }
    }

    /// When a version that waits may have settled.
    pub(super) fn next_to_settle(&self, settle: Duration) -> Option<Instant> {
        let waiting = self.entries.values().filter_map(|entry| entry.next_to_settle(settle));
        let missing = self.entries.values().filter_map(|entry| entry.missing_since.map(|since| since + settle));
        waiting.chain(missing).min()
    }

    /// Of the versions that may serve the one that should: the pinned one, else the newest. `None` leaves what serves:
    /// while the pinned version is not ready or the pin is not known, or none is ready.
    pub(super) fn wanted(&self, name: &str, held: &Held, serves: Option<&Key>) -> Option<Key> {
        let mut ready = self.of_name(name).filter(|(_, entry)| entry.state == State::Ready).map(|(key, _)| key);
        match held {
            Held::Unknown(_) => None,
            Held::At(version) => ready.find(|key| key.version.as_ref() == Some(version)).cloned(),
            Held::Nowhere => {
                // What serves may have been replaced by something that is not ready: an older version is no better.
                let kept = serves.filter(|key| self.entries.get(key).is_some_and(|entry| entry.state != State::Ready));
                ready.filter(|key| Some(*key) >= kept).last().cloned()
            }
        }
    }

    /// Why nothing that is there can begin to serve, where it is of no use to wait: because of the pin, or for the
    /// newest version's reason, where every version is refused.
    pub(super) fn refusal(&self, name: &str, held: &Held) -> Option<ModelError> {
        let model = name.to_owned();
        match held {
            Held::Unknown(problem) => Some(ModelError::PinUnreadable { model, problem: problem.clone() }),
            Held::At(version) => {
                let problem = self.why_unmet(name, version)?;
                Some(ModelError::PinUnmet { model, version: version.clone(), problem })
            }
            Held::Nowhere => {
                let mut newest = None;
                for (_, entry) in self.of_name(name) {
                    newest = Some(entry.error.as_ref()?);
                }
                newest.cloned()
            }
        }
    }

    /// What keeps a version from serving; `None` while it may come.
    fn why_unmet(&self, name: &str, version: &str) -> Option<String> {
        let find = |version| self.of_name(name).find(|(key, _)| key.version.as_deref() == version);
        if let Some((_, entry)) = find(Some(version)) {
            return entry.error.as_ref().map(|error| format!("is refused: {error}"));
        }
        // Of a folder that cannot be looked into, no version is known.
        let unknown = find(None).and_then(|(_, entry)| entry.error.as_ref());
        Some(unknown.map_or_else(|| "is not there".to_owned(), |error| format!("is not seen: {error}")))
    }

    pub(super) fn of_name<'a>(&'a self, name: &str) -> impl Iterator<Item = (&'a Key, &'a Entry)> {
        let first = Key { name: name.to_owned(), version: None };
        let name = name.to_owned();
        self.entries.range(first..).take_while(move |(key, _)| key.name == name)
    }

    /// As far as it is known for models without versions.
    pub(super) fn known_weights(&self) -> KnownWeights<'_> {
        let flat = self.entries.iter().filter(|(key, _)| key.version.is_none());
        flat.filter_map(|(key, entry)| Some((key.name.as_str(), entry.weights()?))).collect()
    }

    pub(super) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    /// Lets go of the bytes of a name's versions, but for the wanted one's, which it gives.
    pub(super) fn let_go(&mut self, name: &str, wanted: Option<&Key>) -> Option<Checked> {
        let first = Key { name: name.to_owned(), version: None };
        let mut given = None;
        for (key, entry) in self.entries.range_mut(first..).take_while(|(key, _)| key.name == name) {
            entry.wanted = false;
            let checked = entry.ready.as_mut().and_then(|ready| ready.checked.take());
            given = given.or(checked.filter(|_| Some(key) == wanted));
        }
        given
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.entries.keys().map(|key| key.name.clone()).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// The last versions whose files are gone.
    pub(super) fn retired(&self) -> &[Key] {
        &self.retired
    }

    fn drop_missing(&mut self, seen: &BTreeSet<Key>, now: Instant, settle: Duration) -> BTreeSet<String> {
        let mut gone = Vec::new();
        for (key, entry) in self.entries.iter_mut().filter(|(key, _)| !seen.contains(key)) {
            let since = *entry.missing_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= settle {
                gone.push(key.clone());
            }
        }
        for key in &gone {
            self.entries.remove(key);
        }
        self.retired.extend(gone.iter().cloned());
        self.retired.drain(..self.retired.len().saturating_sub(RETIRED_SHOWN));
        gone.into_iter().map(|key| key.name).collect()
    }
}

impl Entry {
    fn new(found: &Found, now: Instant) -> Self {
        Self {
            place: found.place.clone(),
            fingerprint: found.fingerprint.clone(),
            state: State::Waiting,
            error: None,
            outside: found.refusal.clone(),
            ready: None,
            wanted: false,
            weights: Weights::Unknown,
            own: Still::since(now),
            beside: Still::since(now),
            unchanged_since: now,
            refusals: 0,
            again: false,
            missing_since: None,
        }
    }

    /// Its files were not what they were: everything begins anew, but for what is known of the same ONNX file. `now` may
    /// lie ahead: until then it is not tried again, however long its files have stood still.
    pub(super) fn wait(&mut self, fingerprint: Fingerprint, now: Instant) {
        let is_same = self.fingerprint.own == fingerprint.own;
        let (place, refusal) = (self.place.clone(), self.outside.take());
        let new = Self::new(&Found { place, fingerprint, refusal }, now);
        let old = std::mem::replace(self, new);
        if is_same {
            self.weights = old.weights;
            self.unchanged_since = old.unchanged_since;
            self.refusals = old.refusals;
        }
    }

    pub(super) fn refuse(&mut self, error: ModelError) {
        self.state = State::Refused { code: error.code(), reason: error.to_string() };
        self.error = Some(error);
        self.ready = None;
        self.wanted = false;
        self.again = false;
        self.refusals += 1;
        if matches!(self.weights, Weights::Ignored) {
            self.weights = Weights::Unknown;
        }
    }

    pub(super) fn accept(&mut self, checked: Checked) {
        let (sha256, manifest) = (checked.model.sha256.clone(), checked.model.manifest.clone());
        let weights = checked.report.files.iter().skip(1).map(|file| file.name.clone()).collect::<Vec<_>>();
        self.fingerprint.narrow(&self.place, &weights);
        self.weights = Weights::Known(weights);
        self.state = State::Ready;
        self.error = None;
        self.ready = Some(Ready { sha256, manifest, checked: Some(checked) });
        self.wanted = false;
        self.again = false;
        self.refusals = 0;
    }

    /// The files beside it that count; `None` where all of them do.
    pub(super) fn weights(&self) -> Option<&[String]> {
        match &self.weights {
            Weights::Unknown => None,
            Weights::Ignored => Some(&[]),
            Weights::Known(names) => Some(names),
        }
    }

    /// What is wrong with it from the outside, if something is.
    pub(super) fn outside(&self) -> Option<&ModelError> {
        self.outside.as_ref()
    }

    fn absorb(&mut self, found: Found, now: Instant) {
        self.missing_since = None;
        let reason = |error: &Option<ModelError>| error.as_ref().map(ToString::to_string);
        if self.fingerprint.own != found.fingerprint.own || reason(&self.outside) != reason(&found.refusal) {
            self.outside = found.refusal;
            self.wait(found.fingerprint, now);
        } else if self.fingerprint.beside != found.fingerprint.beside {
            self.absorb_beside(found.fingerprint, now);
        }
    }

    fn absorb_beside(&mut self, fingerprint: Fingerprint, now: Instant) {
        if self.state == State::Ready {
            return self.wait(fingerprint, now);
        }
        self.fingerprint = fingerprint;
        self.beside = Still::since(now);
        self.again = matches!(self.state, State::Refused { .. }) && !self.needs_nothing_beside();
    }

    /// There is nothing, or what is wrong with the model lies elsewhere.
    fn needs_nothing_beside(&self) -> bool {
        self.fingerprint.beside.is_empty() || self.outside.is_some()
    }

    fn settle(&mut self, now: Instant, settle: Duration) {
        self.own.settle(now, settle);
        self.beside.settle(now, self.patience(settle));
        let waited = now.saturating_duration_since(self.unchanged_since);
        let is_late = self.state == State::Waiting && !self.beside.settled && waited >= LONGEST_WAIT;
        if is_late && matches!(self.weights, Weights::Unknown) {
            self.fingerprint.narrow(&self.place, &[]);
            self.weights = Weights::Ignored;
            self.beside.settled = true;
        }
    }

    fn next_to_settle(&self, settle: Duration) -> Option<Instant> {
        match self.state {
            State::Waiting if !self.own.settled => Some(self.own.since + settle),
            State::Waiting if !self.beside.settled => Some(self.beside.since + self.patience(settle)),
            State::Refused { .. } if self.again && !self.beside.settled => {
                Some(self.beside.since + self.patience(settle))
            }
            _ => None,
        }
    }

    /// How long what is beside it must stand still.
    fn patience(&self, settle: Duration) -> Duration {
        settle * (1 << self.refusals.min(MOST_DOUBLINGS))
    }

    fn is_due(&self) -> bool {
        let is_open = self.state == State::Waiting || self.wanted || self.again;
        self.is_there() && self.own.settled && self.beside.settled && is_open
    }

    fn is_there(&self) -> bool {
        self.missing_since.is_none()
    }
}

impl Still {
    fn since(now: Instant) -> Self {
        Self { since: now, settled: false }
    }

    /// If that is so, and the time from which on they are looked at does not lie ahead.
    fn settle_at_once(&mut self, is_so: bool, now: Instant) {
        self.settled |= is_so && now >= self.since;
    }

    fn settle(&mut self, now: Instant, patience: Duration) {
        self.settled |= now.saturating_duration_since(self.since) >= patience;
    }
}

/// Whether the files had settled before anybody looked, whoever's clock they have their times from.
fn is_older(marks: &Marks, wall: SystemTime, settle: Duration) -> bool {
    let Ok(wall) = wall.duration_since(SystemTime::UNIX_EPOCH) else { return false };
    let settled = i128::try_from(wall.saturating_sub(settle.max(CLOCKS_DIFFER)).as_nanos()).unwrap_or(0);
    marks.last_change().is_some_and(|last| last < settled)
}

#[cfg(test)]
mod tests;
