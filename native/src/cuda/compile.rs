//! Kernels for one architecture, made by NVRTC and kept on disk.

use super::{error::CudaError, kernels::SOURCE, libraries};
use cudarc::nvrtc::{Ptx, result, sys};
use sha2::{Digest, Sha256};
use std::{
    env,
    ffi::{CStr, CString, c_char},
    fs,
    path::{Path, PathBuf},
    process,
};

/// What a GPU loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    image: Vec<u8>,
}

/// Nothing is fused: a product that is not rounded before it is added gives other bits than the CPU's path.
const OPTIONS: [&str; 2] = ["--fmad=false", "--std=c++17"];

/// Compiles the kernels for GPUs of a compute capability, such as (9, 0), or finds what was compiled before: in
/// `$XDG_CACHE_HOME/framefleet/kernels`, or `~/.cache/framefleet/kernels`.
///
/// # Errors
/// [`CudaError::Missing`] without NVRTC, or with one that does not know such GPUs.
pub fn compile(compute_capability: (u32, u32)) -> Result<Program, CudaError> {
    compile_with(compute_capability, cache_folder().map(|caches| caches.join("kernels")).as_deref())
}

impl Program {
    /// An ELF file for the very architecture, or PTX, which the driver compiles on.
    pub fn image(&self) -> &[u8] {
        &self.image
    }

    pub(super) fn into_module(self) -> Ptx {
        Ptx::from_binary(self.image)
    }
}

fn compile_with(compute_capability: (u32, u32), cache: Option<&Path>) -> Result<Program, CudaError> {
    let nvrtc = Nvrtc::load()?;
    let target = nvrtc.target(compute_capability)?;
    let entry = cache.map(|folder| Entry::new(folder, &nvrtc, &target));
    if let Some(image) = entry.as_ref().and_then(Entry::read) {
        return Ok(Program { image });
    }
    let image = nvrtc.compile(SOURCE, &target)?;
    if let Some(Err(error)) = entry.as_ref().map(|entry| entry.write(&image)) {
        tracing::debug!(%error, "compiled kernels cannot be kept; they are compiled anew each time");
    }
    Ok(Program { image })
}

/// What may be made anew is kept here: `$XDG_CACHE_HOME/framefleet`, or `~/.cache/framefleet`. `None` without either.
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(caches.join("framefleet"))
}

/// The compiler, loaded into this process.
struct Nvrtc {
    version: (i32, i32),
}

/// What is compiled for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    /// As NVRTC calls it: `sm_90`, or `compute_90` for PTX.
    architecture: String,
    is_ptx: bool,
}

impl Nvrtc {
    fn load() -> Result<Self, CudaError> {
        // Asked before any other call, since the binding ends the process where there is none.
        if let Some(reason) = libraries::compiler().reason() {
            return Err(missing(reason));
        }
        let mut version = (0, 0);
        // SAFETY: both are there to be written to.
        unsafe { sys::nvrtcVersion(&raw mut version.0, &raw mut version.1) }.result().map_err(failed)?;
        Ok(Self { version })
    }

    /// The very architecture, where the compiler knows it; or else the latest before it, from which the driver goes on.
    fn target(&self, (major, minor): (u32, u32)) -> Result<Target, CudaError> {
        let wanted = major * 10 + minor;
        let known = architectures()?;
        if known.contains(&wanted) {
            return Ok(Target { architecture: format!("sm_{wanted}"), is_ptx: false });
        }
        let before = known.iter().copied().filter(|known| *known < wanted).max();
        let Some(before) = before else {
            let (major_version, minor_version) = self.version;
            return Err(CudaError::Missing {
                what: format!(
                    "NVRTC {major_version}.{minor_version} does not know GPUs of compute capability {major}.{minor}"
                ),
                reason: format!("it knows {known:?}"),
                remedy: "use a newer GPU (a T4 or later), or take --device cpu".to_owned(),
            });
        };
        Ok(Target { architecture: format!("compute_{before}"), is_ptx: true })
    }

    fn compile(&self, source: &str, target: &Target) -> Result<Vec<u8>, CudaError> {
        let source = CString::new(source).expect("the kernels have no zero byte");
        let compilation = Compilation(result::create_program(&source, Some(c"framefleet.cu")).map_err(failed)?);
        // SAFETY: it was just created.
        let compiled = unsafe { result::compile_program(compilation.0, &options(target)) };
        compiled.map_err(|error| CudaError::Failed {
            action: "compile the kernels",
            reason: format!("{error} for {} with NVRTC {:?}: {}", target.architecture, self.version, compilation.log()),
        })?;
        compilation.image(target).map_err(failed)
    }
}

/// Compute capabilities that the compiler knows, each as major * 10 + minor.
fn architectures() -> Result<Vec<u32>, CudaError> {
    let mut count = 0;
    // SAFETY: the count is there to be written to.
    unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result().map_err(failed)?;
    let mut known = vec![0_i32; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for as many as were counted.
    unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) }.result().map_err(failed)?;
    Ok(known.into_iter().filter_map(|known| u32::try_from(known).ok()).collect())
}

fn options(target: &Target) -> Vec<String> {
    let architecture = format!("--gpu-architecture={}", target.architecture);
    OPTIONS.iter().map(|option| (*option).to_owned()).chain([architecture]).collect()
}

struct Compilation(sys::nvrtcProgram);

impl Compilation {
    fn log(&self) -> String {
        // SAFETY: the program lives as long as this.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let log: Vec<u8> = log.into_iter().map(|byte: c_char| byte as u8).collect();
        CStr::from_bytes_until_nul(&log).map(|log| log.to_string_lossy().trim().to_owned()).unwrap_or_default()
    }

    fn image(&self, target: &Target) -> Result<Vec<u8>, result::NvrtcError> {
        if target.is_ptx {
            // SAFETY: the program lives as long as this, and was compiled.
            let ptx = unsafe { result::get_ptx(self.0) }?;
            return Ok(ptx.into_iter().map(|byte: c_char| byte as u8).collect());
        }
        let mut size = 0;
        // SAFETY: as above, and the size is there to be written to.
        unsafe { sys::nvrtcGetCUBINSize(self.0, &raw mut size) }.result()?;
        let mut image = vec![0_u8; size];
        // SAFETY: as above, and there is room for as much as was said.
        unsafe { sys::nvrtcGetCUBIN(self.0, image.as_mut_ptr().cast()) }.result()?;
        Ok(image)
    }
}

impl Drop for Compilation {
    fn drop(&mut self) {
        // SAFETY: it was created, and is destroyed only here.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// What was compiled before: a digest, and the bytes that it is of.
struct Entry {
    path: PathBuf,
}

impl Entry {
    /// Its name tells everything that the compiler's output depends on.
    fn new(folder: &Path, nvrtc: &Nvrtc, target: &Target) -> Self {
        let mut digest = Sha256::new();
        for part in options(target).iter().map(String::as_str).chain([SOURCE]) {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        let key = u128::from_be_bytes(std::array::from_fn(|index| digest[index]));
        let (major, minor) = nvrtc.version;
        Self { path: folder.join(format!("{}-nvrtc{major}.{minor}-{key:032x}", target.architecture)) }
    }

    /// `None` where there is nothing, or something else.
    fn read(&self) -> Option<Vec<u8>> {
        let mut image = fs::read(&self.path).ok()?;
        let digest: Vec<u8> = image.drain(..image.len().min(DIGEST_BYTES)).collect();
        (!image.is_empty() && digest == Sha256::digest(&image).as_slice()).then_some(image)
    }

    /// Others may do the same at this time, and read only what is whole.
    fn write(&self, image: &[u8]) -> std::io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let part = self.path.with_extension(format!("{}.part", process::id()));
        let written = fs::write(&part, [Sha256::digest(image).as_slice(), image].concat());
        let renamed = written.and_then(|()| fs::rename(&part, &self.path));
        if renamed.is_err() {
            let _ = fs::remove_file(&part);
        }
        renamed
    }
}

const DIGEST_BYTES: usize = 32;

fn missing(reason: String) -> CudaError {
    CudaError::Missing {
        what: "there is no NVRTC, which compiles kernels for the GPU".to_owned(),
        reason,
        remedy: "run `./dev setup --gpu`, or set FRAMEFLEET_CUDA_LIBRARIES to the folder that has libnvrtc.so.13"
            .to_owned(),
    }
}

fn failed(error: result::NvrtcError) -> CudaError {
    CudaError::Failed { action: "compile the kernels", reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// T4, A100, RTX 30, L4, H100 and H200, B200.
    const ARCHITECTURES: [(u32, u32); 6] = [(7, 5), (8, 0), (8, 6), (8, 9), (9, 0), (10, 0)];

    fn contains(image: &[u8], name: &str) -> bool {
        image.windows(name.len()).any(|window| window == name.as_bytes())
    }

    #[test]
    fn the_kernels_compile_for_every_architecture() {
        for capability in ARCHITECTURES {
            let program = compile_with(capability, None).unwrap();
            assert!(program.image().starts_with(b"\x7fELF"), "{capability:?}");
            for kernel in [".text.preprocess", ".text.survivors"] {
                assert!(contains(program.image(), kernel), "{capability:?} {kernel}");
            }
        }
    }

    #[test]
    fn a_gpu_later_than_the_compiler_gets_ptx_and_an_earlier_one_an_error() {
        let later = compile_with((99, 0), None).unwrap();
        assert!(contains(later.image(), ".visible .entry preprocess"));
        let earlier = compile_with((3, 5), None).unwrap_err().to_string();
        assert!(earlier.contains("3.5") && earlier.contains("--device cpu"), "{earlier}");
    }

    #[test]
    fn no_product_is_fused_with_a_sum() {
        let ptx = compile_with((99, 0), None).unwrap();
        let text = String::from_utf8_lossy(ptx.image());
        for word in ["mul.rn.f32", "mul.rn.f64", "add.rn.f32", "add.rn.f64"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
        // Without `.rn` a product may be fused when PTX is compiled on.
        for word in ["fma.", "mul.f32", "mul.f64", "add.f32", "add.f64", ".ftz"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }

    #[test]
    fn what_does_not_compile_is_told_with_the_compilers_words() {
        let nvrtc = Nvrtc::load().unwrap();
        let target = nvrtc.target((9, 0)).unwrap();
        let error = nvrtc.compile("#line 7 \"shared.h\"\nint broken = nothing;", &target).unwrap_err().to_string();
        assert!(error.contains("shared.h(7)") && error.contains("nothing"), "{error}");
    }

    #[test]
    fn what_was_compiled_is_found_again_unless_it_is_damaged() {
        let folder = env::temp_dir().join(format!("framefleet-kernels-{}", process::id()));
        let nvrtc = Nvrtc::load().unwrap();
        let target = nvrtc.target((9, 0)).unwrap();
        let entry = Entry::new(&folder.join("of/its/own"), &nvrtc, &target);
        assert_eq!(entry.read(), None);
        entry.write(b"an image").unwrap();
        assert_eq!(entry.read().unwrap(), b"an image");
        let found = compile_with((9, 0), Some(&folder.join("of/its/own"))).unwrap();
        assert_eq!(found.image(), b"an image");
        for damaged in [&b""[..], b"short", &[0; 100]] {
            fs::write(&entry.path, damaged).unwrap();
            assert_eq!(entry.read(), None);
        }
        let compiled = compile_with((9, 0), Some(&folder.join("of/its/own"))).unwrap();
        assert_eq!(entry.read().unwrap(), compiled.image());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_no_error() {
        let program = compile_with((9, 0), Some(Path::new("/proc/nowhere"))).unwrap();
        assert!(program.image().starts_with(b"\x7fELF"));
    }
}
