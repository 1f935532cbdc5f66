//! Trying a model out before it serves, in a process that gave up its rights.
//!
//! ```text
//! the program                                    the same program, as a child
//! Sandbox::check ── Order, as arguments ───────► child: load ONNX Runtime, confine, then open the model
//!    │                                              │ recognise, load, run the known picture
//!    │◄──────────── one JSON document, stdout ──────┘
//!    ▼
//! reads the file itself, the digest must be the child's; never parses what was not parsed before
//! ```

mod child;
mod confine;
mod order;
mod parent;
mod refusal;

pub use child::{child, die_with};
pub use confine::{Confinement, Held, Part, confine};
pub use order::{Limits, Order};
pub use parent::Sandbox;

use crate::{Model, ModelError, manifest::Manifest};
use framefleet_contract::identity::Sha256;
use serde::{Deserialize, Serialize};

/// A model that was tried out, and what was seen.
#[derive(Debug, Clone)]
pub struct Checked {
    pub model: Model,
    pub report: Report,
}

/// What is known of a model after it ran once. Stored beside the model as `check.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The model's identity: see [`Model::sha256`].
    pub sha256: Sha256,
    /// Every file that belongs to it, the ONNX file first.
    pub files: Vec<CheckedFile>,
    pub manifest: Manifest,
    pub inputs: Vec<SeenTensor>,
    /// With the shapes that they had when the known picture went through.
    pub outputs: Vec<SeenTensor>,
    /// Seconds until the session was there.
    pub load_s: f64,
    /// Seconds of a frame on one thread: the median of some runs, with everything before and after the model.
    pub frame_s: f64,
    /// Bytes: the most memory that the process had, less what it had before the model was loaded.
    pub memory_bytes: u64,
    /// What the process that ran it had given up, and what the kernel could not take from it.
    pub confinement: Vec<String>,
    /// Such as `onnxruntime 1.31.1`.
    pub runtime: String,
}

impl Report {
    /// Of a model that nobody ran: what it is, and nothing that was seen.
    pub fn untried(model: &Model) -> Self {
        Self {
            sha256: model.sha256.clone(),
            files: Vec::new(),
            manifest: model.manifest.clone(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            load_s: 0.0,
            frame_s: 0.0,
            memory_bytes: 0,
            confinement: Vec::new(),
            runtime: String::new(),
        }
    }
}

/// A file of a model, by its name in the model's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedFile {
    pub name: String,
    pub bytes: u64,
    pub sha256: Sha256,
}

/// An input or output as a person reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenTensor {
    pub name: String,
    /// Such as `f32`.
    pub element: String,
    /// Such as `[1,3,?,?]`.
    pub shape: String,
}

/// Where the files of a model are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPlace {
    /// The catalog's name for it, or the file's without `.onnx`.
    pub name: String,
    /// As the folder is called; `None` for a file without versions.
    pub version: Option<String>,
    /// The ONNX file.
    pub onnx: std::path::PathBuf,
    /// What overrides what is recognised; it need not be there.
    pub toml: std::path::PathBuf,
}

/// Tries models out.
pub trait Check: Send {
    /// Everything that can be wrong with a model is an error here, and costs nothing but time. As soon as `stop` says
    /// so, it ends with [`ModelError::Interrupted`].
    fn check(&self, place: &ModelPlace, stop: &dyn Fn() -> bool) -> Result<Checked, ModelError>;
}
