//! What the process asks of its C library and of the libraries that it loads, and its end.

/// Settles both, to be called first in `main`. With other threads about, nothing is done: they may be reading the
/// environment.
///
/// ONNX Runtime collects what models are run and on what machine, keeps that in a database in the user's cache, and
/// sends it away where it can; the switch of its API comes too late to prevent the first of it. glibc keeps freed memory
/// for itself, and more of it the larger the pieces were: pictures would cost some 20 MB more at 1080p.
pub fn prepare() {
    if std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count) != 1 {
        return;
    }
    // SAFETY: this is the only thread, so that nobody reads the environment at the same time.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
    #[cfg(target_env = "gnu")]
    // SAFETY: sets numbers of the allocator, which may be done at any time.
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, FREED_BYTES_KEPT);
        libc::mallopt(libc::M_PERTURB, FRESH_BYTE);
    }
}

/// Ends the process at once with this exit status: nothing is unwound, no thread is waited for. For when one of them
/// never comes back.
pub fn end_process(status: i32) -> ! {
    // SAFETY: it takes any number and does not return.
    unsafe { libc::_exit(status) }
}

/// In fresh memory, instead of what was there before: decoders make pictures of it where a stream is damaged.
#[cfg(target_env = "gnu")]
const FRESH_BYTE: libc::c_int = 0xff;

/// glibc's own initial value, which it would otherwise raise. Setting it also keeps large pieces apart from small ones.
#[cfg(target_env = "gnu")]
const FREED_BYTES_KEPT: libc::c_int = 128 << 10;
