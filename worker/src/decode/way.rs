//! On what a source is decoded: NVDEC as long as it does, software otherwise.

use crate::error::JobError;
use framefleet_contract::plan::{Numbering, Plan};
use framefleet_native::cuda::CudaError;
use framefleet_native::ffmpeg::MediaError;
use framefleet_native::ffmpeg::hardware::{Hardware, HardwareChoice, StreamFacts};
use std::sync::Arc;

/// Of one source. From software there is no way back: what made NVDEC give up is mostly in the stream.
#[derive(Debug, Clone)]
pub enum Way {
    Nvdec {
        hardware: Arc<Hardware>,
        /// What it takes of the GPU's memory at most.
        bytes: u64,
    },
    Software {
        /// Why, although there is a GPU; `None` where there is none.
        because: Option<String>,
    },
}

impl Way {
    pub fn of(plan: &Plan, hardware: Option<&Arc<Hardware>>) -> Self {
        let Some(hardware) = hardware else { return Self::Software { because: None } };
        if plan.numbering == Numbering::Output {
            // Nothing would show that NVDEC left one out, or where software has to go on.
            return Self::software("its frames are numbered as they come out".to_owned());
        }
        let video = &plan.video;
        let stream = StreamFacts {
            codec: &video.codec,
            pixel_format: &video.pixel_format,
            width: video.coded_width,
            height: video.coded_height,
            clears_pictures: plan.clears_pictures,
        };
        match hardware.choose(&stream) {
            HardwareChoice::Nvdec { bytes } => Self::Nvdec { hardware: Arc::clone(hardware), bytes },
            HardwareChoice::Software { reason } => Self::software(reason),
        }
    }

    pub fn software(reason: String) -> Self {
        tracing::info!("decoding in software, because {reason}");
        Self::Software { because: Some(reason) }
    }
}

/// Why a segment that NVDEC was to decode is decoded anew in software, which alone tells damage from what NVDEC cannot do;
/// the error itself, where software would meet it too.
pub fn refusal(error: JobError) -> Result<String, JobError> {
    match error {
        JobError::Media(MediaError::HardwareRefused { reason }) => Ok(format!("NVDEC does not decode it: {reason}")),
        JobError::PlanRefuted { reason } => Ok(format!("with NVDEC it does not come out as planned: {reason}")),
        JobError::Media(MediaError::Device(error)) if !matches!(error, CudaError::Lost { .. }) => {
            Ok(format!("the GPU does not decode it: {error}"))
        }
        other => Err(other),
    }
}
