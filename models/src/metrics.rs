//! Every metric of this crate. Models are not told apart: their names are whatever somebody called a file.

use framefleet_contract::error_code::ErrorCode;
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Duration;

/// Describes them to the recorder that is installed, and begins each at 0: what did not happen is a number too.
pub fn describe() {
    describe_gauge!("framefleet_models", Unit::Count, "Versions of models in the model directory, by state");
    describe_counter!("framefleet_model_checks_total", Unit::Count, "Models that were tried out, by what came of it");
    describe_counter!("framefleet_model_swaps_total", Unit::Count, "Times that a version took another one's place");
    describe_histogram!("framefleet_model_check_seconds", Unit::Seconds, "How long it took to try a model out");
    count_states([0; STATES.len()]);
    counter!("framefleet_model_checks_total", "result" => "ready").absolute(0);
    counter!("framefleet_model_swaps_total").absolute(0);
    let _ = histogram!("framefleet_model_check_seconds");
}

/// The names of the states, in the order of the counts.
pub(crate) const STATES: [&str; 5] = ["waiting", "checking", "ready", "refused", "retired"];

pub(crate) fn count_states(counts: [usize; STATES.len()]) {
    for (state, count) in STATES.into_iter().zip(counts) {
        gauge!("framefleet_models", "state" => state).set(count as f64);
    }
}

pub(crate) fn count_check(result: Result<(), ErrorCode>, took: Duration) {
    let result = result.map_or_else(ErrorCode::as_str, |()| "ready");
    counter!("framefleet_model_checks_total", "result" => result).increment(1);
    histogram!("framefleet_model_check_seconds").record(took.as_secs_f64());
}

pub(crate) fn count_swap() {
    counter!("framefleet_model_swaps_total").increment(1);
}
