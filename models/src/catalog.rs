use crate::{
    ModelError,
    check::ModelPlace,
    layout::{self, Found, KnownWeights},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What lies in a model directory at one moment: for calls that mean a model which is there already.
/// [`crate::ModelDirectory`] follows one, and allows the same.
#[derive(Debug, Clone)]
pub struct Catalog {
    directory: PathBuf,
    found: Vec<Found>,
}

impl Catalog {
    /// Lists a directory; no model is read. Hidden files and everything that does not fit the layout are passed over.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let found = layout::scan(directory, None, &KnownWeights::new()).map_err(|error| ModelError::NotFound {
            problem: format!("the model directory {} cannot be read: {error}", directory.display()),
            remedy: "name the directory with --models, or give a model by its path, ./<name>.onnx".to_owned(),
        })?;
        Ok(Self { directory: directory.to_owned(), found })
    }

    /// Fails where nothing has that name, and says what there is.
    pub fn has(&self, name: &str) -> Result<(), ModelError> {
        if self.found.iter().any(|found| found.place.name == name) {
            return Ok(());
        }
        Err(ModelError::NotFound {
            problem: format!("there is no model {name:?} in {}", self.directory.display()),
            remedy: self.choice(),
        })
    }

    /// Where that version of the model of that name is. Fails where it would be refused without being opened.
    pub fn version(&self, name: &str, version: &str) -> Result<ModelPlace, ModelError> {
        let mut found = self.found.iter().filter(|found| found.place.name == name);
        match found.find(|found| found.place.version.as_deref() == Some(version)) {
            Some(Found { refusal: Some(refusal), .. }) => Err(refusal.clone()),
            Some(found) => Ok(found.place.clone()),
            None => Err(ModelError::NotFound {
                problem: format!("there is no version {version:?} of model {name:?} in {}", self.directory.display()),
                remedy: "`framefleet models list` shows what there is".to_owned(),
            }),
        }
    }

    /// The model that is meant when nobody names one: the only one there is.
    pub fn only(&self) -> Result<&str, ModelError> {
        let names = self.names();
        match names.first() {
            Some(name) if names.len() == 1 => Ok(name),
            _ => Err(ModelError::NotFound {
                problem: match names.len() {
                    0 => format!("there is no model in {}", self.directory.display()),
                    n => format!("{} holds {n} models", self.directory.display()),
                },
                remedy: self.choice(),
            }),
        }
    }

    fn choice(&self) -> String {
        let names = self.names();
        if names.is_empty() {
            return "put <name>.onnx into it".to_owned();
        }
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        format!("name one of {names} with --model, or give a model by its path, ./<name>.onnx")
    }

    /// Of what may be opened; of what may not, where that is all there is.
    fn names(&self) -> BTreeSet<&str> {
        let usable: BTreeSet<&str> = self.names_where(|found| found.refusal.is_none());
        if usable.is_empty() { self.names_where(|_| true) } else { usable }
    }

    fn names_where(&self, is_meant: impl Fn(&Found) -> bool) -> BTreeSet<&str> {
        self.found.iter().filter(|found| is_meant(found)).map(|found| found.place.name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::error_code::ErrorCode;
    use std::{fs, os::unix::fs::symlink};

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
    fn what_a_name_may_not_lead_to_a_version_may_not_either() {
        let directory = tempfile::tempdir().unwrap();
        put(directory.path(), "else/model.onnx");
        let models = directory.path().join("models");
        put(&models, "gate/1/model.onnx");
        put(&models, "both.onnx");
        put(&models, "both/1/model.onnx");
        fs::create_dir_all(models.join("gate/3")).unwrap();
        symlink(directory.path().join("else"), models.join("gate/2")).unwrap();
        symlink("../../both.onnx", models.join("gate/3/model.onnx")).unwrap();
        symlink("4", models.join("gate/4")).unwrap();
        let catalog = Catalog::open(&models).unwrap();
        let (denied, lost) = (ErrorCode::ModelDenied, ErrorCode::ModelNotFound);
        for (name, version, code) in
            [("gate", "2", denied), ("gate", "3", denied), ("gate", "4", lost), ("both", "1", lost)]
        {
            assert_eq!(catalog.version(name, version).unwrap_err().code(), code, "{name}@{version}");
        }
        assert!(catalog.has("both").is_ok());
        assert_eq!(catalog.only().unwrap(), "gate");
    }

    #[test]
    fn a_missing_directory_says_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let error = Catalog::open(&directory.path().join("nowhere")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelNotFound);
        assert!(error.to_string().contains("--models"), "{error}");
    }
}
