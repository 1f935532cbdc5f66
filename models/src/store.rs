//! The models that work was planned with: `<results>/models/<sha256>/`.
//!
//! ```text
//! model.onnx
//! external/<name>                 what the ONNX file keeps outside itself
//! manifest.json                   how the model is used: the first one that was put, whatever later programs recognise
//! check.json                      put last: where it is, the rest is there
//! compared/<old sha256>.json      how its boxes differ from those of the version before it
//! ```
//!
//! Every file is put if absent, and work is done from here: what happens to the dropped file afterwards breaks nothing.

use crate::{
    Manifest, Model,
    check::{Checked, CheckedFile, Report},
    compare::Comparison,
};
use framefleet_contract::{
    error_code::ErrorCode,
    identity::Sha256,
    volume::{self, Put, Volume, VolumeError},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

const FOLDER: &str = "models";
const ONNX: &str = "model.onnx";
const EXTERNAL: &str = "external";
const MANIFEST: &str = "manifest.json";
const CHECK: &str = "check.json";
const COMPARED: &str = "compared";

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(
        "{path} is not what was stored there ({reason}); restore it, or remove the model's folder to store it anew"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("a file of the model cannot be stored as {0:?}; export the model again, with its data beside it")]
    Unusable(String),
}

impl StoreError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Volume(error) => error.code(),
            Self::Damaged { .. } => ErrorCode::JobDamaged,
            Self::Unusable(_) => ErrorCode::ModelDenied,
        }
    }
}

type Result<T> = std::result::Result<T, StoreError>;

/// Stores a model, and gives it with the manifest that counts: the one that was stored first.
pub fn put(volume: &Volume, checked: &Checked) -> Result<Checked> {
    let folder = folder_of(&checked.model.sha256);
    let files = files_of(checked)?;
    let stored: Option<Report> = read_json_if_there(&volume.root().join(&folder).join(CHECK))?;
    if stored.is_none_or(|stored| stored.files != checked.report.files) {
        for (path, file, bytes) in files {
            put_file(volume, &folder.join(path), file, bytes)?;
        }
    }
    let manifest = put_manifest(volume, &folder.join(MANIFEST), checked)?;
    volume.put(&folder.join(CHECK), &json(&checked.report))?;
    let mut counted = checked.clone();
    counted.model.manifest = manifest;
    Ok(counted)
}

/// Removes what processes left there that ended while they stored the model.
pub fn sweep(volume: &Volume, sha256: &Sha256) -> Result<()> {
    Ok(volume.sweep(&folder_of(sha256))?)
}

/// Reads a stored model back, if it is whole, and calls it `name`. `root` is the folder of the results.
pub fn open(root: &Path, sha256: &Sha256, name: &str) -> Result<Option<Checked>> {
    let folder = root.join(folder_of(sha256));
    let Some(report) = report(root, sha256)? else { return Ok(None) };
    let manifest: Manifest =
        read_json_if_there(&folder.join(MANIFEST))?.ok_or_else(|| damaged(&folder.join(MANIFEST), "it is missing"))?;
    let (onnx, external) =
        report.files.split_first().ok_or_else(|| damaged(&folder.join(CHECK), "it lists no file"))?;
    if report.sha256 != *sha256 {
        return Err(damaged(&folder.join(CHECK), "it is of another model"));
    }
    let bytes = read_file(&folder.join(ONNX), onnx)?;
    let read = |file: &CheckedFile| {
        let bytes = read_file(&folder.join(EXTERNAL).join(safe_path(&file.name)?), file)?;
        Ok((file.name.clone(), bytes.into()))
    };
    let external = external.iter().map(read).collect::<Result<_>>()?;
    let model = Model::stored(name.to_owned(), sha256.clone(), manifest, bytes.into(), external);
    Ok(Some(Checked { model, report }))
}

/// What was seen when a stored model was tried out.
pub fn report(root: &Path, sha256: &Sha256) -> Result<Option<Report>> {
    read_json_if_there(&root.join(folder_of(sha256)).join(CHECK))
}

/// How a stored model is used, without its bytes.
pub fn manifest(root: &Path, sha256: &Sha256) -> Result<Option<Manifest>> {
    read_json_if_there(&root.join(folder_of(sha256)).join(MANIFEST))
}

/// Keeps a comparison with the newer of the two models.
pub fn put_comparison(volume: &Volume, comparison: &Comparison) -> Result<Put> {
    let path = folder_of(&comparison.new).join(COMPARED).join(format!("{}.json", comparison.old));
    Ok(volume.put(&path, &json(comparison))?)
}

/// How a stored model compared with the one that it replaced last.
pub fn last_comparison(root: &Path, new: &Sha256) -> Result<Option<Comparison>> {
    let folder = root.join(folder_of(new)).join(COMPARED);
    let files = match fs::read_dir(&folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(volume::read_error(&folder, error).into()),
    };
    let published = files.flatten().filter(|file| file.path().extension().is_some_and(|extension| extension == "json"));
    let last = published.max_by_key(|file| file.metadata().and_then(|file| file.modified()).ok());
    last.map_or(Ok(None), |file| read_json_if_there(&file.path()))
}

fn folder_of(sha256: &Sha256) -> PathBuf {
    Path::new(FOLDER).join(sha256.as_str())
}

/// Each file's path in the model's folder, what was seen of it, and its bytes.
fn files_of(checked: &Checked) -> Result<Vec<(PathBuf, &CheckedFile, &[u8])>> {
    let (onnx, external) =
        checked.report.files.split_first().ok_or_else(|| StoreError::Unusable(checked.model.name.clone()))?;
    let mut files = vec![(PathBuf::from(ONNX), onnx, &**checked.model.bytes())];
    for file in external {
        let path = Path::new(EXTERNAL).join(safe_path(&file.name)?);
        let bytes =
            external_bytes(&checked.model, &file.name).ok_or_else(|| StoreError::Unusable(file.name.clone()))?;
        files.push((path, file, bytes));
    }
    Ok(files)
}

fn external_bytes<'a>(model: &'a Model, name: &str) -> Option<&'a [u8]> {
    model.external().iter().find(|(known, _)| known == name).map(|(_, bytes)| &**bytes)
}

/// A path that stays in the folder it is appended to.
fn safe_path(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    let is_normal = path.components().all(|component| matches!(component, Component::Normal(_)));
    if is_normal && !name.is_empty() && !name.contains('\0') {
        return Ok(path);
    }
    Err(StoreError::Unusable(name.chars().take(140).collect()))
}

/// What is there already is read: it may have been damaged, or be of a model with other external data.
fn put_file(volume: &Volume, path: &Path, file: &CheckedFile, bytes: &[u8]) -> Result<()> {
    if volume.put(path, bytes)? == Put::AlreadyThere {
        read_file(&volume.root().join(path), file)?;
    }
    Ok(())
}

fn put_manifest(volume: &Volume, path: &Path, checked: &Checked) -> Result<Manifest> {
    let fresh = &checked.model.manifest;
    if volume.put(path, &json(fresh))? == Put::Published {
        return Ok(fresh.clone());
    }
    let path = volume.root().join(path);
    let stored: Manifest = read_json_if_there(&path)?.ok_or_else(|| damaged(&path, "it vanished"))?;
    if !stored.is_used_like(fresh) {
        tracing::warn!(
            model = checked.model.name,
            manifest = %path.display(),
            "the model was stored with another manifest before; that one is used"
        );
    }
    Ok(stored)
}

fn read_file(path: &Path, file: &CheckedFile) -> Result<Vec<u8>> {
    let found = fs::metadata(path).map_err(|error| volume::read_error(path, error))?;
    if !found.is_file() || found.len() != file.bytes {
        return Err(damaged(path, &format!("it has {} bytes, and had {}", found.len(), file.bytes)));
    }
    let bytes = fs::read(path).map_err(|error| volume::read_error(path, error))?;
    if Sha256::of(&bytes) != file.sha256 {
        return Err(damaged(path, &format!("its sha256 was {}", file.sha256)));
    }
    Ok(bytes)
}

fn json(value: &impl Serialize) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("our documents have string keys");
    json.push(b'\n');
    json
}

fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(path, &error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(volume::read_error(path, error).into()),
    }
}

fn damaged(path: &Path, reason: &str) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    fn volume() -> (tempfile::TempDir, Volume) {
        let folder = tempfile::tempdir().unwrap();
        let volume = Volume::open(folder.path()).unwrap();
        (folder, volume)
    }

    fn stored() -> (tempfile::TempDir, Volume, Checked) {
        let (folder, volume) = volume();
        let checked = fixtures::checked("v8.onnx");
        put(&volume, &checked).unwrap();
        (folder, volume, checked)
    }

    #[test]
    fn what_was_stored_is_what_is_read() {
        let (_folder, volume, checked) = stored();
        let read = open(volume.root(), &checked.model.sha256, "again").unwrap().unwrap();
        assert_eq!(read.model.name, "again");
        assert_eq!(read.model.bytes(), checked.model.bytes());
        assert_eq!(read.model.manifest, checked.model.manifest);
        assert_eq!(read.report, checked.report);
        assert!(open(volume.root(), &Sha256::of(b"another"), "x").unwrap().is_none());
    }

    #[test]
    fn weights_that_are_kept_outside_the_file_are_stored_with_it() {
        let (_folder, volume) = volume();
        let checked = fixtures::checked("external.onnx");
        put(&volume, &checked).unwrap();
        let weights = volume.root().join(folder_of(&checked.model.sha256)).join(EXTERNAL).join("external.bin");
        assert_eq!(fs::read(&weights).unwrap(), fs::read(fixtures::graph("external.bin")).unwrap());
        let read = || open(volume.root(), &checked.model.sha256, "x");
        let stored = read().unwrap().unwrap();
        assert_eq!(stored.model.external(), checked.model.external());
        assert_eq!(stored.report.files.len(), 2);
        // The graph is nothing without them: that a session is made shows that they are found.
        crate::Detector::new(&crate::Runtime::load().unwrap(), &stored.model).unwrap();
        fs::write(&weights, "other bytes").unwrap();
        assert_eq!(read().unwrap_err().code(), ErrorCode::JobDamaged);
        fs::remove_file(&weights).unwrap();
        assert!(read().is_err());
    }

    #[test]
    fn a_model_without_its_check_was_not_stored() {
        let (_folder, volume, checked) = stored();
        fs::remove_file(volume.root().join(folder_of(&checked.model.sha256)).join(CHECK)).unwrap();
        assert!(open(volume.root(), &checked.model.sha256, "x").unwrap().is_none());
        put(&volume, &checked).unwrap();
        assert!(open(volume.root(), &checked.model.sha256, "x").unwrap().is_some());
    }

    #[test]
    fn the_manifest_that_was_stored_first_counts() {
        let (_folder, volume, checked) = stored();
        let mut other = checked.clone();
        other.model.manifest.defaults.confidence = 0.9;
        assert_eq!(put(&volume, &other).unwrap().model.manifest, checked.model.manifest);
        let read = open(volume.root(), &checked.model.sha256, "x").unwrap().unwrap();
        assert_eq!(read.model.manifest, checked.model.manifest);
    }

    #[test]
    fn damage_is_seen_before_anything_rests_on_it() {
        let (_folder, volume, checked) = stored();
        let folder = volume.root().join(folder_of(&checked.model.sha256));
        let whole = fs::read(folder.join(ONNX)).unwrap();
        let mut flipped = whole.clone();
        flipped[100] ^= 1;
        for bytes in [&flipped[..], &whole[..100]] {
            fs::write(folder.join(ONNX), bytes).unwrap();
            let error = open(volume.root(), &checked.model.sha256, "x").unwrap_err();
            assert_eq!(error.code(), ErrorCode::JobDamaged);
        }
        fs::remove_file(folder.join(CHECK)).unwrap();
        assert_eq!(put(&volume, &checked).unwrap_err().code(), ErrorCode::JobDamaged);
        fs::write(folder.join(CHECK), "{").unwrap();
        assert_eq!(open(volume.root(), &checked.model.sha256, "x").unwrap_err().code(), ErrorCode::JobDamaged);
    }

    #[test]
    fn a_stored_file_stays_in_its_folder() {
        for bad in ["../x", "/etc/passwd", "", "a/../../b", "a\0b", "./a"] {
            assert!(safe_path(bad).is_err(), "{bad:?}");
        }
        assert!(safe_path("weights/a.bin").is_ok());
        let mut checked = fixtures::checked("v8.onnx");
        let file = CheckedFile { name: "../x".to_owned(), ..checked.report.files[0].clone() };
        checked.report.files.push(file);
        assert_eq!(put(&volume().1, &checked).unwrap_err().code(), ErrorCode::ModelDenied);
    }

    #[test]
    fn a_comparison_is_kept_with_the_newer_model() {
        let (_folder, volume) = volume();
        let (old, new) = (Sha256::of(b"old"), Sha256::of(b"new"));
        let kept = Comparison {
            old: old.clone(),
            new: new.clone(),
            frames: 1,
            same: 2,
            moved: 0,
            lost: 0,
            gained: 1,
            score_change: Some(0.1),
        };
        assert_eq!(put_comparison(&volume, &kept).unwrap(), Put::Published);
        assert_eq!(last_comparison(volume.root(), &new).unwrap(), Some(kept.clone()));
        assert_eq!(last_comparison(volume.root(), &old).unwrap(), None);
        assert_eq!(put_comparison(&volume, &kept).unwrap(), Put::AlreadyThere);
    }
}
