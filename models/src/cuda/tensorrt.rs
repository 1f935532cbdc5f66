//! TensorRT, which is faster and takes minutes to build an engine: that is done beside the session that serves.

use super::{Engines, gives_fixed_shapes, session::CudaSession};
use crate::{
    Model, ModelError, Runtime,
    device::Buckets,
    letterbox::Letterbox,
    manifest::{Layout, Manifest, SideValue},
};
use framefleet_contract::identity::Sha256;
use framefleet_native::cuda::{CudaError, Gpu, Kernels, Provider, Stream};
use framefleet_native::picture::{Display, Rotation};
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::Builder,
};

/// All that an engine is built of.
#[derive(Debug)]
pub struct Upgrade {
    pub runtime: Runtime,
    pub model: Model,
    pub buckets: Buckets,
    pub gpu: Arc<Gpu>,
    pub kernels: Arc<Kernels>,
    pub engines: Engines,
    /// Of a pretended GPU there is no engine: the CPU stands for it.
    pub on_host: bool,
}

/// A session that will be there, unless it cannot be built.
#[derive(Debug)]
pub struct Replacement(mpsc::Receiver<CudaSession>);

impl Replacement {
    pub fn take(&self) -> Option<CudaSession> {
        self.0.try_recv().ok()
    }
}

/// In an engine's folder: how often building it was begun, and locked while somebody builds it. It goes when it is built.
const BUILDING: &str = "building";
/// So often it may be begun: processes end while they build, and that is most often not the engine's fault.
const MOST_ATTEMPTS: usize = 3;

impl Upgrade {
    /// Builds it on a thread of its own. What fails is said, and nothing else comes of it.
    pub fn begin(self) -> Replacement {
        let (built, replacement) = mpsc::channel();
        let name = self.model.name.clone();
        let build = move || match self.build() {
            Ok(session) => {
                tracing::info!(model = self.model.name, "TensorRT takes over");
                // Nobody waits for it where the session is gone.
                let _ = built.send(session);
            }
            Err(problem) => tracing::warn!("model {} goes on without TensorRT: {problem}", self.model.name),
        };
        if let Err(error) = Builder::new().name("tensorrt".to_owned()).spawn(build) {
            tracing::warn!("model {name} goes on without TensorRT: no thread for it ({error})");
        }
        Replacement(replacement)
    }

    fn build(&self) -> Result<CudaSession, String> {
        let Some(profiles) = profiles(&self.model.manifest, &self.buckets) else {
            return Err("its inputs may be of any size".to_owned());
        };
        if !gives_fixed_shapes(self.model.manifest.head) {
            return Err("its outputs may be of any size".to_owned());
        }
        let folder = self.engines.folder.join(self.key().map_err(|error| error.to_string())?);
        let mark = Mark::begin(&folder)?;
        let session = self.session(&folder, &profiles).map_err(|error| error.to_string())?;
        mark.remove();
        Ok(session)
    }

    fn session(&self, cache: &Path, profiles: &[String; 3]) -> Result<CudaSession, ModelError> {
        let stream = Stream::new(&self.gpu, &self.kernels)?;
        let profiles = profiles.each_ref().map(String::as_str);
        let provider = if self.on_host { Provider::Host } else { Provider::TensorRt { cache, profiles } };
        CudaSession::load(&self.runtime, &self.model, self.buckets.clone(), &stream, provider)
    }

    /// An engine is for one model, kind of GPU, driver and library alone, and for the sizes that it was built for.
    fn key(&self) -> Result<String, CudaError> {
        let (major, minor) = self.gpu.compute_capability();
        let memory = self.gpu.memory()?.total;
        let of = format!(
            "{} {major}.{minor} {memory} {} {} {} {:?}",
            self.gpu.name(),
            self.gpu.driver_version()?,
            self.runtime.version(),
            self.engines.version,
            self.buckets.sizes()
        );
        Ok(engine_key(&self.model.sha256, &of))
    }
}

/// Tells who comes later that somebody began.
struct Mark {
    path: PathBuf,
    /// Locked as long as it is open.
    _file: File,
}

impl Mark {
    fn begin(folder: &Path) -> Result<Self, String> {
        let path = folder.join(BUILDING);
        let at = |error: io::Error| format!("{} cannot be written: {error}", path.display());
        fs::create_dir_all(folder).map_err(at)?;
        let mut file = File::options().read(true).append(true).create(true).open(&path).map_err(at)?;
        if file.try_lock().is_err() {
            return Err("another process builds its engine".to_owned());
        }
        let mut attempts = Vec::new();
        file.read_to_end(&mut attempts).map_err(at)?;
        if attempts.len() >= MOST_ATTEMPTS {
            let (times, path) = (attempts.len(), path.display());
            return Err(format!(
                "building its engine was begun {times} times and never done; remove {path} to try again"
            ));
        }
        file.write_all(b"x").map_err(at)?;
        Ok(Self { path, _file: file })
    }

    fn remove(self) {
        // If it stays, building is begun again in vain, and finds the engine.
        let _ = fs::remove_file(self.path);
    }
}

fn engine_key(model: &Sha256, of: &str) -> String {
    let digest = Sha256::of(format!("{model} {of}").as_bytes());
    format!("{digest}")
}

/// The least, usual and largest shapes of all inputs. `None` where pictures' sizes decide about the input's.
fn profiles(manifest: &Manifest, buckets: &Buckets) -> Option<[String; 3]> {
    let (Some(_), Some(_)) = (manifest.input.width, manifest.input.height) else { return None };
    let [width, height] = manifest.warm_up;
    let size = Letterbox::new(manifest, Display { width, height, rotation: Rotation::None }).model;
    let of = |batch: usize| {
        let picture = match manifest.input.layout {
            Layout::Nchw => format!("{}:{batch}x3x{}x{}", manifest.input.name, size.height, size.width),
            Layout::Nhwc => format!("{}:{batch}x{}x{}x3", manifest.input.name, size.height, size.width),
            Layout::Chw => format!("{}:3x{}x{}", manifest.input.name, size.height, size.width),
        };
        let sides = manifest.side_inputs.iter().map(|side| match side.value {
            SideValue::PixelMask => format!("{}:{batch}x{}x{}", side.name, size.height, size.width),
            SideValue::TargetSize | SideValue::ScaleFactor | SideValue::ImageShape => {
                format!("{}:{batch}x2", side.name)
            }
        });
        std::iter::once(picture).chain(sides).collect::<Vec<_>>().join(",")
    };
    let least = buckets.sizes().first().copied().unwrap_or(1);
    Some([of(least), of(buckets.largest()), of(buckets.largest())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{HeadFamily, InputTensor, Preprocessing, SideElement, SideInput};

    fn manifest(sides: [Option<u32>; 2]) -> Manifest {
        let input = InputTensor::nchw("images", [None, sides[0], sides[1]]);
        Manifest::new(HeadFamily::RtDetr, input, Preprocessing::STRETCHED)
    }

    #[test]
    fn profiles_name_every_input_with_its_sizes() {
        let sizes = SideInput { name: "sizes".to_owned(), element: SideElement::I64, value: SideValue::TargetSize };
        let manifest = Manifest { side_inputs: vec![sizes], ..manifest([Some(480), Some(640)]) };
        let [least, usual, largest] = profiles(&manifest, &Buckets::new(&manifest, 8)).unwrap();
        assert_eq!(least, "images:1x3x480x640,sizes:1x2");
        assert_eq!(largest, "images:8x3x480x640,sizes:8x2");
        assert_eq!(usual, largest);
    }

    #[test]
    fn there_is_no_engine_for_inputs_of_any_size() {
        let manifest = manifest([None, Some(640)]);
        assert_eq!(profiles(&manifest, &Buckets::new(&manifest, 8)), None);
    }

    #[test]
    fn an_engine_is_begun_three_times_and_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let engine = folder.path().join("engine");
        let first = Mark::begin(&engine).unwrap();
        assert!(Mark::begin(&engine).err().unwrap().contains("another"));
        drop(first);
        for _ in 1..MOST_ATTEMPTS {
            drop(Mark::begin(&engine).unwrap());
        }
        let refused = Mark::begin(&engine).err().unwrap();
        assert!(refused.contains("3 times") && refused.contains("building"), "{refused}");
        fs::remove_file(engine.join(BUILDING)).unwrap();
        Mark::begin(&engine).unwrap().remove();
        assert!(!engine.join(BUILDING).exists());
    }

    #[test]
    fn an_engine_is_of_one_model_and_one_machine() {
        let [one, other] = [b"one", b"two"].map(|bytes| Sha256::of(bytes));
        assert_ne!(engine_key(&one, "a"), engine_key(&other, "a"));
        assert_ne!(engine_key(&one, "a"), engine_key(&one, "b"));
        assert_eq!(engine_key(&one, "a"), engine_key(&one, "a"));
    }
}
