use super::*;
use crate::onnxruntime::stub;
use framefleet_contract::ErrorCode;

fn found(version: Version) -> State {
    State::Found { path: None, version: Some(version) }
}

/// A machine on which nothing is missing but what is optional.
fn complete() -> Vec<(Component, State)> {
    let needed = Component::ALL.iter().filter(|component| component.need() != Need::Optional);
    needed.map(|&component| (component, found(CUDA))).collect()
}

fn texts(libraries: &Libraries) -> Vec<String> {
    libraries.missing().iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_is_missing_where_only_optional_parts_are() {
    let libraries: Libraries = complete().into_iter().collect();
    assert_eq!(texts(&libraries), Vec::<String>::new());
}

#[test]
fn without_anything_the_driver_and_the_setup_are_asked_for_once_each() {
    let libraries: Libraries = [].into_iter().collect();
    let texts = texts(&libraries);
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].contains("no NVIDIA driver") && texts[0].contains("apt-get install"), "{}", texts[0]);
    assert!(texts[1].contains("libcudart.so.13") && texts[1].contains("and libonnxruntime_providers_cuda.so"));
    assert!(texts[1].contains("`./dev setup --gpu` installs them"), "{}", texts[1]);
    assert!(libraries.missing().iter().all(|error| error.code() == ErrorCode::DeviceUnavailable));
}

#[test]
fn one_library_that_is_missing_is_named_with_its_reason() {
    let mut states = complete();
    states.push((Component::Cudnn, State::Missing { reason: "libz.so.1 is not there".to_owned() }));
    let texts = texts(&states.into_iter().collect());
    assert_eq!(texts.len(), 1);
    assert!(texts[0].starts_with("libcudnn.so.9 cannot be loaded (libz.so.1 is not there)"), "{}", texts[0]);
    assert!(texts[0].contains("installs it"), "{}", texts[0]);
}

#[test]
fn a_driver_of_an_older_cuda_is_too_old_and_both_versions_are_named() {
    let mut states = complete();
    states.push((Component::Driver, found(Version::new(12, 2, 0))));
    let texts = texts(&states.into_iter().collect());
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains("CUDA 12.2") && texts[0].contains("CUDA 13.0"), "{}", texts[0]);
}

#[test]
fn a_file_that_is_no_library_is_named_with_what_the_loader_says() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("libcurand.so.10"), "words").unwrap();
    let libraries = Libraries::load_from(&Places { folders: vec![folder.path().to_owned()], onnxruntime: Vec::new() });
    let State::Missing { reason } = libraries.of(Component::Curand) else { panic!("words were loaded") };
    assert!(reason.contains("libcurand.so.10") && reason.contains(folder.path().to_str().unwrap()), "{reason}");
}

#[test]
fn what_is_nowhere_is_said_with_the_folders_that_were_looked_into() {
    let folder = PathBuf::from("/nowhere/at/all");
    let reason = load_first("libframefleet-lacks-this.so.13", &[folder]).unwrap_err();
    assert_eq!(reason, "not found in /nowhere/at/all and by the system's loader");
}

#[test]
fn a_build_of_onnx_runtime_without_the_provider_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("libonnxruntime.so");
    stub(&library, "1.99.0");
    let states = complete().into_iter().chain([(Component::OnnxRuntimeCuda, provider(std::slice::from_ref(&library)))]);
    let texts = texts(&states.collect());
    assert_eq!(texts.len(), 1);
    assert!(texts[0].contains(folder.path().to_str().unwrap()) && texts[0].contains("FRAMEFLEET_ONNXRUNTIME"));
    fs::write(folder.path().join("libonnxruntime_providers_cuda.so"), "").unwrap();
    assert!(matches!(provider(&[library]), State::Found { .. }));
}

#[test]
fn a_broken_build_of_onnx_runtime_gives_way_to_the_next_and_is_named_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let [broken, sound] = ["broken.so", "sound.so"].map(|name| folder.path().join(name));
    fs::write(&broken, "words").unwrap();
    stub(&sound, "1.99.0");
    fs::write(folder.path().join("libonnxruntime_providers_cuda.so"), "").unwrap();
    let State::Missing { reason } = provider(std::slice::from_ref(&broken)) else { panic!("words were loaded") };
    assert!(reason.contains(broken.to_str().unwrap()), "{reason}");
    assert!(matches!(provider(&[broken, sound]), State::Found { .. }));
}

#[test]
fn another_library_under_the_name_of_a_part_is_not_that_part() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("other.c");
    fs::write(&source, "int other(void) { return 1; }").unwrap();
    for component in [Component::Curand, Component::Nvrtc] {
        let made = folder.path().join(component.file());
        let status = std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(made).arg(&source).status();
        assert!(status.unwrap().success());
    }
    let places = Places { folders: vec![folder.path().to_owned()], onnxruntime: Vec::new() };
    let reasons = [Component::Curand, Component::Nvrtc].map(|component| state_of(component, &places).reason().unwrap());
    assert_eq!(reasons[0], "what goes by the name of libcurand.so.10 is another library");
    assert!(reasons[1].starts_with("there is no libnvrtc-builtins.so.* beside it"), "{}", reasons[1]);
}

/// Needs what `./dev setup --gpu` installs, but no GPU.
#[test]
fn the_compiler_of_kernels_is_found_by_its_binding_once_it_is_loaded() {
    let data = env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share/framefleet/onnxruntime-gpu"));
    let versions = data.and_then(|data| fs::read_dir(data).ok()).into_iter().flatten();
    let folders: Vec<PathBuf> = versions.map(|version| version.unwrap().path()).collect();
    let libraries = Libraries::load(&Places { folders, onnxruntime: Vec::new() });
    if libraries.of(Component::Nvrtc).reason().is_some() {
        return;
    }
    assert_eq!(libraries.of(Component::Nvrtc).version().map(|version| version.major), Some(13));
    let source = "extern \"C\" __global__ void twice(float* x) { x[threadIdx.x] *= 2.0f; }";
    let options = cudarc::nvrtc::CompileOptions { arch: Some("compute_75"), ..Default::default() };
    let ptx = cudarc::nvrtc::compile_ptx_with_opts(source, options).unwrap().to_src();
    assert!(ptx.contains("twice") && ptx.contains("sm_75"), "{ptx}");
}
