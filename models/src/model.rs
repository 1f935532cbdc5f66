use crate::{
    ModelError,
    error::shown,
    manifest::Manifest,
    model_toml::{self, ModelToml},
    onnx::Header,
    recognise,
};
use framefleet_contract::identity::Sha256;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

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
    external: Vec<External>,
}

/// Weights that are kept beside the ONNX file: the name that it has for them, and the bytes.
pub type External = (String, Arc<[u8]>);

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sha256, manifest, .. } = self;
        let mut shown = f.debug_struct("Model");
        shown.field("name", name).field("sha256", sha256).field("manifest", manifest).finish_non_exhaustive()
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
        Ok(Self::recognise(name, path, &path.with_extension("toml"))?.0)
    }

    /// Reads and recognises the model in a file, with the file that overrides what is recognised.
    pub(crate) fn recognise(name: String, onnx: &Path, toml: &Path) -> Result<(Self, Header), ModelError> {
        let bytes = read(onnx)?;
        let toml = read_toml(toml)?;
        let Texts { header, toml: overrides } = Texts::parse(onnx, &bytes, toml.as_deref())?;
        let external = read_external(onnx, &header.external_files)?;
        let manifest = manifest_of(onnx, &header, &overrides)?;
        let sha256 = identity(&bytes, toml.as_deref(), &external);
        Ok((Self { name, sha256, manifest, bytes: bytes.into(), external }, header))
    }

    /// Reads the files of a model that somebody else recognised. They are hashed, and looked at no further.
    pub(crate) fn recognised(
        name: String,
        [onnx, toml]: [&Path; 2],
        external: &[String],
        manifest: Manifest,
    ) -> Result<Self, ModelError> {
        let bytes = read(onnx)?;
        let external = read_external(onnx, external)?;
        let sha256 = identity(&bytes, read_toml(toml)?.as_deref(), &external);
        Ok(Self { name, sha256, manifest, bytes: bytes.into(), external })
    }

    /// A model whose files and manifest were kept by [`crate::store`]: nothing is recognised again.
    pub(crate) fn stored(
        name: String,
        sha256: Sha256,
        manifest: Manifest,
        bytes: Arc<[u8]>,
        external: Vec<External>,
    ) -> Self {
        Self { name, sha256, manifest, bytes, external }
    }

    /// The file as it was when it was hashed.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// What is kept beside the file, in the order of the names.
    pub fn external(&self) -> &[External] {
        &self.external
    }
}

/// Says what the model in an ONNX file's bytes is, with the text of its `model.toml`, or why it cannot be said.
///
/// It is what [`Model::open`] does with the bytes that it reads, for those who have them already. Whatever they are, it
/// neither panics nor reads another file, time is in proportion to their number, and an error is a few lines at most.
pub fn recognise_bytes(onnx: &[u8], toml: Option<&str>) -> Result<Manifest, ModelError> {
    let name = Path::new("model.onnx");
    let Texts { header, toml } = Texts::parse(name, onnx, toml)?;
    manifest_of(name, &header, &toml)
}

/// What a model's files say.
struct Texts {
    header: Header,
    toml: ModelToml,
}

impl Texts {
    fn parse(name: &Path, onnx: &[u8], toml: Option<&str>) -> Result<Self, ModelError> {
        let invalid = |problem: String| ModelError::Invalid {
            model: name.display().to_string(),
            problem: shown(&problem, LONGEST_PROBLEM).into_owned(),
        };
        let header = Header::parse(onnx).map_err(invalid)?;
        let wrong = |problem: String| ModelError::Settings {
            file: format!("the settings of {}", name.display()),
            problem: shown(&problem, LONGEST_PROBLEM).into_owned(),
        };
        let toml = toml.map_or(Ok(ModelToml::default()), ModelToml::parse).map_err(wrong)?;
        Ok(Self { header, toml })
    }
}

/// Characters: some of what is said comes out of the file, and that may be of any length.
const LONGEST_PROBLEM: usize = 1000;

fn manifest_of(name: &Path, header: &Header, toml: &ModelToml) -> Result<Manifest, ModelError> {
    recognise::recognise(header, toml).map_err(|refusal| ModelError::Unrecognised {
        model: name.display().to_string(),
        problem: shown(&refusal.problem, LONGEST_PROBLEM).into_owned(),
        seen: header.describe(),
        remedy: refusal.remedy,
    })
}

/// Of the file alone where nothing else belongs to it; otherwise of a list of all, as `sha256sum` writes one.
fn identity(onnx: &[u8], toml: Option<&str>, external: &[External]) -> Sha256 {
    if toml.is_none() && external.is_empty() {
        return Sha256::of(onnx);
    }
    let files = std::iter::once(("model.onnx", onnx))
        .chain(toml.map(|toml| ("model.toml", toml.as_bytes())))
        .chain(external.iter().map(|(name, bytes)| (name.as_str(), &**bytes)));
    let lines: Vec<String> = files.map(|(name, bytes)| format!("{}  {name}\n", Sha256::of(bytes))).collect();
    Sha256::of(lines.concat().as_bytes())
}

/// The bytes of a regular file. Opening blocks on nothing: whoever put a FIFO there would hold the program.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    read_file(path, LARGEST_MODEL).map_err(|error| unreadable(path, &error))
}

/// The bytes of a regular file, if it has at most so many.
pub(crate) fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let too_large = || Err(io::Error::other(format!("larger than {most} bytes, which no such file is")));
    if metadata.len() > most {
        return too_large();
    }
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(metadata.len() as usize)?;
    // It may have grown since.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return too_large();
    }
    Ok(bytes)
}

fn read_toml(path: &Path) -> Result<Option<String>, ModelError> {
    let invalid = |problem: String| ModelError::Settings { file: path.display().to_string(), problem };
    match read_file(path, model_toml::LARGEST as u64) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|error| invalid(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if is_passing(&error) => Err(unreadable(path, &error)),
        Err(error) => Err(invalid(format!("it cannot be read: {error}"))),
    }
}

/// Weights beside the ONNX file: only from its folder, wherever links lead.
fn read_external(onnx: &Path, names: &[String]) -> Result<Vec<External>, ModelError> {
    let model = onnx.display().to_string();
    let denied = |problem: String| Err(ModelError::Denied { model: model.clone(), problem });
    let folder = onnx.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut files = Vec::new();
    for name in names {
        let weights = shown(name, LONGEST_PROBLEM);
        if name.is_empty() || !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
            return denied(format!("its weights are in {weights:?}, outside its folder"));
        }
        let missing = |error: io::Error| {
            let problem = format!("its weights in {weights:?} cannot be read: {error}");
            if is_passing(&error) {
                ModelError::Unavailable { model: model.clone(), problem }
            } else {
                ModelError::Invalid { model: model.clone(), problem }
            }
        };
        let (path, home) =
            (folder.join(name).canonicalize().map_err(missing)?, folder.canonicalize().map_err(missing)?);
        if !path.starts_with(home) {
            return denied(format!("its weights in {weights:?} are a link that leads out of its folder"));
        }
        files.push((name.clone(), read_file(&path, LARGEST_MODEL).map_err(missing)?.into()));
    }
    Ok(files)
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
    if is_passing(error) {
        return ModelError::Unavailable { model: path.display().to_string(), problem: error.to_string() };
    }
    ModelError::NotFound {
        problem: format!("the model file {} cannot be read: {error}", path.display()),
        remedy: "give the path of an .onnx file".to_owned(),
    }
}

/// Whether a disk or a network failed, or this process has too many files open: that says nothing about the file.
fn is_passing(error: &io::Error) -> bool {
    let passing = [libc::EIO, libc::ESTALE, libc::ETIMEDOUT, libc::EMFILE, libc::ENFILE];
    error.raw_os_error().is_some_and(|number| passing.contains(&number))
}
