//! Every metric of this program: its name and what it counts.

use metrics::{Unit, counter, describe_counter};

/// Describes them to the recorder that is installed, and begins each at 0: what did not happen is a number too.
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
    for name in [
        "framefleet_frames_decoded_total",
        "framefleet_frames_damaged_total",
        "framefleet_frames_inferred_total",
        "framefleet_segments_published_total",
        "framefleet_detections_total",
    ] {
        counter!(name).absolute(0);
    }
}
