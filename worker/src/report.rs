//! What a user is told when a job has ended.

use comfy_table::{CellAlignment, Table, presets};
use framefleet_contract::summary::Summary;

/// The closing table: frames, time, speed, detections and tracks by class, and what limited the speed.
pub fn table(summary: &Summary) -> String {
    let mut figures = plain_table();
    let frames = &summary.frames;
    figures.add_row(vec!["frames".to_owned(), frames.decoded.to_string(), ledger(summary)]);
    figures.add_row(vec!["seconds".to_owned(), format!("{:.1}", summary.speed.seconds), String::new()]);
    let times = format!("{:.1} times real time", summary.speed.times_real_time);
    figures.add_row(vec!["frames/s".to_owned(), format!("{:.0}", summary.speed.frames_per_second), times]);
    figures.add_row(vec![
        "detections".to_owned(),
        summary.detections.to_string(),
        format!("{} on tracks", summary.tracked),
    ]);
    figures.add_row(vec!["tracks".to_owned(), summary.tracks.to_string(), String::new()]);
    align_numbers(&mut figures);

    let mut classes = plain_table();
    classes.set_header(vec!["class", "detections", "tracks"]);
    for (name, counts) in &summary.classes {
        classes.add_row(vec![name.clone(), counts.detections.to_string(), counts.tracks.to_string()]);
    }
    align_numbers(&mut classes);
    let classes = if summary.classes.is_empty() { String::new() } else { format!("\n\n{}", trimmed(&classes)) };
    format!("{}{classes}\n\n  limited by {}", trimmed(&figures), summary.limited_by)
}

/// The frames that are not simply decoded and inferred.
fn ledger(summary: &Summary) -> String {
    let frames = &summary.frames;
    let parts = [(frames.skipped, "not inferred"), (frames.damaged, "damaged"), (frames.dropped, "dropped")];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let found = match summary.segments.found {
        0 => String::new(),
        found => format!("{found} of {} segments were there already", summary.segments.total),
    };
    parts.into_iter().chain((!found.is_empty()).then_some(found)).collect::<Vec<_>>().join(", ")
}

fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn align_numbers(table: &mut Table) {
    for column in table.column_iter_mut().skip(1).take(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn trimmed(table: &Table) -> String {
    let lines: Vec<String> = table.to_string().lines().map(|line| format!(" {}", line.trim_end())).collect();
    lines.join("\n")
}
