//! FFmpeg's question in which pixel format it shall decode, which it asks when it has read a stream's parameters.

use ffmpeg::ffi::{self, AVCodecContext, AVPixelFormat};
use ffmpeg_next as ffmpeg;
use std::sync::{Arc, Mutex, PoisonError};

/// What FFmpeg and one decoder agreed on.
#[derive(Debug, Default)]
pub(super) struct Negotiation(Mutex<Agreed>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Agreed {
    /// It has not asked yet.
    #[default]
    Nothing,
    Hardware,
    Software(Refusal),
}

/// Why it decodes in software after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// FFmpeg's decoder does not offer NVDEC for such a stream.
    NotOffered,
    /// NVDEC could not be set up: FFmpeg asked again without it.
    NotSetUp,
    /// The stream has other parameters from here on. FFmpeg would begin anew with NVDEC, which forgets the pictures that
    /// VP9 and AV1 still refer to, and with more memory than was reserved.
    Changed,
}

impl Negotiation {
    /// Has FFmpeg ask here. The context must not be open yet, and the negotiation must live as long as it.
    pub(super) fn install(self: &Arc<Self>, context: &mut ffmpeg::codec::Context) {
        // SAFETY: two plain fields of a context that is not open; whatever FFmpeg calls, it calls while the context lives.
        unsafe {
            (*context.as_mut_ptr()).opaque = Arc::as_ptr(self).cast_mut().cast();
            (*context.as_mut_ptr()).get_format = Some(get_format);
        }
    }

    pub(super) fn agreed(&self) -> Agreed {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, offered: &[i32]) -> i32 {
        let mut agreed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (format, next) = answer(offered, *agreed);
        *agreed = next;
        format
    }
}

const CUDA: i32 = AVPixelFormat::AV_PIX_FMT_CUDA as i32;
const NONE: i32 = AVPixelFormat::AV_PIX_FMT_NONE as i32;

/// The format to take of those offered, and what is agreed on then.
fn answer(offered: &[i32], agreed: Agreed) -> (i32, Agreed) {
    let refusal = match (offered.contains(&CUDA), agreed) {
        (true, Agreed::Nothing) => return (CUDA, Agreed::Hardware),
        (_, Agreed::Software(first)) => first,
        (true, Agreed::Hardware) => Refusal::Changed,
        (false, Agreed::Hardware) => Refusal::NotSetUp,
        (false, Agreed::Nothing) => Refusal::NotOffered,
    };
    let software = offered.iter().copied().find(|format| !is_hardware(*format)).unwrap_or(NONE);
    (software, Agreed::Software(refusal))
}

fn is_hardware(format: i32) -> bool {
    let Some(format) = known(format) else { return true };
    // SAFETY: a known format gives a static descriptor, an unknown one null.
    let descriptor = unsafe { ffi::av_pix_fmt_desc_get(format).as_ref() };
    descriptor.is_none_or(|descriptor| descriptor.flags & ffi::AV_PIX_FMT_FLAG_HWACCEL as u64 != 0)
}

fn known(format: i32) -> Option<AVPixelFormat> {
    let is_known = (0..AVPixelFormat::AV_PIX_FMT_NB as i32).contains(&format);
    // SAFETY: the integer is one of the enum's.
    is_known.then(|| unsafe { std::mem::transmute::<i32, AVPixelFormat>(format) })
}

unsafe extern "C" fn get_format(codec: *mut AVCodecContext, offered: *const AVPixelFormat) -> AVPixelFormat {
    let first = offered.cast::<i32>();
    // SAFETY: FFmpeg gives its context, whose `opaque` is a negotiation that lives as long as it, and a list that ends
    // with `AV_PIX_FMT_NONE`. Nobody writes to either meanwhile. The enum has the size of an `int`.
    let (negotiation, offered) = unsafe {
        let mut count = 0;
        while *first.add(count) != NONE {
            count += 1;
        }
        (&*(*codec).opaque.cast::<Negotiation>(), std::slice::from_raw_parts(first, count))
    };
    known(negotiation.answer(offered)).unwrap_or(AVPixelFormat::AV_PIX_FMT_NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VDPAU: i32 = AVPixelFormat::AV_PIX_FMT_VDPAU as i32;
    const PLANAR: i32 = AVPixelFormat::AV_PIX_FMT_YUV420P as i32;
    const SET_UP: Agreed = Agreed::Hardware;

    #[test]
    fn hardware_is_taken_where_it_is_offered() {
        assert_eq!(answer(&[VDPAU, CUDA, PLANAR], Agreed::Nothing), (CUDA, Agreed::Hardware));
    }

    #[test]
    fn software_is_taken_where_hardware_is_not_offered() {
        assert_eq!(answer(&[VDPAU, PLANAR], Agreed::Nothing), (PLANAR, Agreed::Software(Refusal::NotOffered)));
        assert_eq!(answer(&[VDPAU], Agreed::Nothing), (NONE, Agreed::Software(Refusal::NotOffered)));
        assert_eq!(answer(&[], Agreed::Nothing), (NONE, Agreed::Software(Refusal::NotOffered)));
    }

    #[test]
    fn a_question_without_the_hardware_that_was_taken_is_its_refusal() {
        assert_eq!(answer(&[VDPAU, PLANAR], SET_UP), (PLANAR, Agreed::Software(Refusal::NotSetUp)));
    }

    #[test]
    fn a_second_question_with_the_hardware_is_a_change_of_parameters() {
        assert_eq!(answer(&[CUDA, PLANAR], SET_UP), (PLANAR, Agreed::Software(Refusal::Changed)));
    }

    #[test]
    fn the_first_refusal_stays() {
        let refused = Agreed::Software(Refusal::NotSetUp);
        assert_eq!(answer(&[CUDA, PLANAR], refused), (PLANAR, refused));
        assert_eq!(answer(&[PLANAR], refused), (PLANAR, refused));
    }
}
