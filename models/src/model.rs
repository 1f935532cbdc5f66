use crate::{ModelError, manifest::Manifest, onnx::Header, recognise};
use framefleet_contract::identity::Sha256;
use std::{fs, io, path::Path, sync::Arc};

/// Bytes: the limit of the protobuf encoding that ONNX files are in.
pub(crate) const LARGEST_MODEL: u64 = 2 << 30;

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
        let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
        if !metadata.is_file() || metadata.len() > LARGEST_MODEL {
            let what = if metadata.is_file() { "larger than 2 GiB, which no ONNX file is" } else { "not a file" };
            return Err(unreadable(path, &io::Error::other(what)));
        }
        let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
        let shown = path.display().to_string();
        let header = Header::parse(&bytes).map_err(|problem| ModelError::Invalid { model: shown.clone(), problem })?;
        let manifest = recognise::recognise(&header).map_err(|refusal| ModelError::Unrecognised {
            model: shown,
            problem: refusal.problem,
            seen: header.describe(),
            remedy: refusal.remedy,
        })?;
        Ok(Self { name, sha256: Sha256::of(&bytes), manifest, bytes: bytes.into() })
    }

    /// A model whose files and manifest were kept by [`crate::store`]: nothing is recognised again.
    pub(crate) fn stored(name: String, sha256: Sha256, manifest: Manifest, bytes: Arc<[u8]>) -> Self {
        Self { name, sha256, manifest, bytes }
    }

    /// The file as it was when it was hashed.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

fn unreadable(path: &Path, error: &io::Error) -> ModelError {
    ModelError::NotFound {
        problem: format!("the model file {} cannot be read: {error}", path.display()),
        remedy: "give the path of an .onnx file".to_owned(),
    }
}
