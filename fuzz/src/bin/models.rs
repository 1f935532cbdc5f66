//! Fuzzes the reader of ONNX files and of `model.toml` with libFuzzer: `./dev fuzz models`.
#![no_main]

use framefleet_fuzz::model_input::ModelInput;
use framefleet_models::{Manifest, ModelError, recognise_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let ModelInput { onnx, toml } = ModelInput::split(bytes);
    match recognise_bytes(onnx, toml) {
        Ok(manifest) => check_manifest(&manifest),
        Err(error) => check_error(&error),
    }
});

/// What the rest of the program takes for granted.
fn check_manifest(manifest: &Manifest) {
    assert!((1..=65_536).contains(&manifest.classes.len()), "{} classes", manifest.classes.len());
    assert!((1..=8).contains(&manifest.outputs.len()), "{} outputs", manifest.outputs.len());
    assert!((1..=128).contains(&manifest.stride) && manifest.image_size.is_multiple_of(manifest.stride));
    assert!((1..=8192 + 128).contains(&manifest.image_size));
    for side in [manifest.input.height, manifest.input.width].into_iter().flatten() {
        assert!((1..=8192).contains(&side) && side.is_multiple_of(manifest.stride));
    }
    // It is kept as JSON, and work is done with what is read back.
    let kept = serde_json::to_vec(manifest).expect("every manifest can be kept");
    assert!(
        serde_json::from_slice::<Manifest>(&kept).is_ok_and(|read| read == *manifest),
        "it is read back as another"
    );
}

/// One line that can be read.
fn check_error(error: &ModelError) {
    assert!(matches!(error, ModelError::Invalid { .. } | ModelError::Unrecognised { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.len() < 32 << 10, "{} bytes of error", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}
