//! What changes when somebody writes to a model's files, or puts others in their place.

use super::entries;
use crate::check::ModelPlace;
use std::{
    collections::HashSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Files that are looked at for one model: an exporter that gives every weight a file of its own makes some hundreds.
const MOST_FILES: usize = 1024;

/// Folders below a version's that are looked into, one in the other.
const DEEPEST: usize = 4;

/// What exporters call the file of the external data of `NAME.onnx`.
const DATA: [&str; 3] = [".onnx.data", ".onnx_data", ".data"];

/// A model's files as they were at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    /// What is the model's by its place: its `.onnx` and `.toml`, or everything in its version's folder.
    pub own: Marks,
    /// Of a model without versions: its weights in other files; where they are not known, every file that may be one.
    pub beside: Marks,
}

/// In the order of the files' paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks(Vec<Mark>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mark {
    path: PathBuf,
    device: u64,
    inode: u64,
    bytes: u64,
    /// Nanoseconds since 1970.
    modified: i128,
    /// The same of the file's own record, which a rename changes too, and nobody can set back.
    changed: i128,
}

impl Fingerprint {
    /// Looks at a model's files as they are now. What cannot be looked at does not count. `weights` are the names of the
    /// files beside a model without versions that it needs; `None` where they are not known.
    pub(crate) fn of(place: &ModelPlace, weights: Option<&[String]>) -> Self {
        let folder = place.onnx.parent().unwrap_or(&place.onnx);
        match weights {
            _ if place.version.is_some() => Self::of_folder(folder),
            Some(weights) => Self {
                own: own_marks(place),
                beside: Marks::of(weights.iter().map(|name| folder.join(name)).take(MOST_FILES)),
            },
            None => Beside::among(&entries(folder).unwrap_or_default()).fingerprint(place),
        }
    }

    /// Of what is not looked into: a file or folder alone, or the link that is there instead.
    pub(super) fn of_path(path: &Path) -> Self {
        let metadata = fs::symlink_metadata(path).ok();
        let mark = metadata.map(|metadata| Mark::new(path.to_owned(), &metadata));
        Self { own: Marks(mark.into_iter().collect()), beside: Marks::default() }
    }

    /// Of everything in a version's folder.
    fn of_folder(folder: &Path) -> Self {
        let mut files = Vec::new();
        add_files(folder, DEEPEST, &mut files);
        Self { own: Marks::of(files), beside: Marks::default() }
    }

    /// Leaves out what is beside the model and none of its weights.
    pub(crate) fn narrow(&mut self, place: &ModelPlace, weights: &[String]) {
        let weights: HashSet<PathBuf> = weights.iter().map(|name| place.onnx.with_file_name(name)).collect();
        self.beside.0.retain(|mark| weights.contains(&mark.path));
    }
}

impl Marks {
    fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut marks: Vec<Mark> = files.into_iter().flat_map(Mark::of).collect();
        marks.sort_by(|left, right| left.path.cmp(&right.path));
        Self(marks)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// When something last happened to the files, in nanoseconds since 1970 by the clock of their file system.
    pub(crate) fn last_change(&self) -> Option<i128> {
        self.0.iter().map(|mark| mark.modified.max(mark.changed)).max()
    }
}

impl Mark {
    /// Of a link that and what it leads to, unless that is a folder.
    fn of(path: PathBuf) -> Vec<Self> {
        let Ok(metadata) = fs::symlink_metadata(&path) else { return Vec::new() };
        let target = fs::metadata(&path).ok().filter(|target| metadata.is_symlink() && !target.is_dir());
        let target = target.map(|target| Self::new(path.clone(), &target));
        std::iter::once(Self::new(path, &metadata)).chain(target).collect()
    }

    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            path,
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The files in a model directory that are no model by their names: some model's weights, or anything else.
#[derive(Debug)]
pub(super) struct Beside {
    files: Vec<(Option<String>, Marks)>,
}

impl Beside {
    /// Picks them among the names and paths of everything in a directory.
    pub(super) fn among(entries: &[(String, PathBuf)]) -> Self {
        let models: HashSet<&str> = entries.iter().filter_map(|(name, _)| name.strip_suffix(".onnx")).collect();
        // What is not whole yet is nobody's weights before it has another name.
        let ends_otherwise = |name: &str| [".onnx", ".toml", ".part", ".tmp"].iter().all(|end| !name.ends_with(end));
        let is_other = |name: &str| !name.starts_with('.') && ends_otherwise(name);
        let others = entries.iter().filter(|(name, path)| is_other(name) && path.is_file());
        let owner = |name: &str| DATA.iter().find_map(|end| models.get(name.strip_suffix(end)?)).map(|&s| s.to_owned());
        let files = others.take(MOST_FILES).map(|(name, path)| (owner(name), Marks::of([path.clone()])));
        Self { files: files.collect() }
    }

    /// Of a model that may need any of them, but for those that have another model's name.
    pub(super) fn fingerprint(&self, place: &ModelPlace) -> Fingerprint {
        let may_be = self.files.iter().filter(|(owner, _)| owner.as_ref().is_none_or(|owner| *owner == place.name));
        let beside = Marks(may_be.flat_map(|(_, marks)| marks.0.iter().cloned()).collect());
        Fingerprint { own: own_marks(place), beside }
    }
}

fn own_marks(place: &ModelPlace) -> Marks {
    Marks::of([place.onnx.clone(), place.toml.clone()])
}

/// Adds what is in a folder and in those below it, which links do not lead to.
fn add_files(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    for (_, path) in entries(folder).unwrap_or_default() {
        if files.len() == MOST_FILES {
            return;
        }
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() && depth > 0 => add_files(&path, depth - 1, files),
            Ok(metadata) if !metadata.is_dir() => files.push(path),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the model `flat.onnx` and the version `deep/1/model.onnx` in it.
    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().unwrap());
            folder.write("flat.onnx", "bytes");
            folder.write("deep/1/model.onnx", "bytes");
            folder
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn write(&self, name: &str, bytes: &str) {
            fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
            fs::write(self.path(name), bytes).unwrap();
        }

        fn flat(&self) -> ModelPlace {
            let (onnx, toml) = (self.path("flat.onnx"), self.path("flat.toml"));
            ModelPlace { name: "flat".to_owned(), version: None, onnx, toml }
        }

        fn deep(&self) -> ModelPlace {
            let (onnx, toml) = (self.path("deep/1/model.onnx"), self.path("deep/1/model.toml"));
            ModelPlace { name: "deep".to_owned(), version: Some("1".to_owned()), onnx, toml }
        }
    }

    #[test]
    fn every_kind_of_change_is_told() {
        let folder = Folder::new();
        for (place, beside) in [
            (folder.flat(), ["flat.toml", "flat.onnx.data", "weights.bin"]),
            (folder.deep(), ["deep/1/model.toml", "deep/1/weights", "deep/1/below/it/weights"]),
        ] {
            let mut seen = vec![Fingerprint::of(&place, None)];
            let mut changed = |what: &str| {
                let fingerprint = Fingerprint::of(&place, None);
                assert!(!seen.contains(&fingerprint), "{what}");
                seen.push(fingerprint);
            };
            fs::write(&place.onnx, "other").unwrap();
            fs::File::open(&place.onnx).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            changed("the time");
            fs::copy(&place.onnx, folder.path(".copy")).unwrap();
            fs::rename(folder.path(".copy"), &place.onnx).unwrap();
            changed("another file");
            for beside in beside {
                folder.write(beside, "bytes");
                changed(beside);
                folder.write(beside, "more bytes");
                changed(beside);
            }
        }
    }

    #[test]
    fn other_models_and_what_is_not_whole_are_nobodys_weights() {
        let folder = Folder::new();
        folder.write("weights.bin", "bytes");
        let seen = Fingerprint::of(&folder.flat(), None);
        for other in ["other.onnx", "other.toml", "other.onnx.data", "other.data", ".hidden", "x.part", "deep/1/x"] {
            folder.write(other, "bytes");
        }
        assert_eq!(Fingerprint::of(&folder.flat(), None), seen);
        assert_eq!(seen.beside.0.len(), 1);
    }

    #[test]
    fn where_the_weights_are_known_nothing_else_counts() {
        let folder = Folder::new();
        folder.write("weights.bin", "bytes");
        folder.write("notes.txt", "bytes");
        let weights = ["weights.bin".to_owned(), "below/weights.bin".to_owned()];
        let seen = Fingerprint::of(&folder.flat(), Some(&weights));
        let mut narrowed = Fingerprint::of(&folder.flat(), None);
        assert_ne!(narrowed, seen);
        narrowed.narrow(&folder.flat(), &weights);
        assert_eq!(narrowed, seen);
        folder.write("notes.txt", "other bytes");
        assert_eq!(Fingerprint::of(&folder.flat(), Some(&weights)), seen);
        for weights_file in &weights {
            let seen = Fingerprint::of(&folder.flat(), Some(&weights));
            folder.write(weights_file, "other bytes");
            assert_ne!(Fingerprint::of(&folder.flat(), Some(&weights)), seen);
        }
    }

    #[test]
    fn no_more_is_looked_at_than_a_model_may_need() {
        let folder = Folder::new();
        folder.write("deep/1/a/b/c/d/weights", "bytes");
        folder.write("deep/1/a/b/c/d/e/weights", "bytes");
        std::os::unix::fs::symlink(".", folder.path("deep/1/circle")).unwrap();
        assert_eq!(Fingerprint::of(&folder.deep(), None).own.0.len(), 3);
        for n in 0..MOST_FILES + 10 {
            folder.write(&format!("deep/1/a/{n}"), "");
        }
        assert_eq!(Fingerprint::of(&folder.deep(), None).own.0.len(), MOST_FILES);
    }
}
