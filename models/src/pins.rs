//! Which version a model is held at: `<results>/models/state/<name>/<n>.json`.
//!
//! The model volume may be read-only, so pins lie with the results. A file is never changed: whoever pins or unpins adds
//! the next number, and the highest one counts.

use crate::{layout::is_usable, model};
use framefleet_contract::{
    error_code::ErrorCode,
    volume::{self, Put, Volume, VolumeError},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

const STATE: &str = "models/state";
/// Of the documents here.
const VERSION: u32 = 1;
/// Bytes: far more than a pin has.
const LARGEST: u64 = 64 << 10;

#[derive(Debug, thiserror::Error)]
pub enum PinError {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error("{0:?} is neither a model's name nor a version; take them from `framefleet models list`")]
    Unusable(String),
    #[error("{path} is no pin ({reason}); remove it, or pin again")]
    Damaged { path: PathBuf, reason: String },
}

impl PinError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Volume(error) => error.code(),
            Self::Unusable(_) => ErrorCode::BadRequest,
            Self::Damaged { .. } => ErrorCode::VolumeIo,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    version: u32,
    name: String,
    pinned: Option<String>,
}

/// Holds a model at a version, whether or not that version is there yet.
pub fn pin(volume: &Volume, name: &str, version: &str) -> Result<(), PinError> {
    usable(version)?;
    put(volume, name, Some(version.to_owned()))
}

/// Lets the newest version serve again.
pub fn unpin(volume: &Volume, name: &str) -> Result<(), PinError> {
    put(volume, name, None)
}

/// The version that a model is held at. `root` is the folder of the results.
pub fn read(root: &Path, name: &str) -> Result<Option<String>, PinError> {
    usable(name)?;
    let folder = root.join(STATE).join(name);
    let Some(number) = highest(&folder)? else { return Ok(None) };
    let path = folder.join(file_name(number));
    let bytes = model::read_file(&path, LARGEST).map_err(|error| volume::read_error(&path, error))?;
    let damaged = |reason: String| PinError::Damaged { path: path.clone(), reason };
    let pin: Pin = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if pin.version != VERSION || pin.name != name {
        return Err(damaged(format!("it is version {} of a pin of {:?}", pin.version, pin.name)));
    }
    Ok(pin.pinned)
}

/// Where a name is held, as far as that can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Held {
    #[default]
    Nowhere,
    At(String),
    /// Its pin cannot be read, for that reason.
    Unknown(String),
}

/// Every pin there is, or that of one name. One that cannot be read says nothing of the others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Pins {
    by_name: BTreeMap<String, Held>,
    /// Of all names that are not among those.
    others: Held,
}

impl Pins {
    /// `root` is the folder of the results.
    pub(crate) fn read(root: &Path, only: Option<&str>) -> Self {
        let names = only.map_or_else(|| names_in(&root.join(STATE)), |only| Ok(vec![only.to_owned()]));
        let by_name = |names: Vec<String>| {
            let usable = names.into_iter().filter(|name| is_usable(name));
            usable.map(|name| (name.clone(), Held::from(read(root, &name)))).collect()
        };
        match names {
            Ok(names) => Self { by_name: by_name(names), others: Held::Nowhere },
            Err(error) => Self { by_name: BTreeMap::new(), others: Held::Unknown(error.to_string()) },
        }
    }

    pub(crate) fn of(&self, name: &str) -> &Held {
        self.by_name.get(name).unwrap_or(&self.others)
    }
}

impl From<Result<Option<String>, PinError>> for Held {
    fn from(read: Result<Option<String>, PinError>) -> Self {
        match read {
            Ok(None) => Self::Nowhere,
            Ok(Some(version)) => Self::At(version),
            Err(error) => Self::Unknown(error.to_string()),
        }
    }
}

impl Held {
    /// The version that a name is held at.
    pub(crate) fn version(&self) -> Option<&str> {
        match self {
            Self::At(version) => Some(version),
            Self::Nowhere | Self::Unknown(_) => None,
        }
    }
}

fn put(volume: &Volume, name: &str, pinned: Option<String>) -> Result<(), PinError> {
    usable(name)?;
    let folder = Path::new(STATE).join(name);
    let pin = Pin { version: VERSION, name: name.to_owned(), pinned };
    let mut json = serde_json::to_vec(&pin).expect("strings and numbers can be written as JSON");
    json.push(b'\n');
    loop {
        let last = highest(&volume.root().join(&folder))?;
        let next = last.map_or(Some(1), |last| last.checked_add(1)).ok_or_else(|| PinError::Damaged {
            path: folder.clone(),
            reason: "there is no number after the last one".to_owned(),
        })?;
        if volume.put(&folder.join(file_name(next)), &json)? == Put::Published {
            return Ok(());
        }
    }
}

fn highest(folder: &Path) -> Result<Option<u64>, PinError> {
    let numbers = names_in(folder)?.into_iter().filter_map(|name| {
        let number = name.strip_suffix(".json")?.parse().ok()?;
        Some(number).filter(|number| file_name(*number) == name)
    });
    Ok(numbers.max())
}

fn file_name(number: u64) -> String {
    format!("{number}.json")
}

/// Nothing where there is no folder.
fn names_in(folder: &Path) -> Result<Vec<String>, PinError> {
    let names = || fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>();
    match names() {
        Ok(names) => Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(volume::read_error(folder, error).into()),
    }
}

fn usable(name: &str) -> Result<(), PinError> {
    if is_usable(name) { Ok(()) } else { Err(PinError::Unusable(name.chars().take(140).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> (tempfile::TempDir, Volume) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        (folder, volume)
    }

    #[test]
    fn the_last_word_counts() {
        let (_folder, volume) = volume();
        assert_eq!(read(volume.root(), "street").unwrap(), None);
        for n in 1..=11 {
            pin(&volume, "street", &format!("{n}.0")).unwrap();
        }
        assert_eq!(read(volume.root(), "street").unwrap().as_deref(), Some("11.0"));
        assert_eq!(Pins::read(volume.root(), None).of("street"), &Held::At("11.0".to_owned()));
        unpin(&volume, "street").unwrap();
        assert_eq!(read(volume.root(), "street").unwrap(), None);
        assert_eq!(Pins::read(volume.root(), None).of("street"), &Held::Nowhere);
    }

    #[test]
    fn a_pin_is_written_as_documented() {
        let (_folder, volume) = volume();
        pin(&volume, "street", "2.1").unwrap();
        let text = fs::read_to_string(volume.root().join("models/state/street/1.json")).unwrap();
        assert_eq!(text, "{\"version\":1,\"name\":\"street\",\"pinned\":\"2.1\"}\n");
    }

    #[test]
    fn racing_writers_each_get_a_number() {
        let (_folder, volume) = volume();
        std::thread::scope(|scope| {
            for n in 0..8 {
                let volume = &volume;
                scope.spawn(move || pin(volume, "street", &n.to_string()).unwrap());
            }
        });
        assert_eq!(highest(&volume.root().join(STATE).join("street")).unwrap(), Some(8));
    }

    #[test]
    fn a_pin_that_cannot_be_read_says_nothing_of_others() {
        let (_folder, volume) = volume();
        pin(&volume, "gate", "1").unwrap();
        volume.put(Path::new("models/state/street/3.json"), b"{}").unwrap();
        let pins = Pins::read(volume.root(), None);
        assert_eq!((pins.of("gate").version(), pins.of("yard")), (Some("1"), &Held::Nowhere));
        assert!(matches!(pins.of("street"), Held::Unknown(reason) if reason.contains("street/3.json")));
        // Without the list of them nothing is known of any; one that is asked for by its name needs no list.
        let state = volume.root().join(STATE);
        fs::rename(&state, volume.root().join("away")).unwrap();
        fs::write(&state, "no folder").unwrap();
        assert!(matches!(Pins::read(volume.root(), None).of("yard"), Held::Unknown(_)));
        assert!(matches!(Pins::read(volume.root(), Some("gate")).of("gate"), Held::Unknown(_)));
        fs::remove_file(&state).unwrap();
        fs::rename(volume.root().join("away"), &state).unwrap();
        assert_eq!(Pins::read(volume.root(), Some("gate")).of("gate").version(), Some("1"));
        assert_eq!(Pins::read(volume.root(), Some("no name")).of("no name"), &Held::Nowhere);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_name_and_a_damaged_pin_is_an_error() {
        let (_folder, volume) = volume();
        assert_eq!(pin(&volume, "../x", "1").unwrap_err().code(), ErrorCode::BadRequest);
        assert_eq!(pin(&volume, "x", "../1").unwrap_err().code(), ErrorCode::BadRequest);
        volume.put(Path::new("models/state/street/3.json"), b"{}").unwrap();
        assert!(matches!(read(volume.root(), "street").unwrap_err(), PinError::Damaged { .. }));
        unpin(&volume, "street").unwrap();
        assert_eq!(read(volume.root(), "street").unwrap(), None);
    }
}
