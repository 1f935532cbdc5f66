//! Builds of ONNX Runtime, of which a process loads one to work with, and can ask all.

use crate::loader::said;
use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};
use ort::MINOR_VERSION as LEAST_MINOR;
use ort::sys::OrtApiBase;
use std::ffi::CStr;
use std::path::Path;

/// The version of the library in this file, as it says itself, such as `1.31.1`. It stays loaded, and is not used.
///
/// # Errors
/// Why the program could not work with it, in words.
pub fn version_of(path: &Path) -> Result<String, String> {
    // SAFETY: the library's constructors run, as they would if it were loaded to be used.
    let library = unsafe { Library::open(Some(path), RTLD_LAZY | RTLD_LOCAL) }.map_err(|error| said(&error))?;
    let version = version(&library).ok_or_else(|| format!("{} is no ONNX Runtime", path.display()))?;
    // What its constructors have begun may not be made undone.
    std::mem::forget(library);
    if is_new_enough(&version) {
        return Ok(version);
    }
    Err(format!("{} is ONNX Runtime {version}, and 1.{LEAST_MINOR} or a later 1 is needed", path.display()))
}

fn version(library: &Library) -> Option<String> {
    // SAFETY: `const OrtApiBase* OrtGetApiBase(void) NO_EXCEPTION`, of every version.
    let base = unsafe { library.get::<unsafe extern "C" fn() -> *const OrtApiBase>(b"OrtGetApiBase\0").ok()?() };
    // SAFETY: null, or a structure that lives as long as the library.
    let base = unsafe { base.as_ref() }?;
    // SAFETY: it takes nothing, and gives a string that lives as long as the library.
    let version = unsafe { CStr::from_ptr((base.GetVersionString)()) };
    Some(version.to_string_lossy().into_owned())
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    numbers.next() == Some(Ok(1)) && matches!(numbers.next(), Some(Ok(minor)) if minor >= LEAST_MINOR)
}

/// Makes a library that is a build of this version to whoever asks for no more.
#[cfg(test)]
pub(crate) fn stub(library: &Path, version: &str) {
    let source = format!(
        "static const char *version(void) {{ return \"{version}\"; }}\n\
         static struct {{ const void *(*get)(unsigned); const char *(*version)(void); }} base = {{ 0, version }};\n\
         const void *OrtGetApiBase(void) {{ return &base; }}\n"
    );
    let file = library.with_extension("c");
    std::fs::write(&file, source).unwrap();
    let mut compiler = std::process::Command::new("cc");
    assert!(compiler.args(["-shared", "-fPIC", "-o"]).args([library, &file]).status().unwrap().success());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_library_is_told_from_other_files_and_other_libraries() {
        let folder = tempfile::tempdir().unwrap();
        let words = folder.path().join("libonnxruntime.so.1.31.1");
        fs::write(&words, "words").unwrap();
        let reason = version_of(&words).unwrap_err();
        assert!(reason.contains(words.to_str().unwrap()), "{reason}");
        let other = version_of(Path::new("libc.so.6")).unwrap_err();
        assert_eq!(other, "libc.so.6 is no ONNX Runtime");
    }

    /// Of a library that says so.
    fn build_of(folder: &Path, version: &str) -> Result<String, String> {
        let library = folder.join(version);
        stub(&library, version);
        version_of(&library)
    }

    #[test]
    fn a_library_says_its_version_and_is_refused_where_it_is_too_old() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(build_of(folder.path(), "1.99.1").as_deref(), Ok("1.99.1"));
        let reason = build_of(folder.path(), "1.2.0").unwrap_err();
        assert!(reason.contains("is ONNX Runtime 1.2.0, and 1.24 or a later 1 is needed"), "{reason}");
    }

    #[test]
    fn versions_before_the_one_that_is_asked_for_are_too_old() {
        let next = format!("1.{}.0", LEAST_MINOR + 1);
        let last = format!("1.{}.9", LEAST_MINOR - 1);
        assert!(is_new_enough(&next) && is_new_enough(&format!("1.{LEAST_MINOR}.0")));
        for old in [last.as_str(), "0.99.0", "2.0.0", "", "1", "one.31"] {
            assert!(!is_new_enough(old), "{old}");
        }
    }
}
