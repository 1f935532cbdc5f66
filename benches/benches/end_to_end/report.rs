//! The tables, in Markdown.

use crate::child::Run;
use crate::measure::Measured;
use crate::tracking::OBJECTS;
use crate::workload::{LONGER, Workload};
use framefleet_benches::series::Series;
use std::fmt::Write;

/// Seconds until the first detection, and microseconds of tracking a frame.
const FIRST_DETECTION_S: f64 = 1.0;
const TRACKING_US: f64 = 50.0;
/// Memory is called flat if a video that is longer takes at most this many times as much.
const FLAT: f64 = 1.05;

pub fn of_workload(workload: &Workload, measured: &Measured) -> String {
    let mut text = format!("## {}\n\n", workload.kind.title());
    for note in &workload.notes {
        let _ = writeln!(text, "{note}\n");
    }
    text.push_str("| | frames/s | frames/s from process start to end | peak memory, MB |\n|---|---|---|---|\n");
    let mut part = |name: &str, rate: &Series| {
        let _ = writeln!(text, "| {name} | {rate} | | |");
    };
    part("decode only", &measured.decode);
    part("preprocess only", &measured.preprocess);
    for (layout, rate) in &measured.infer {
        part(&format!("infer only, {layout}"), rate);
    }
    part("limit, with the first layout", &measured.limit());
    let mut whole = |name: &str, runs: &[Run]| {
        let [rate, process_rate] = [rates(runs), of(runs, |run| run.process_frames_per_second)];
        let _ = writeln!(text, "| {name} | {rate} | {process_rate} | {:.0} |", of(runs, |run| run.peak_mb));
    };
    whole("**end to end**", &measured.ours);
    for (peer, runs) in workload.peers.iter().zip(&measured.peers) {
        whole(&peer.name, runs);
    }
    text + "\n" + &standing(workload, measured)
}

pub fn of_tracking(microseconds: &Series) -> String {
    let mut text = String::from("## The tracker\n\n| | measured | goal | met |\n|---|---|---|---|\n");
    text += &at_most(&format!("a frame with {OBJECTS} objects, µs"), microseconds, Some(TRACKING_US));
    text
}

/// What was set out to be reached, and what was.
fn standing(workload: &Workload, measured: &Measured) -> String {
    let goals = workload.kind.goals();
    let ours = rates(&measured.ours);
    let peak = of(&measured.ours, |run| run.peak_mb);
    let mut text = String::from("| | measured | goal | met |\n|---|---|---|---|\n");
    text += &at_least("end to end / limit", &ours.over(&measured.limit()), goals.of_limit);
    for (index, (peer, runs)) in workload.peers.iter().zip(&measured.peers).enumerate() {
        let goal = goals.of_peer.filter(|_| index == 0);
        text += &at_least(&format!("end to end / {}", peer.name), &ours.over(&rates(runs)), goal);
    }
    text += &at_most("peak memory, MB", &peak, goals.peak_mb);
    if let Some(long) = &measured.long {
        let growth = [long.peak_mb / peak.median()].into_iter().collect();
        text +=
            &at_most(&format!("peak memory with a video {LONGER} times as long / with this one"), &growth, Some(FLAT));
    }
    let first: Option<Series> = measured.ours.iter().map(|run| run.first_detection_s).collect();
    text + &match first {
        Some(first) => at_most("process start to first detection, s", &first, Some(FIRST_DETECTION_S)),
        None => "| process start to first detection, s | not told | at most 1 | |\n".to_owned(),
    }
}

fn at_least(name: &str, measured: &Series, goal: Option<f64>) -> String {
    let met = goal.is_some_and(|goal| measured.median() >= goal);
    row(name, measured, goal.map(|goal| format!("at least {goal}")), met)
}

fn at_most(name: &str, measured: &Series, goal: Option<f64>) -> String {
    let met = goal.is_some_and(|goal| measured.median() <= goal);
    row(name, measured, goal.map(|goal| format!("at most {goal}")), met)
}

fn row(name: &str, measured: &Series, goal: Option<String>, met: bool) -> String {
    let met = if goal.is_none() {
        ""
    } else if met {
        "yes"
    } else {
        "**no**"
    };
    format!("| {name} | {measured} | {} | {met} |\n", goal.unwrap_or_default())
}

fn rates(runs: &[Run]) -> Series {
    of(runs, |run| run.frames_per_second)
}

fn of(runs: &[Run], figure: fn(&Run) -> f64) -> Series {
    runs.iter().map(figure).collect()
}
