use crate::{ModelError, manifest::Manifest, onnx::Header, recognise};
use framefleet_contract::identity::Sha256;
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes: the limit of the protobuf encoding that ONNX files are in.
const LARGEST_MODEL: u64 = 2 << 30;

/// A model that was read and recognised.
#[derive(Debug, Clone)]
pub struct Model {
    /// The catalog's name for it, or the file's without `.onnx`.
    pub name: String,
    /// Of the file's bytes: what a job is pinned to.
    pub sha256: Sha256,
    pub manifest: Manifest,
    bytes: Arc<[u8]>,
}

impl Model {
    /// Reads a file and recognises what it is.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let stem =
            path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
        Self::open_named(stem, path)
    }

    /// The same, under a name that somebody else gave it.
    pub(crate) fn open_named(name: String, path: &Path) -> Result<Self, ModelError> {
        let bytes = read(path)?;
        Ok(Self::recognise(name, &path.display().to_string(), bytes)?.0)
    }

    /// Recognises what a file's bytes are; errors call it by the name that is `shown`.
    pub(crate) fn recognise(name: String, shown: &str, bytes: Vec<u8>) -> Result<(Self, Header), ModelError> {
        let header =
            Header::parse(&bytes).map_err(|problem| ModelError::Invalid { model: shown.to_owned(), problem })?;
        let manifest = recognise::recognise(&header).map_err(|refusal| ModelError::Unrecognised {
            model: shown.to_owned(),
            problem: refusal.problem,
            seen: header.describe(),
            remedy: refusal.remedy,
        })?;
        Ok((Self::from_parts(name, bytes.into(), manifest), header))
    }

    /// A model that somebody else recognised. The bytes are hashed, and looked at no further.
    pub fn from_parts(name: String, bytes: Arc<[u8]>, manifest: Manifest) -> Self {
        Self { name, sha256: Sha256::of(&bytes), manifest, bytes }
    }

    /// The file as it was when it was hashed.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// The bytes of a regular file. Opening blocks on nothing: whoever put a FIFO there would hold the program.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let failed = |error: io::Error| unreadable(path, &error);
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("not a file")));
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(metadata.len().min(LARGEST_MODEL) as usize).map_err(|error| failed(error.into()))?;
    // It may have grown since.
    file.take(LARGEST_MODEL + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_MODEL {
        return Err(failed(io::Error::other("larger than 2 GiB, which no ONNX file is")));
    }
    Ok(bytes)
}

/// Where a model's file really is: in the folder, whatever links lead there.
pub(crate) fn place_within(folder: &Path, file: &Path) -> Result<PathBuf, ModelError> {
    let folder = folder.canonicalize().map_err(|error| unreadable(folder, &error))?;
    let place = file.canonicalize().map_err(|error| unreadable(file, &error))?;
    if place.starts_with(&folder) {
        return Ok(place);
    }
    Err(ModelError::Denied {
        model: file.display().to_string(),
        problem: format!("it is a link to {}, which is outside its folder", place.display()),
    })
}

fn unreadable(path: &Path, error: &io::Error) -> ModelError {
    ModelError::NotFound {
        problem: format!("the model file {} cannot be read: {error}", path.display()),
        remedy: "give the path of an .onnx file".to_owned(),
    }
}
