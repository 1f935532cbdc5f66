//! Every metric of this program: its name and what it counts.

use framefleet_contract::ErrorCode;
use framefleet_contract::detection_file::DecodedOn;
use metrics::{Counter, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder};

/// Upper ends of the ranges in which seconds are counted: from a cancellation to a night's film. Of one size for all, so
/// that those of many workers can be added up.
const BUCKETS_S: [f64; 12] = [0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0];

/// Upper ends of the ranges in which the frames of a batch are counted: the sizes that devices have memory for.
const BATCH_SIZES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

/// For Prometheus, with the ranges of all histograms.
pub fn recorder() -> Result<PrometheusBuilder, BuildError> {
    let batches = Matcher::Full("framefleet_batch_frames".to_owned());
    PrometheusBuilder::new().set_buckets(&BUCKETS_S)?.set_buckets_for_metric(batches, &BATCH_SIZES)
}

/// Describes them to the recorder that is installed, and begins each at 0: what did not happen is a number too.
pub fn describe() {
    describe_histogram!(
        "framefleet_batch_frames",
        Unit::Count,
        "Frames of a batch that a device was given; none where models run on the CPU"
    );
    let _ = histogram!("framefleet_batch_frames");
    describe_counter!(
        "framefleet_frames_decoded_total",
        Unit::Count,
        "Frames that the decoder gave, by what decoded them"
    );
    describe_counter!(
        "framefleet_frames_damaged_total",
        Unit::Count,
        "Packets that the decoder refused, and frames that it marked as damaged"
    );
    describe_counter!("framefleet_frames_inferred_total", Unit::Count, "Frames that went through the detector");
    describe_counter!("framefleet_segments_published_total", Unit::Count, "Segments that this process published");
    describe_counter!("framefleet_detections_total", Unit::Count, "Detections in the segments that were published");
    for on in [DecodedOn::Software, DecodedOn::Nvdec] {
        frames_decoded(on).absolute(0);
    }
    for name in [
        "framefleet_frames_damaged_total",
        "framefleet_frames_inferred_total",
        "framefleet_segments_published_total",
        "framefleet_detections_total",
    ] {
        counter!(name).absolute(0);
    }
}

/// Those that were decoded there.
pub fn frames_decoded(on: DecodedOn) -> Counter {
    let device = match on {
        DecodedOn::Software => "cpu",
        DecodedOn::Nvdec => "nvdec",
    };
    counter!("framefleet_frames_decoded_total", "device" => device)
}

/// The same for what only a worker of a fleet has.
pub fn describe_fleet() {
    describe_counter!(
        "framefleet_retries_total",
        Unit::Count,
        "Steps of jobs that failed and were tried again in place"
    );
    describe_counter!(
        "framefleet_handed_back_total",
        Unit::Count,
        "Messages that were put at the end of their queue after errors that may pass"
    );
    describe_counter!("framefleet_dead_letters_total", Unit::Count, "Messages that were given up, by the error's code");
    describe_histogram!(
        "framefleet_message_seconds",
        Unit::Seconds,
        "From taking up a message to being done with it, by role"
    );
    describe_gauge!(
        "framefleet_messages_in_hand",
        Unit::Count,
        "Messages that were fetched and are not done: worked on, or next"
    );
    describe_gauge!("framefleet_work_in_flight", Unit::Count, "Segments, plans and finishes that are worked on");
    describe_gauge!("framefleet_worker_takes_work", Unit::Count, "1, or 0 while the worker pauses or leaves");
    describe_gauge!(
        "framefleet_volume_free_share",
        Unit::Count,
        "Free space of the results volume, of all of it, 0 to 1"
    );
    counter!("framefleet_retries_total").absolute(0);
    counter!("framefleet_handed_back_total").absolute(0);
    for code in ErrorCode::ALL {
        counter!("framefleet_dead_letters_total", "code" => code.as_str()).absolute(0);
    }
    for role in ["plan", "detect", "finish"] {
        let _ = histogram!("framefleet_message_seconds", "role" => role);
    }
    for name in [
        "framefleet_messages_in_hand",
        "framefleet_work_in_flight",
        "framefleet_worker_takes_work",
        "framefleet_volume_free_share",
    ] {
        gauge!(name).set(0.0);
    }
}
