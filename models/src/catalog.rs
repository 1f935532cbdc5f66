use crate::{ModelError, check::ModelPlace};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Component, Path, PathBuf},
};

/// The names in a model directory at one moment: for calls that mean a model which is there already.
/// [`crate::ModelDirectory`] follows one.
#[derive(Debug, Clone)]
pub struct Catalog {
    directory: PathBuf,
    names: BTreeSet<String>,
}

impl Catalog {
    /// Lists a directory; no model is read. Hidden files and everything that does not fit the layout are passed over.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let names = names_in(directory).map_err(|error| ModelError::NotFound {
            problem: format!("the model directory {} cannot be read: {error}", directory.display()),
            remedy: "name the directory with --models, or give a model by its path, ./<name>.onnx".to_owned(),
        })?;
        Ok(Self { directory: directory.to_owned(), names })
    }

    /// Fails where nothing has that name, and says what there is.
    pub fn has(&self, name: &str) -> Result<(), ModelError> {
        let in_the_way = self.directory.join(format!("{name}.onnx"));
        if self.names.contains(name) || in_the_way.symlink_metadata().is_ok() {
            return Ok(());
        }
        Err(ModelError::NotFound {
            problem: format!("there is no model {name:?} in {}", self.directory.display()),
            remedy: self.choice(),
        })
    }

    /// Where that version of the model of that name is.
    pub fn version(&self, name: &str, version: &str) -> Result<ModelPlace, ModelError> {
        let is_name = |part: &str| {
            let mut components = Path::new(part).components();
            matches!((components.next(), components.next()), (Some(Component::Normal(_)), None))
        };
        let onnx = self.directory.join(name).join(version).join("model.onnx");
        if !is_name(name) || !is_name(version) || !onnx.is_file() {
            return Err(ModelError::NotFound {
                problem: format!("there is no version {version:?} of model {name:?} in {}", self.directory.display()),
                remedy: "`framefleet models list` shows what there is".to_owned(),
            });
        }
        let toml = onnx.with_extension("toml");
        Ok(ModelPlace { name: name.to_owned(), version: Some(version.to_owned()), onnx, toml })
    }

    /// The model that is meant when nobody names one: the only one there is.
    pub fn only(&self) -> Result<&str, ModelError> {
        match self.names.first() {
            Some(name) if self.names.len() == 1 => Ok(name),
            _ => Err(ModelError::NotFound {
                problem: match self.names.len() {
                    0 => format!("there is no model in {}", self.directory.display()),
                    n => format!("{} holds {n} models", self.directory.display()),
                },
                remedy: self.choice(),
            }),
        }
    }

    fn choice(&self) -> String {
        if self.names.is_empty() {
            return "put <name>.onnx into it".to_owned();
        }
        let names = self.names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        format!("name one of {names} with --model, or give a model by its path, ./<name>.onnx")
    }
}

fn names_in(directory: &Path) -> io::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let file_name = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.'));
        match file_name {
            Some(name) if path.is_file() => names.extend(name.strip_suffix(".onnx").map(str::to_owned)),
            Some(name) if has_version(&path) => names.extend([name.to_owned()]),
            _ => {}
        }
    }
    Ok(names)
}

fn has_version(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().join("model.onnx").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::error_code::ErrorCode;

    fn put(directory: &Path, name: &str) {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "not looked at").unwrap();
    }

    #[test]
    fn the_only_model_needs_no_name_and_two_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Catalog::open(directory.path()).unwrap().only().unwrap_err().code(), ErrorCode::ModelNotFound);
        put(directory.path(), "one/2/model.onnx");
        put(directory.path(), "notes.txt");
        put(directory.path(), "empty/model.txt");
        assert_eq!(Catalog::open(directory.path()).unwrap().only().unwrap(), "one");
        put(directory.path(), "two.onnx");
        let error = Catalog::open(directory.path()).unwrap().only().unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelNotFound);
        assert!(error.to_string().contains("one, two"), "{error}");
    }

    #[test]
    fn a_version_is_found_and_no_way_leads_out_of_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "models/gate/2.1/model.onnx");
        put(directory.path(), "else/1/model.onnx");
        let catalog = Catalog::open(&directory.path().join("models")).unwrap();
        let place = catalog.version("gate", "2.1").unwrap();
        assert!(place.onnx.ends_with("models/gate/2.1/model.onnx") && place.toml.ends_with("gate/2.1/model.toml"));
        for (name, version) in [("gate", "3"), ("gate", ""), ("", "2.1"), ("../else", "1"), ("gate", "../../else/1")] {
            let error = catalog.version(name, version).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelNotFound, "{name} {version}");
        }
    }

    #[test]
    fn a_missing_directory_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let error = Catalog::open(&directory.path().join("nowhere")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelNotFound);
        assert!(error.to_string().contains("--models"), "{error}");
    }
}
