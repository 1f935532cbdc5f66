//! Where the programs, the libraries and the files are that are measured.

use crate::Failure;
use std::env;
use std::path::{Path, PathBuf};

/// Set by `./dev bench`.
const CACHE: &str = "FRAMEFLEET_BENCH_CACHE";
const PYTHON: &str = "FRAMEFLEET_BENCH_PYTHON";
const ULTRALYTICS: &str = "FRAMEFLEET_BENCH_ULTRALYTICS";
/// As the program itself reads it: it and the parts run on the same library.
const ONNXRUNTIME: &str = "FRAMEFLEET_ONNXRUNTIME";

#[derive(Debug)]
pub struct Places {
    pub repository: PathBuf,
    /// The `framefleet` program.
    pub program: PathBuf,
    pub onnxruntime: PathBuf,
    /// Made clips and models are kept here.
    pub cache: PathBuf,
    /// The folder of real videos and models beside the repository, where there is one.
    pub data: Option<PathBuf>,
    /// Interpreters that have the packages of `peers/python_pipeline.txt` and `peers/ultralytics.txt`.
    pub python: Option<PathBuf>,
    pub ultralytics: Option<PathBuf>,
}

impl Places {
    pub fn find() -> Result<Self, Failure> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a crate lies in the workspace");
        let data = repository.join("../shared/data");
        let cache = needed(CACHE)?;
        std::fs::create_dir_all(&cache)?;
        Ok(Self {
            program: program()?,
            onnxruntime: needed(ONNXRUNTIME)?,
            cache,
            data: data.canonicalize().ok(),
            python: named(PYTHON),
            ultralytics: named(ULTRALYTICS),
            repository: repository.to_owned(),
        })
    }

    pub fn peer_script(&self, name: &str) -> PathBuf {
        self.repository.join("benches/peers").join(name)
    }
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn needed(variable: &str) -> Result<PathBuf, Failure> {
    named(variable).ok_or_else(|| format!("{variable} is not set: run `./dev bench table`").into())
}

/// From the profile's folder in which this benchmark lies: `target/release`.
fn program() -> Result<PathBuf, Failure> {
    let this = env::current_exe()?;
    let profile = this.ancestors().find(|folder| folder.ends_with("deps")).and_then(Path::parent);
    let program = profile.ok_or("this program does not lie in cargo's target folder")?.join("framefleet");
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("{} is missing: run `./dev bench table`, which builds it", program.display()).into())
    }
}
