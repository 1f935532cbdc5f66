use crate::{ModelError, device::Device};
use framefleet_native::onnxruntime::version_of;
use ort::environment::Environment;
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// ONNX Runtime, loaded into this process.
///
/// A process has one; every call of [`Runtime::load`] after the first gives the same.
#[derive(Debug, Clone)]
pub struct Runtime {
    environment: Environment,
    version: String,
    device: Option<Arc<dyn Device>>,
}

/// Names the library's file; nothing else is tried when it is set.
const VARIABLE: &str = "FRAMEFLEET_ONNXRUNTIME";
const LIBRARY: &str = "libonnxruntime.so";
/// In the user's data folder, where `./dev setup` puts a build.
const FOR_CPU: &str = "framefleet/onnxruntime";
const FOR_GPU: &str = "framefleet/onnxruntime-gpu";

/// The file of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    pub path: PathBuf,
    /// Such as `1.31.1`, as it says itself, or why it cannot be used.
    pub version: Result<String, String>,
}

static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library from, in this order: `$FRAMEFLEET_ONNXRUNTIME`; the newest
    /// `framefleet/onnxruntime/<version>/libonnxruntime.so.<version>` in the user's data folder (`$XDG_DATA_HOME`, or
    /// `~/.local/share`); beside the program; wherever the system's loader looks. Telemetry is off.
    pub fn load() -> Result<Self, ModelError> {
        Self::load_once(places)
    }

    /// The same for the build that has CUDA: `$FRAMEFLEET_ONNXRUNTIME`, or else
    /// `framefleet/onnxruntime-gpu/<version>/libonnxruntime.so.<version>`. To be called before [`Runtime::load`], which then
    /// gives this one. What the build needs has to be loaded before (`framefleet_native::cuda::Libraries`).
    pub fn load_for_gpu() -> Result<Self, ModelError> {
        Self::load_once(gpu_places)
    }

    /// What [`Runtime::load`] would load: the first that can be used, or else the first that is there. They are loaded to be
    /// asked, and stay so, beside the one that is worked with. The system's loader is not asked.
    pub fn installed() -> Option<Installed> {
        first_usable(places())
    }

    /// The same for [`Runtime::load_for_gpu`].
    pub fn installed_for_gpu() -> Option<Installed> {
        first_usable(gpu_places())
    }

    /// The files that [`Runtime::load_for_gpu`] would try, as far as they are there, without loading them.
    pub fn candidates_for_gpu() -> Vec<PathBuf> {
        gpu_places().into_iter().filter(|place| place.is_file()).collect()
    }

    /// Where `./dev setup --gpu` puts the build that has CUDA and all that it needs, the newest first. At least one, which may
    /// not be there.
    pub fn gpu_folders() -> Vec<PathBuf> {
        let folders = installed_or_expected(FOR_GPU).into_iter();
        folders.filter_map(|library| Some(library.parent()?.to_owned())).collect()
    }

    fn load_once(places: fn() -> Vec<PathBuf>) -> Result<Self, ModelError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = &*loaded {
            return Ok(runtime.clone());
        }
        let runtime = Self::load_first(&places())?;
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// The version as the library was built, such as `1.31.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The same, with models that serve on a device. Without one they serve on the CPU.
    #[must_use]
    pub fn on(self, device: Arc<dyn Device>) -> Self {
        Self { device: Some(device), ..self }
    }

    /// What models serve on, where that is not the CPU.
    pub fn device(&self) -> Option<&Arc<dyn Device>> {
        self.device.as_ref()
    }

    /// ONNX Runtime's own, of which a process has one.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    fn load_first(places: &[PathBuf]) -> Result<Self, ModelError> {
        let mut problems = Vec::new();
        for place in places {
            // A bare name is for the system's loader; a path that is not there needs no loader to say so.
            if place.components().count() > 1 && !place.is_file() {
                problems.push(format!("{} is not there", place.display()));
                continue;
            }
            match ort::init_from(place) {
                Ok(builder) => return Self::initialise(builder, place),
                Err(error) => problems.push(error.to_string()),
            }
        }
        Err(ModelError::RuntimeMissing { problem: problems.join("; ") })
    }

    fn initialise(builder: ort::environment::EnvironmentBuilder, place: &Path) -> Result<Self, ModelError> {
        let environment = builder.with_name("framefleet").with_telemetry(false).build().map_err(|error| {
            ModelError::RuntimeMissing { problem: format!("{} does not start: {error}", place.display()) }
        })?;
        let version = version_from(ort::info(), place);
        tracing::debug!(version, library = %place.display(), "ONNX Runtime loaded");
        Ok(Self { environment, version, device: None })
    }
}

/// Where the library may be, most wanted first.
fn places() -> Vec<PathBuf> {
    named().unwrap_or_else(|| {
        let beside = env::current_exe().ok().and_then(|program| Some(program.parent()?.join(LIBRARY)));
        let mut places = installed_or_expected(FOR_CPU);
        places.extend(beside);
        places.push(PathBuf::from(LIBRARY));
        places
    })
}

fn gpu_places() -> Vec<PathBuf> {
    named().unwrap_or_else(|| installed_or_expected(FOR_GPU))
}

/// The one place that the user names.
fn named() -> Option<Vec<PathBuf>> {
    let path = env::var_os(VARIABLE).filter(|path| !path.is_empty())?;
    Some(vec![PathBuf::from(path)])
}

/// Where there is none, the place where `./dev setup` would have put it, for the error to name.
fn installed_or_expected(build: &str) -> Vec<PathBuf> {
    let Some(folder) = data_folder().map(|data| data.join(build)) else { return Vec::new() };
    let found = installed_in(&folder);
    if found.is_empty() { vec![folder.join(format!("<version>/{LIBRARY}.<version>"))] } else { found }
}

fn first_usable(places: Vec<PathBuf>) -> Option<Installed> {
    let there = places.into_iter().filter(|place| place.is_file());
    let mut builds = there.map(|path| Installed { version: version_of(&path), path });
    let first = builds.next()?;
    if first.version.is_ok() {
        return Some(first);
    }
    builds.find(|build| build.version.is_ok()).or(Some(first))
}

fn data_folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))
}

/// The libraries under `<folder>/<version>/`, newest first.
fn installed_in(folder: &Path) -> Vec<PathBuf> {
    let names =
        fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut versions: Vec<(Vec<u32>, PathBuf)> = names
        .map(|version| {
            let numbers = version.split('.').map(|part| part.parse().unwrap_or(0)).collect();
            (numbers, folder.join(&version).join(format!("{LIBRARY}.{version}")))
        })
        .filter(|(_, library)| library.is_file())
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, library)| library).collect()
}

/// The version in `git-branch=rel-1.31.1`, or else in the file's name, or else what the library says about itself.
fn version_from(info: &str, place: &Path) -> String {
    let branch = info.split("git-branch=").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    let released = branch.map(|branch| branch.trim_start_matches(|c: char| !c.is_ascii_digit()));
    released.filter(|version| !version.is_empty()).or_else(|| version_in_name(place)).unwrap_or(info).to_owned()
}

fn version_in_name(place: &Path) -> Option<&str> {
    place.file_name()?.to_str()?.strip_prefix(LIBRARY)?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use framefleet_contract::error_code::ErrorCode;

    #[test]
    fn a_library_that_is_nowhere_is_reported_with_every_place() {
        // Not a bare name: once another test has loaded the library, ONNX Runtime answers for any.
        let places = ["/nowhere/libonnxruntime.so", "/elsewhere/libonnxruntime.so"].map(PathBuf::from);
        let error = Runtime::load_first(&places).unwrap_err();
        assert_eq!(error.code(), ErrorCode::RuntimeMissing);
        let text = error.to_string();
        for part in ["/nowhere/libonnxruntime.so", "/elsewhere/libonnxruntime.so", "./dev setup"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn the_newest_installed_version_is_tried_first() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["1.9.0", "1.31.1", "1.30.2"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join(format!("{LIBRARY}.{version}")), "").unwrap();
        }
        fs::create_dir(folder.path().join("2.0.0")).unwrap();
        let found = installed_in(folder.path());
        let versions: Vec<_> =
            found.iter().map(|path| path.parent().unwrap().file_name().unwrap().to_owned()).collect();
        assert_eq!(versions, ["1.31.1", "1.30.2", "1.9.0"]);
    }

    #[test]
    fn a_file_that_is_there_and_cannot_be_used_is_told_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{LIBRARY}.1.31.1"));
        fs::write(&path, "").unwrap();
        let found = first_usable(vec![folder.path().join("nothing"), path.clone()]).unwrap();
        assert_eq!(found.path, path);
        assert!(found.version.unwrap_err().contains(path.to_str().unwrap()));
        let good = Runtime::installed().expect("./dev setup installs one");
        assert_eq!(first_usable(vec![path, good.path.clone()]), Some(good));
        assert_eq!(first_usable(vec![folder.path().join("nothing")]), None);
    }

    #[test]
    fn the_version_is_the_releases_number() {
        let info = "ORT Build Info: git-branch=rel-1.31.1, git-commit-id=26250ae, build type=Release";
        assert_eq!(version_from(info, Path::new("libonnxruntime.so")), "1.31.1");
        assert_eq!(
            version_from("ORT Build Info: build type=Release", Path::new("/x/libonnxruntime.so.1.30.0")),
            "1.30.0"
        );
    }
}
