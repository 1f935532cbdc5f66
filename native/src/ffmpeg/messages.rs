//! What FFmpeg says only in its log: why it refused something. Its error codes do not tell a limit from damage.
//!
//! Nothing is printed. A message is kept for the thread that FFmpeg said it on, which is the one that called it, as long
//! as the decoder has no threads of its own.

use ffmpeg::ffi;
use ffmpeg_next as ffmpeg;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, c_char, c_int, c_void};

/// Why FFmpeg refused something, as far as it matters here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is said apart from the others")]
pub(super) struct Reasons {
    /// Width and height of a picture that it would not make room for.
    pub picture: Option<(u32, u32)>,
    /// Those of a picture that no memory could hold, whatever the limit. No camera has such, so that behind a file's
    /// headers it is damage.
    pub impossible_picture: Option<(u32, u32)>,
    pub too_many_streams: bool,
    pub time_base: bool,
    /// It met something that cannot be.
    pub damage: bool,
    /// A call to the GPU's driver failed. [`take_words`] has the rest.
    pub cuda: bool,
}

impl Reasons {
    /// One that was refused for its size, whatever that was.
    pub(super) fn any_picture(&self) -> Option<(u32, u32)> {
        self.picture.or(self.impossible_picture)
    }
}

/// Said of sound streams too, where they begin between two keyframes.
const HARMLESS: [&[u8]; 2] = [b"mmco: unref short failure", b"co located POCs unavailable"];

thread_local! {
    static REASONS: Cell<Reasons> = const {
        Cell::new(Reasons {
            picture: None,
            impossible_picture: None,
            too_many_streams: false,
            time_base: false,
            damage: false,
            cuda: false,
        })
    };
    /// The errors in its own words, one after the other.
    static WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Bytes of words that are kept: some errors are said of every block of a picture.
const MOST_WORDS: usize = 400;

/// How C passes a `va_list` on.
#[cfg(target_arch = "x86_64")]
type Arguments = *mut ffi::__va_list_tag;
#[cfg(not(target_arch = "x86_64"))]
type Arguments = ffi::va_list;

/// From now on, FFmpeg's messages come here instead of stderr.
pub(super) fn listen() {
    // SAFETY: the function lives as long as the program and may be called from every thread.
    unsafe { ffi::av_log_set_callback(Some(on_message)) };
}

/// What this thread's calls were refused for since this was asked last. Forgets the words too.
pub(super) fn take() -> Reasons {
    WORDS.with_borrow_mut(String::clear);
    REASONS.take()
}

/// The errors of this thread's calls in FFmpeg's own words; `None` where it said nothing.
pub(super) fn take_words() -> Option<String> {
    let words = WORDS.take();
    let words = words.trim();
    (!words.is_empty()).then(|| words.replace('\n', "; "))
}

unsafe extern "C" fn on_message(context: *mut c_void, level: c_int, format: *const c_char, arguments: Arguments) {
    if level > ffi::AV_LOG_WARNING || format.is_null() {
        return;
    }
    // SAFETY: a format is a C string that lives at least as long as the call.
    let text = unsafe { CStr::from_ptr(format) }.to_bytes();
    // libavutil's for every decoder of FFmpeg's own, and dav1d's.
    let of_picture = text.starts_with(b"Picture size %ux%u ") || text.starts_with(b"Frame size %dx%d exceeds limit");
    let mut reasons = REASONS.get();
    reasons.damage |= level <= ffi::AV_LOG_ERROR && !HARMLESS.iter().any(|harmless| text.starts_with(harmless));
    if level <= ffi::AV_LOG_ERROR || of_picture {
        let mut line = [0u8; 128];
        let mut no_prefix = 0;
        // SAFETY: what FFmpeg gave is passed on once; the line has as many bytes as are said.
        unsafe {
            ffi::av_log_format_line2(
                context,
                level,
                format,
                arguments,
                line.as_mut_ptr().cast(),
                line.len() as c_int,
                &raw mut no_prefix,
            );
        }
        keep(&line);
        if of_picture {
            let impossible = text.starts_with(b"Picture size %ux%u is invalid");
            let of_kind = if impossible { &mut reasons.impossible_picture } else { &mut reasons.picture };
            *of_kind = size_in(&line).or(*of_kind);
        }
    }
    // How FFmpeg says which error the driver gave, whatever it was asked for (`cuda_check.h`).
    reasons.cuda |= text.starts_with(b" -> %s: %s");
    reasons.too_many_streams |= text.starts_with(b"Number of streams exceeds max_streams");
    reasons.time_base |=
        text.starts_with(b"Ignoring attempt to set invalid timebase") || text == b"Invalid frame rate\n";
    REASONS.set(reasons);
}

fn keep(line: &[u8]) {
    let Ok(line) = CStr::from_bytes_until_nul(line) else { return };
    // FFmpeg may speak while a thread ends and has given this up.
    let _ = WORDS.try_with(|words| {
        let mut words = words.borrow_mut();
        if words.len() < MOST_WORDS {
            words.push_str(&line.to_string_lossy());
        }
    });
}

/// The first `<width>x<height>` of a line.
fn size_in(line: &[u8]) -> Option<(u32, u32)> {
    let line = CStr::from_bytes_until_nul(line).ok()?.to_str().ok()?;
    line.split(' ').find_map(|word| {
        let (width, height) = word.split_once('x')?;
        Some((width.parse().ok()?, height.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_size_is_read_from_the_line() {
        let line = b"Picture size 7680x4320 exceeds specified max pixel count 9, see\0\0\0";
        assert_eq!(size_in(line), Some((7680, 4320)));
        assert_eq!(size_in(b"Frame size next to 1 exceeds\0"), None);
    }

    #[test]
    fn the_library_still_says_why_it_refuses_a_picture() {
        listen();
        take();
        let is_refused = |width, height| {
            let format = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P;
            // SAFETY: only numbers are looked at; no context is allowed.
            unsafe { ffi::av_image_check_size2(width, height, 1000, format, 0, std::ptr::null_mut()) < 0 }
        };
        assert!(is_refused(640, 360));
        let words = take_words().unwrap();
        assert!(words.starts_with("Picture size 640x360 exceeds") && !words.contains('\n'), "{words}");
        assert_eq!(take(), Reasons { picture: Some((640, 360)), damage: true, ..Reasons::default() });
        assert_eq!(take_words(), None);
        assert!(is_refused(65_535, 65_535));
        let impossible = take();
        assert_eq!(
            impossible,
            Reasons { impossible_picture: Some((65_535, 65_535)), damage: true, ..Reasons::default() }
        );
        assert_eq!(impossible.any_picture(), Some((65_535, 65_535)));
        assert_eq!(take(), Reasons::default());
    }
}
