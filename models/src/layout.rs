//! What lies in a model directory, told from the outside: no model is opened here.

mod fingerprint;

pub(crate) use fingerprint::{Fingerprint, Marks};

use crate::{ModelError, check::ModelPlace, model::LARGEST_MODEL};
use fingerprint::Beside;
use std::{
    cell::OnceCell,
    collections::BTreeMap,
    fs::{self, FileType},
    io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// A version of a model that lies in the directory.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub place: ModelPlace,
    pub fingerprint: Fingerprint,
    /// What is wrong with it whatever is in the file.
    pub refusal: Option<ModelError>,
}

/// In which files beside them the models without versions keep their weights. That of a name which is not in it may be
/// any of them, as before it was tried out.
pub(crate) type KnownWeights<'a> = BTreeMap<&'a str, &'a [String]>;

/// Lists the models of a directory, or those of one name. Fails only if the directory itself cannot be read: then
/// nothing is known of what is in it.
pub(crate) fn scan(directory: &Path, only: Option<&str>, weights: &KnownWeights<'_>) -> io::Result<Vec<Found>> {
    let root = directory.canonicalize()?;
    let mut entries = entries(directory)?;
    entries.retain(|(name, _)| !name.starts_with('.'));
    let scan = Scan { root, only, weights, entries: &entries, beside: OnceCell::new() };
    let (files, others): (Vec<_>, Vec<_>) = entries.iter().partition(|(name, _)| name.strip_suffix(".onnx").is_some());
    let mut found: Vec<Found> = files.into_iter().filter_map(|(name, path)| scan.file(name, path)).collect();
    for (name, path) in others {
        let versions = scan.versions(name, path);
        if let Some(file) = found.iter().position(|file| file.place.version.is_none() && file.place.name == *name)
            && versions.iter().any(|found| found.place.version.is_some())
        {
            let both = two_of_one_name(name, &found[file].place.onnx, path);
            found[file].refusal = Some(both.clone());
            found.extend(versions.into_iter().map(|version| Found { refusal: Some(both.clone()), ..version }));
        } else {
            found.extend(versions);
        }
    }
    Ok(found)
}

/// Whether a model or a version may be called that: 1 to 128 letters, digits, `.`, `_` and `-`, not beginning with `.`
/// or `-`, so that it is a safe name of a folder and on a command line.
pub(crate) fn is_usable(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= 128 && !name.starts_with(['.', '-']) && name.chars().all(allowed)
}

struct Scan<'a> {
    /// Without links, so that what a link leads to can be compared with it.
    root: PathBuf,
    only: Option<&'a str>,
    weights: &'a KnownWeights<'a>,
    entries: &'a [(String, PathBuf)],
    /// Looked at once, for all models of which nothing more is known.
    beside: OnceCell<Beside>,
}

impl Scan<'_> {
    fn file(&self, file_name: &str, onnx: &Path) -> Option<Found> {
        let name = file_name.strip_suffix(".onnx").filter(|name| self.wants(name))?;
        let (onnx, toml) = (onnx.to_owned(), onnx.with_extension("toml"));
        let place = ModelPlace { name: name.to_owned(), version: None, onnx, toml };
        let fingerprint = match self.weights.get(name) {
            Some(weights) => Fingerprint::of(&place, Some(weights)),
            None => self.beside.get_or_init(|| Beside::among(self.entries)).fingerprint(&place),
        };
        Some(Found::new(place, fingerprint))
    }

    fn versions(&self, name: &str, folder: &Path) -> Vec<Found> {
        if !self.wants(name) {
            return Vec::new();
        }
        match self.entries_of(name, folder) {
            Ok(versions) => {
                versions.into_iter().filter_map(|(version, path)| self.version(name, version, &path)).collect()
            }
            // What no model could be called, such as a volume's `lost+found`, is nothing that anybody dropped.
            Err(_) if !is_usable(name) => Vec::new(),
            Err(refusal) => vec![Found::refused(name, None, folder, refusal)],
        }
    }

    /// What is in a model's folder; nothing where it is no folder.
    fn entries_of(&self, name: &str, folder: &Path) -> Result<Vec<(String, PathBuf)>, ModelError> {
        if !self.is_folder(name, folder)? {
            return Ok(Vec::new());
        }
        entries(folder).map_err(|error| ModelError::NotFound {
            problem: format!("the folder {} of model {name} cannot be read: {error}", folder.display()),
            remedy: "make it readable".to_owned(),
        })
    }

    fn version(&self, name: &str, version: String, folder: &Path) -> Option<Found> {
        if version.starts_with('.') {
            return None;
        }
        match self.is_folder(name, folder) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(refusal) => return Some(Found::refused(name, Some(version), folder, refusal)),
        }
        let (onnx, toml) = (folder.join("model.onnx"), folder.join("model.toml"));
        let place = ModelPlace { name: name.to_owned(), version: Some(version.clone()), onnx, toml };
        match fs::symlink_metadata(&place.onnx) {
            Ok(_) => {
                let fingerprint = Fingerprint::of(&place, None);
                Some(Found::new(place, fingerprint))
            }
            // A folder that is only being filled, or a file with a name of its own.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                misnamed(&place.onnx).map(|refusal| Found::refused(name, Some(version), folder, refusal))
            }
            Err(error) => Some(Found::refused(name, Some(version), folder, unreadable(&place.onnx, &error))),
        }
    }

    /// Whether it is a folder that may be looked into. Only what is not there, or something else, is none: a network
    /// volume has other errors, which say nothing of what is there.
    fn is_folder(&self, name: &str, path: &Path) -> Result<bool, ModelError> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => confined(name, path, &self.root).map(|()| true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|only| only == name)
    }
}

/// Where a version's folder has no `model.onnx`, another ONNX file that may be meant.
fn misnamed(onnx: &Path) -> Option<ModelError> {
    let names = fs::read_dir(onnx.parent()?).ok()?.flatten().map(|entry| entry.file_name());
    let other =
        names.into_iter().find(|name| Path::new(name).extension().is_some_and(|extension| extension == "onnx"))?;
    Some(ModelError::NotFound {
        problem: format!("there is no {}, but a {}", onnx.display(), other.display()),
        remedy: "call it model.onnx, so that it counts".to_owned(),
    })
}

impl Found {
    fn new(place: ModelPlace, fingerprint: Fingerprint) -> Self {
        let refusal = problem_of(&place).err();
        Self { place, fingerprint, refusal }
    }

    fn refused(name: &str, version: Option<String>, path: &Path, refusal: ModelError) -> Self {
        let place =
            ModelPlace { name: name.to_owned(), version, onnx: path.join("model.onnx"), toml: path.join("model.toml") };
        Self { place, fingerprint: Fingerprint::of_path(path), refusal: Some(refusal) }
    }
}

/// Names and paths in a folder, in alphabetical order. A name that is no text is shown with replacement characters,
/// which no usable name has.
fn entries(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    entries.sort();
    Ok(entries)
}

fn problem_of(place: &ModelPlace) -> Result<(), ModelError> {
    usable("model", &place.name)?;
    place.version.as_deref().map_or(Ok(()), |version| usable("version", version))?;
    regular(&place.name, &place.onnx)?;
    match fs::symlink_metadata(&place.toml) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => regular(&place.name, &place.toml),
    }
}

/// A file of the directory that may be opened: opening a FIFO waits for ever, and a device does as it likes.
fn regular(model: &str, path: &Path) -> Result<(), ModelError> {
    confined(model, path, path.parent().unwrap_or(path))?;
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let problem = match kind(metadata.file_type()) {
        None if metadata.len() <= LARGEST_MODEL => return Ok(()),
        None => "larger than 2 GiB, which no ONNX file is".to_owned(),
        Some(kind) => format!("{kind}, not a file"),
    };
    Err(ModelError::Invalid { model: model.to_owned(), problem: format!("{} is {problem}", path.display()) })
}

/// Whether a link leads to something, and to something inside `home`: Kubernetes lays out volumes so. A folder's home
/// is the directory; a file's is its folder, all that the child which opens it may read.
fn confined(model: &str, path: &Path, home: &Path) -> Result<(), ModelError> {
    if !path.is_symlink() {
        return Ok(());
    }
    let real = |path: &Path| path.canonicalize().map_err(|error| unreadable(path, &error));
    let target = real(path)?;
    if target.starts_with(real(home)?) {
        return Ok(());
    }
    let problem = format!("{} is a link to {}", path.display(), target.display());
    Err(ModelError::Denied { model: model.to_owned(), problem })
}

/// What it is, where it is no regular file.
fn kind(kind: FileType) -> Option<&'static str> {
    if kind.is_file() {
        None
    } else if kind.is_dir() {
        Some("a directory")
    } else if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        Some("a device")
    }
}

fn usable(what: &str, name: &str) -> Result<(), ModelError> {
    if is_usable(name) {
        return Ok(());
    }
    Err(ModelError::NotFound {
        problem: format!("{name:?} is no name for a {what}"),
        remedy: "rename it to 1 to 128 letters, digits, '.', '_' or '-', not beginning with '.' or '-'".to_owned(),
    })
}

fn two_of_one_name(name: &str, file: &Path, folder: &Path) -> ModelError {
    ModelError::NotFound {
        problem: format!("two files are called {name}: {} and those in {}", file.display(), folder.display()),
        remedy: "remove one of them".to_owned(),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> ModelError {
    let what = if path.is_symlink() { "the link" } else { "what is at" };
    let how = if path.is_symlink() { "followed" } else { "looked at" };
    ModelError::NotFound {
        problem: format!("{what} {} cannot be {how}: {error}", path.display()),
        remedy: "put the file there, or remove it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::error_code::ErrorCode;
    use std::os::unix::fs::symlink;

    fn write(directory: &Path, name: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "bytes").unwrap();
    }

    fn scan_all(directory: &Path) -> io::Result<Vec<Found>> {
        scan(directory, None, &KnownWeights::new())
    }

    /// Name, version and code of everything that is found.
    fn listed(directory: &Path) -> Vec<(String, Option<String>, Option<ErrorCode>)> {
        let found = scan_all(directory).unwrap().into_iter();
        found.map(|found| (found.place.name, found.place.version, found.refusal.map(|error| error.code()))).collect()
    }

    fn row(name: &str, version: Option<&str>, code: Option<ErrorCode>) -> (String, Option<String>, Option<ErrorCode>) {
        (name.to_owned(), version.map(str::to_owned), code)
    }

    #[test]
    fn files_and_versions_are_found_and_everything_else_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["flat.onnx", "flat.toml", "deep/1/model.onnx", "deep/2/model.onnx", "deep/3/model.onnx.part"] {
            write(directory.path(), name);
        }
        for name in
            ["README.md", ".hidden.onnx", "new.onnx.part", "new.onnx.tmp", "docs/page/x.txt", ".git/1/model.onnx"]
        {
            write(directory.path(), name);
        }
        // A file that is called as its owner likes is named, for it was meant.
        write(directory.path(), "deep/4/best.onnx");
        let misnamed = row("deep", Some("4"), Some(ErrorCode::ModelNotFound));
        let expected = [row("flat", None, None), row("deep", Some("1"), None), row("deep", Some("2"), None), misnamed];
        assert_eq!(listed(directory.path()), expected);
        assert_eq!(scan(directory.path(), Some("flat"), &KnownWeights::new()).unwrap().len(), 1);
        assert!(scan_all(&directory.path().join("nowhere")).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused_without_being_opened() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("folder.onnx")).unwrap();
        let fifo = std::process::Command::new("mkfifo").arg(directory.path().join("pipe.onnx")).status().unwrap();
        assert!(fifo.success());
        symlink("/dev/zero", directory.path().join("zero.onnx")).unwrap();
        let large = fs::File::create(directory.path().join("large.onnx")).unwrap();
        large.set_len(LARGEST_MODEL + 1).unwrap();
        let invalid = Some(ErrorCode::ModelInvalid);
        let expected = [
            row("folder", None, invalid),
            row("large", None, invalid),
            row("pipe", None, invalid),
            row("zero", None, Some(ErrorCode::ModelDenied)),
        ];
        assert_eq!(listed(directory.path()), expected);
    }

    #[test]
    fn links_are_followed_inside_the_directory_and_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        write(outside.path(), "model.onnx");
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "..2026_11_26/a.onnx");
        let link = |target: &Path, name: &str| symlink(target, directory.path().join(name)).unwrap();
        link(Path::new("..2026_11_26"), "..data");
        link(Path::new("..data/a.onnx"), "a.onnx");
        link(Path::new("nowhere"), "dangling.onnx");
        link(Path::new("loop.onnx"), "loop.onnx");
        link(&outside.path().join("model.onnx"), "out.onnx");
        write(directory.path(), "deep/1/model.onnx");
        link(outside.path(), "deep/2");
        write(directory.path(), "toml.onnx");
        link(&outside.path().join("model.onnx"), "toml.toml");
        let (lost, denied) = (Some(ErrorCode::ModelNotFound), Some(ErrorCode::ModelDenied));
        let expected = [
            row("a", None, None),
            row("dangling", None, lost),
            row("loop", None, lost),
            row("out", None, denied),
            row("toml", None, denied),
            row("deep", Some("1"), None),
            row("deep", Some("2"), denied),
        ];
        assert_eq!(listed(directory.path()), expected);
    }

    #[test]
    fn a_folder_that_cannot_be_looked_at_is_not_gone() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "deep/1/model.onnx");
        write(directory.path(), "flat.onnx");
        // Links in a circle have an error of their own, as a network volume that is away has.
        for circle in ["deep/2", "away", "flat", "lost+found"] {
            symlink(Path::new(circle).file_name().unwrap(), directory.path().join(circle)).unwrap();
        }
        symlink("nowhere", directory.path().join("deep/3")).unwrap();
        let lost = Some(ErrorCode::ModelNotFound);
        let expected = [
            row("flat", None, None),
            row("away", None, lost),
            row("deep", Some("1"), None),
            row("deep", Some("2"), lost),
            row("flat", None, lost),
        ];
        assert_eq!(listed(directory.path()), expected);
    }

    #[test]
    fn a_versions_files_lie_in_its_folder_wherever_that_is() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), ".store/x/model.onnx");
        for version in ["1", "2", "3"] {
            write(directory.path(), &format!("deep/{version}/..data/model.onnx"));
        }
        let link = |target: &str, name: &str| symlink(target, directory.path().join(name)).unwrap();
        link("..data/model.onnx", "deep/1/model.onnx");
        link("../../.store/x/model.onnx", "deep/2/model.onnx");
        link("..data/model.onnx", "deep/3/model.onnx");
        link("../../.store/x/model.onnx", "deep/3/model.toml");
        link("../.store/x", "deep/4");
        let denied = Some(ErrorCode::ModelDenied);
        let expected = [
            row("deep", Some("1"), None),
            row("deep", Some("2"), denied),
            row("deep", Some("3"), denied),
            row("deep", Some("4"), None),
        ];
        assert_eq!(listed(directory.path()), expected);
    }

    #[test]
    fn a_directory_that_is_a_link_itself_is_no_way_out() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "real/a.onnx");
        symlink("a.onnx", directory.path().join("real/b.onnx")).unwrap();
        symlink("real", directory.path().join("models")).unwrap();
        let expected = [row("a", None, None), row("b", None, None)];
        assert_eq!(listed(&directory.path().join("models")), expected);
    }

    #[test]
    fn two_files_of_one_name_are_both_refused_and_both_named() {
        let directory = tempfile::tempdir().unwrap();
        write(directory.path(), "one.onnx");
        fs::create_dir(directory.path().join("one")).unwrap();
        assert_eq!(listed(directory.path()), [row("one", None, None)]);
        write(directory.path(), "one/1/model.onnx");
        let found = scan_all(directory.path()).unwrap();
        assert_eq!(found.len(), 2);
        for found in found {
            let text = found.refusal.unwrap().to_string();
            assert!(text.contains("one.onnx and those in ") && text.contains("/one;"), "{text}");
        }
    }

    #[test]
    fn names_that_are_no_safe_names_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let long = format!("{}.onnx", "x".repeat(129));
        for name in ["-rf.onnx", "a b.onnx", "é.onnx", &long, "ok-1.2_b.onnx", "deep/v 1/model.onnx"] {
            write(directory.path(), name);
        }
        let refused = listed(directory.path()).into_iter().filter(|(_, _, code)| code.is_some()).count();
        assert_eq!((refused, listed(directory.path()).len()), (5, 6));
    }
}
