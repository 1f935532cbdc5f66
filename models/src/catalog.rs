use crate::{Model, ModelError, version};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The models in a directory: `<name>.onnx`, or `<name>/<version>/model.onnx`, of which the newest version counts.
///
/// It is a snapshot: files that come later are seen by opening it again. Hidden files and everything that does not
/// fit the layout are passed over.
#[derive(Debug, Clone)]
pub struct Catalog {
    directory: PathBuf,
    models: BTreeMap<String, PathBuf>,
}

impl Catalog {
    /// Lists a directory; no model is read yet.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let models = list(directory).map_err(|error| ModelError::NotFound {
            problem: format!("the model directory {} cannot be read: {error}", directory.display()),
            remedy: "name the directory with --models, or give a model by its path, ./<name>.onnx".to_owned(),
        })?;
        Ok(Self { directory: directory.to_owned(), models })
    }

    /// The models' names, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str)
    }

    /// Reads and recognises the model of that name.
    pub fn find(&self, name: &str) -> Result<Model, ModelError> {
        let path = self.models.get(name).ok_or_else(|| ModelError::NotFound {
            problem: format!("there is no model {name:?} in {}", self.directory.display()),
            remedy: self.choice(),
        })?;
        Model::open_named(name.to_owned(), path)
    }

    /// Reads and recognises that version of the model of that name.
    pub fn find_version(&self, name: &str, version: &str) -> Result<Model, ModelError> {
        let file_of = |part: &str| Path::new(part).components().all(|part| matches!(part, Component::Normal(_)));
        let path = self.directory.join(name).join(version).join("model.onnx");
        if !file_of(name) || !file_of(version) || !path.is_file() {
            return Err(ModelError::NotFound {
                problem: format!("there is no version {version:?} of model {name:?} in {}", self.directory.display()),
                remedy:
                    "`framefleet models list` shows what there is, and `framefleet models unpin` lets go of a version"
                        .to_owned(),
            });
        }
        Model::open_named(name.to_owned(), &path)
    }

    /// The model that is meant when nobody names one: the only one there is.
    pub fn only(&self) -> Result<&str, ModelError> {
        match self.models.keys().next() {
            Some(name) if self.models.len() == 1 => Ok(name),
            _ => Err(ModelError::NotFound {
                problem: match self.models.len() {
                    0 => format!("there is no model in {}", self.directory.display()),
                    n => format!("{} holds {n} models", self.directory.display()),
                },
                remedy: self.choice(),
            }),
        }
    }

    fn choice(&self) -> String {
        if self.models.is_empty() {
            return "put <name>.onnx into it".to_owned();
        }
        let names = self.names().collect::<Vec<_>>().join(", ");
        format!("name one of {names} with --model, or give a model by its path, ./<name>.onnx")
    }
}

fn list(directory: &Path) -> io::Result<BTreeMap<String, PathBuf>> {
    let mut models = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(file_name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'))
        else {
            continue;
        };
        if let Some(name) = file_name.strip_suffix(".onnx").filter(|_| path.is_file()) {
            models.insert(name.to_owned(), path.clone());
        } else if let Some(newest) = newest_version(&path) {
            // A file of the same name was put there by hand later than the folder was laid out: it wins.
            models.entry(file_name.to_owned()).or_insert(newest);
        }
    }
    Ok(models)
}

fn newest_version(folder: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let complete =
        versions.filter(|version| !version.starts_with('.') && folder.join(version).join("model.onnx").is_file());
    complete.max_by(|left, right| version::compare(left, right)).map(|version| folder.join(version).join("model.onnx"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::error_code::ErrorCode;

    fn graph(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graphs").join(name)
    }

    fn put(directory: &Path, name: &str, from: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(graph(from), path).unwrap();
    }

    #[test]
    fn a_model_is_found_as_a_file_and_as_its_newest_complete_version() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "flat.onnx", "v8.onnx");
        put(directory.path(), "deep/9/model.onnx", "v5.onnx");
        put(directory.path(), "deep/10/model.onnx", "yolox.onnx");
        fs::create_dir_all(directory.path().join("deep/11")).unwrap();
        fs::write(directory.path().join("notes.txt"), "no model").unwrap();
        let catalog = Catalog::open(directory.path()).unwrap();
        assert_eq!(catalog.names().collect::<Vec<_>>(), ["deep", "flat"]);
        let deep = catalog.find("deep").unwrap();
        assert_eq!(deep.name, "deep");
        assert_eq!(deep.manifest.head, crate::manifest::HeadFamily::Yolox);
    }

    #[test]
    fn the_only_model_needs_no_name_and_two_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Catalog::open(directory.path()).unwrap().only().unwrap_err().code(), ErrorCode::ModelNotFound);
        put(directory.path(), "one.onnx", "v8.onnx");
        assert_eq!(Catalog::open(directory.path()).unwrap().only().unwrap(), "one");
        put(directory.path(), "two.onnx", "v5.onnx");
        let error = Catalog::open(directory.path()).unwrap().only().unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelNotFound);
        assert!(error.to_string().contains("one, two"), "{error}");
    }

    #[test]
    fn an_unknown_name_and_a_missing_directory_say_what_there_is() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "one.onnx", "v8.onnx");
        let error = Catalog::open(directory.path()).unwrap().find("three").unwrap_err();
        assert!(error.to_string().contains("\"three\"") && error.to_string().contains("one"), "{error}");
        let error = Catalog::open(&directory.path().join("nowhere")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelNotFound);
    }
}
