use crate::{ModelError, manifest::Manifest, model_toml::ModelToml, onnx::Header, recognise};
use framefleet_contract::identity::Sha256;
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path},
    sync::Arc,
};

/// Linux's on every machine but Alpha, MIPS, PA-RISC and SPARC.
const O_NONBLOCK: i32 = 0o4000;

/// Bytes: the limit of the protobuf encoding that ONNX files are in.
pub(crate) const LARGEST_MODEL: u64 = 2 << 30;

/// A model that was read and recognised.
#[derive(Clone)]
pub struct Model {
    /// The catalog's name for it, or the file's without `.onnx`.
    pub name: String,
    /// Of the file's bytes, or of all its files: what a job is pinned to.
    pub sha256: Sha256,
    pub manifest: Manifest,
    bytes: Arc<[u8]>,
    external: Vec<(String, Arc<[u8]>)>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, sha256, manifest, .. } = self;
        f.debug_struct("Model")
            .field("name", name)
            .field("sha256", sha256)
            .field("manifest", manifest)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Reads a file, and what belongs to it, and recognises what it is. `x.toml` beside `x.onnx` overrides that.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let stem =
            path.file_stem().map_or_else(|| path.display().to_string(), |stem| stem.to_string_lossy().into_owned());
        Self::open_named(stem, path)
    }

    /// The same, under a name that somebody else gave it.
    pub(crate) fn open_named(name: String, path: &Path) -> Result<Self, ModelError> {
        let shown = path.display().to_string();
        let invalid = |problem: String| ModelError::Invalid { model: shown.clone(), problem };
        let bytes = read(path).map_err(|error| unreadable(path, &error))?;
        let toml = read_toml(path).map_err(invalid)?;
        let header = Header::parse(&bytes).map_err(invalid)?;
        let overrides = toml.as_deref().map_or(Ok(ModelToml::default()), ModelToml::parse).map_err(invalid)?;
        let external = read_external(path, &header)?;
        let manifest = recognise::recognise(&header, &overrides).map_err(|refusal| ModelError::Unrecognised {
            model: shown,
            problem: refusal.problem,
            seen: header.describe(),
            remedy: refusal.remedy,
        })?;
        let sha256 = identity(&bytes, toml.as_deref(), &external);
        Ok(Self { name, sha256, manifest, bytes: bytes.into(), external })
    }

    /// Weights that are kept beside the file: names as the file has them, and bytes.
    pub fn external(&self) -> &[(String, Arc<[u8]>)] {
        &self.external
    }

    /// A model whose files and manifest were kept by [`crate::store`]: nothing is recognised again.
    pub(crate) fn stored(
        name: String,
        sha256: Sha256,
        manifest: Manifest,
        bytes: Arc<[u8]>,
        external: Vec<(String, Arc<[u8]>)>,
    ) -> Self {
        Self { name, sha256, manifest, bytes, external }
    }

    /// The file as it was when it was hashed.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// Of the file alone where nothing else belongs to it; otherwise of a list of all, as `sha256sum` writes one.
fn identity(onnx: &[u8], toml: Option<&str>, external: &[(String, Arc<[u8]>)]) -> Sha256 {
    if toml.is_none() && external.is_empty() {
        return Sha256::of(onnx);
    }
    let files = std::iter::once(("model.onnx", onnx))
        .chain(toml.map(|toml| ("model.toml", toml.as_bytes())))
        .chain(external.iter().map(|(name, bytes)| (name.as_str(), &**bytes)));
    let list: String = files.map(|(name, bytes)| format!("{}  {name}\n", Sha256::of(bytes))).collect();
    Sha256::of(list.as_bytes())
}

/// A regular file that is not too large. A named pipe would open when somebody writes to it.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::options().read(true).custom_flags(O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > LARGEST_MODEL {
        return Err(io::Error::other("it is larger than 2 GiB, which no ONNX file is"));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.by_ref().take(LARGEST_MODEL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_toml(onnx: &Path) -> Result<Option<String>, String> {
    let path = onnx.with_extension("toml");
    let shown = |problem: &dyn std::fmt::Display| format!("{} cannot be read: {problem}", path.display());
    match read(&path) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| shown(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(shown(&error)),
    }
}

/// Weights beside the ONNX file: only from its folder, wherever links lead.
fn read_external(onnx: &Path, header: &Header) -> Result<Vec<(String, Arc<[u8]>)>, ModelError> {
    let folder = onnx.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let denied = |problem: String| ModelError::Denied { model: onnx.display().to_string(), problem };
    let invalid = |problem: String| ModelError::Invalid { model: onnx.display().to_string(), problem };
    let mut files = Vec::new();
    for name in &header.external_files {
        let is_below =
            Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) && !name.is_empty();
        if !is_below {
            return Err(denied(format!("its weights are in {name:?}, outside its folder")));
        }
        let path = folder.join(name);
        let resolve =
            |path: &Path| path.canonicalize().map_err(|error| invalid(format!("its weights in {name:?}: {error}")));
        if !resolve(&path)?.starts_with(resolve(folder)?) {
            return Err(denied(format!("its weights in {name:?} are a link that leads out of its folder")));
        }
        let bytes = read(&path).map_err(|error| invalid(format!("its weights in {name:?}: {error}")))?;
        files.push((name.clone(), bytes.into()));
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &io::Error) -> ModelError {
    ModelError::NotFound {
        problem: format!("the model file {} cannot be read: {error}", path.display()),
        remedy: "give the path of an .onnx file".to_owned(),
    }
}
