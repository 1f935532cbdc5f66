//! The libraries that GPU work needs or can use: loaded before anybody else asks for them.
//!
//! ONNX Runtime's provider, cuDNN and cudarc ask the system's loader for names such as `libcublas.so.13`. Who has loaded a
//! library of that name before is given the same one, wherever it lies: so nothing has to be put into `LD_LIBRARY_PATH`.

mod component;
mod version;

use super::error::CudaError;
use crate::{loader::said, onnxruntime};
pub use component::Component;
use component::Need;
use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use std::collections::BTreeMap;
use std::env;
use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};
pub use version::Version;

/// Folders that are looked into before all others, separated by colons.
const VARIABLE: &str = "FRAMEFLEET_CUDA_LIBRARIES";

/// The CUDA that the libraries are of. A driver that has an older one cannot run them.
const CUDA: Version = Version::new(13, 0, 0);

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// The first that has a file is taken.
    pub folders: Vec<PathBuf>,
    /// Builds of ONNX Runtime. The first that can be used is to be loaded, and must have its provider beside it.
    pub onnxruntime: Vec<PathBuf>,
}

/// What was found of each [`Component`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Libraries(BTreeMap<Component, State>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Found {
        /// Where the file lies, if that can be told.
        path: Option<PathBuf>,
        /// As the library says itself. Not all have a call for it.
        version: Option<Version>,
    },
    /// Why it cannot be loaded.
    Missing { reason: String },
    /// The ONNX Runtime that is to be loaded lies in this folder, and is a build without the component.
    NotInBuild { folder: PathBuf },
}

impl State {
    /// Why it is not there, if it is not.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Found { .. } => None,
            Self::Missing { reason } => Some(reason.clone()),
            Self::NotInBuild { folder } => {
                Some(format!("the ONNX Runtime in {} is a build without it", folder.display()))
            }
        }
    }

    pub fn version(&self) -> Option<Version> {
        if let Self::Found { version, .. } = self { *version } else { None }
    }
}

impl Libraries {
    /// Loads what there is for the rest of the process's life, from, in this order: `$FRAMEFLEET_CUDA_LIBRARIES`; the folders
    /// of these places; wherever the system's loader looks. To be called before ONNX Runtime is loaded.
    pub fn load(places: &Places) -> Self {
        let folders = named_folders().into_iter().chain(places.folders.iter().cloned()).collect();
        Self::load_from(&Places { folders, onnxruntime: places.onnxruntime.clone() })
    }

    fn load_from(places: &Places) -> Self {
        Component::ALL.iter().map(|&component| (component, state_of(component, places))).collect()
    }

    pub fn of(&self, component: Component) -> &State {
        &self.0[&component]
    }

    /// In the order in which they rest on each other.
    pub fn iter(&self) -> impl Iterator<Item = (Component, &State)> {
        self.0.iter().map(|(&component, state)| (component, state))
    }

    /// What GPU work cannot do without and is not there: nothing, or an error for each thing that a user has to do. All of
    /// them are [`CudaError::Missing`].
    pub fn missing(&self) -> Vec<CudaError> {
        [self.driver_trouble(), self.not_installed(), self.wrong_build()].into_iter().flatten().collect()
    }

    fn driver_trouble(&self) -> Option<CudaError> {
        match self.of(Component::Driver) {
            State::Missing { reason } => Some(CudaError::no_driver(format!("{}: {reason}", Component::Driver.file()))),
            State::Found { version: Some(version), .. } if *version < CUDA => Some(CudaError::Missing {
                what: "the NVIDIA driver is too old".to_owned(),
                reason: format!("it has CUDA {version}, and CUDA {CUDA} is needed"),
                remedy: CudaError::INSTALL_DRIVER.to_owned(),
            }),
            _ => None,
        }
    }

    fn not_installed(&self) -> Option<CudaError> {
        let missing = self.iter().filter(|(component, _)| component.need() == Need::Setup);
        let missing = missing.filter_map(|(component, state)| match state {
            State::Missing { reason } => Some((component.file(), reason.as_str())),
            _ => None,
        });
        let (files, mut reasons): (Vec<_>, Vec<_>) = missing.unzip();
        reasons.dedup();
        (!files.is_empty()).then(|| CudaError::Missing {
            what: format!("{} cannot be loaded", listed(&files)),
            reason: reasons.join("; "),
            remedy: format!(
                "`./dev setup --gpu` installs {}, or {VARIABLE} names the folders where they are",
                if files.len() == 1 { "it" } else { "them" }
            ),
        })
    }

    fn wrong_build(&self) -> Option<CudaError> {
        let State::NotInBuild { folder } = self.of(Component::OnnxRuntimeCuda) else { return None };
        Some(CudaError::Missing {
            what: "this ONNX Runtime runs no models on GPUs".to_owned(),
            reason: format!("there is no {} in {}", Component::OnnxRuntimeCuda.file(), folder.display()),
            remedy: "let FRAMEFLEET_ONNXRUNTIME name a build with CUDA, or unset it and call `./dev setup --gpu`"
                .to_owned(),
        })
    }
}

/// What is not mentioned is missing.
impl FromIterator<(Component, State)> for Libraries {
    fn from_iter<I: IntoIterator<Item = (Component, State)>>(states: I) -> Self {
        let nowhere = || State::Missing { reason: "not there".to_owned() };
        let mut all: BTreeMap<_, _> = Component::ALL.iter().map(|&component| (component, nowhere())).collect();
        all.extend(states);
        Self(all)
    }
}

/// Loads the compiler of kernels alone, for who does without the rest. Where all were loaded before, it is there already.
pub(super) fn compiler() -> State {
    state_of(Component::Nvrtc, &Places { folders: named_folders(), onnxruntime: Vec::new() })
}

fn named_folders() -> Vec<PathBuf> {
    let named = env::var_os(VARIABLE).unwrap_or_default();
    env::split_paths(&named).filter(|folder| !folder.as_os_str().is_empty()).collect()
}

/// `a, b and c`
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [before @ .., last] => format!("{} and {last}", before.join(", ")),
    }
}

fn state_of(component: Component, places: &Places) -> State {
    if component == Component::OnnxRuntimeCuda {
        return provider(&places.onnxruntime);
    }
    // The driver's parts fit the machine's kernel, and lie where the system has put them.
    let folders = if component.is_of_driver() { &[][..] } else { &places.folders };
    match load(component, folders) {
        Ok(library) => {
            let version = version::of(component, &library);
            let path = component.symbol().map(|symbol| file_of(&library, symbol));
            // Whoever asks for it by name must be given this one until the end.
            std::mem::forget(library);
            match path {
                Some(None) => State::Missing {
                    reason: format!("what goes by the name of {} is another library", component.file()),
                },
                path => State::Found { path: path.flatten(), version },
            }
        }
        Err(reason) => State::Missing { reason },
    }
}

/// It calls into ONNX Runtime, which loads it from its own folder.
fn provider(builds: &[PathBuf]) -> State {
    let mut reasons = Vec::new();
    for library in builds {
        match onnxruntime::version_of(library) {
            Ok(_) => return provider_beside(library),
            Err(reason) => reasons.push(reason),
        }
    }
    if reasons.is_empty() {
        reasons.push("ONNX Runtime for GPUs is not installed".to_owned());
    }
    State::Missing { reason: reasons.join("; ") }
}

fn provider_beside(onnxruntime: &Path) -> State {
    let path = onnxruntime.with_file_name(Component::OnnxRuntimeCuda.file());
    if path.is_file() {
        return State::Found { path: Some(path), version: None };
    }
    State::NotInBuild { folder: onnxruntime.parent().unwrap_or(Path::new(".")).to_owned() }
}

/// Loads the library of this component and those that it will ask for by itself.
fn load(component: Component, folders: &[PathBuf]) -> Result<Library, String> {
    let (library, folder) = load_first(component.file(), folders)?;
    for file in component.companions() {
        std::mem::forget(load_first(file, folders)?.0);
    }
    if let (Some(folder), Some(beginning)) = (folder, component.pieces_beside()) {
        let pieces = beginning_with(folder, beginning);
        if pieces.is_empty() {
            return Err(format!("there is no {beginning}* beside it in {}", folder.display()));
        }
        for path in pieces {
            std::mem::forget(open(&path)?);
        }
    }
    Ok(library)
}

/// From the first folder that has the file, or by the system's loader.
fn load_first<'a>(file: &str, folders: &'a [PathBuf]) -> Result<(Library, Option<&'a Path>), String> {
    if let Some(folder) = folders.iter().find(|folder| folder.join(file).is_file()) {
        return Ok((open(&folder.join(file))?, Some(folder)));
    }
    match open(Path::new(file)) {
        Ok(library) => Ok((library, None)),
        Err(reason) if reason.contains("No such file") && reason.starts_with(&format!("{file}:")) => {
            Err(nowhere_in(folders))
        }
        Err(reason) => Err(reason),
    }
}

fn open(path: &Path) -> Result<Library, String> {
    // SAFETY: the library's constructors run, as they would if this program were linked with it. It is one that the user
    // or the system has put where it is meant to be found.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) }.map_err(|error| said(&error))
}

fn nowhere_in(folders: &[PathBuf]) -> String {
    let shown: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let before = if shown.is_empty() { String::new() } else { format!("in {} and ", shown.join(", ")) };
    format!("not found {before}by the system's loader")
}

/// Files of the folder whose names begin so.
fn beginning_with(folder: &Path, beginning: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let named = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(beginning));
    named.map(|entry| entry.path()).collect()
}

/// The file that a symbol of the library comes from.
fn file_of(library: &Library, symbol: &CStr) -> Option<PathBuf> {
    // SAFETY: only the address is looked at; nothing is called through it.
    let address = unsafe { library.get::<*const libc::c_void>(symbol.to_bytes_with_nul()) }.ok()?.into_raw();
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: it writes to `info` alone, and any address may be asked about.
    let found = unsafe { libc::dladdr(address.cast(), info.as_mut_ptr()) };
    // SAFETY: all of its fields are pointers, for which zero is a value.
    let name = unsafe { info.assume_init() }.dli_fname;
    if found == 0 || name.is_null() {
        return None;
    }
    // SAFETY: the loader's own string, which lives as long as the library is loaded.
    let name = unsafe { CStr::from_ptr(name) };
    Some(PathBuf::from(name.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests;
