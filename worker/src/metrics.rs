//! Every metric of this program: its name and what it counts.

use metrics::{Unit, describe_counter};

/// Describes them to the recorder that is installed.
pub fn describe() {
    describe_counter!("framefleet_frames_decoded_total", Unit::Count, "Frames that the decoder gave");
    describe_counter!(
        "framefleet_frames_damaged_total",
        Unit::Count,
        "Packets that the decoder refused, and frames that it marked as damaged"
    );
    describe_counter!("framefleet_frames_inferred_total", Unit::Count, "Frames that went through the detector");
    describe_counter!("framefleet_segments_published_total", Unit::Count, "Segments that this process published");
    describe_counter!("framefleet_detections_total", Unit::Count, "Detections in the segments that were published");
}
