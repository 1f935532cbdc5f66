//! What the tests of this crate share.

use crate::{
    Model, ModelError,
    check::{Check, Checked, CheckedFile, ModelPlace, Report},
    recorded_frames::OwnedPicture,
};
use framefleet_contract::identity::Sha256;
use framefleet_native::picture::{Display, Matrix, Picture, Plane, Range, Rotation};
use std::path::{Path, PathBuf};

/// A graph that `tests/graphs/make.py` made.
pub(crate) fn graph(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/graphs").join(name)
}

pub(crate) fn checked(name: &str) -> Checked {
    let onnx = graph(name);
    let name = name.trim_end_matches(".onnx").to_owned();
    Recognise.check(&ModelPlace { name, version: None, toml: onnx.with_extension("toml"), onnx }, &|| false).unwrap()
}

/// Recognises a model and runs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recognise;

impl Check for Recognise {
    fn check(&self, place: &ModelPlace, _: &dyn Fn() -> bool) -> Result<Checked, ModelError> {
        let model = Model::open_named(place.name.clone(), &place.onnx)?;
        let file = |name: &str, bytes: &[u8]| CheckedFile {
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256: Sha256::of(bytes),
        };
        let external = model.external().iter().map(|(name, bytes)| file(name, bytes));
        let files = std::iter::once(file("model.onnx", model.bytes())).chain(external).collect();
        let report = Report { files, runtime: "none".to_owned(), ..Report::untried(&model) };
        Ok(Checked { model, report })
    }
}

/// A picture of one grey.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grey {
    pub width: usize,
    pub height: usize,
    pub luma: u8,
}

impl Grey {
    pub(crate) const SMALL: Self = Self { width: 16, height: 8, luma: 128 };

    pub(crate) fn owned(self) -> OwnedPicture {
        let Self { width, height, luma } = self;
        let samples = vec![luma; width * height];
        let plane = Plane { data: &samples, stride: width };
        OwnedPicture::copy_of(&Picture {
            width,
            height,
            planes: [plane; 3],
            depth: 8,
            chroma_shift_x: 1,
            chroma_shift_y: 1,
            matrix: Matrix::Bt601,
            range: Range::Limited,
            display: Display { width: width as u32, height: height as u32, rotation: Rotation::None },
        })
    }
}
