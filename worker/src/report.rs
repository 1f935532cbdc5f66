//! What a user is told when a job has ended.

use comfy_table::{CellAlignment, Table, presets};
use framefleet_contract::summary::{ClassCounts, Summary};
use std::cmp::Reverse;

/// The closing table: frames, time, speed, detections and tracks by class, and what limited the speed.
pub fn table(summary: &Summary) -> String {
    let mut figures = plain_table();
    let frames = &summary.frames;
    figures.add_row(vec!["frames".to_owned(), frames.decoded.to_string(), ledger(summary)]);
    let drawing = summary.stages.get("draw").map(|draw| format!("and {:.1} for drawing", draw.busy_s));
    let seconds = format!("{:.1}", summary.speed.seconds);
    figures.add_row(vec!["seconds".to_owned(), seconds, drawing.unwrap_or_default()]);
    let times = format!("{:.1} times real time", summary.speed.times_real_time);
    figures.add_row(vec!["frames/s".to_owned(), format!("{:.0}", summary.speed.frames_per_second), times]);
    figures.add_row(vec![
        "detections".to_owned(),
        summary.detections.to_string(),
        format!("{} on tracks", summary.tracked),
    ]);
    figures.add_row(vec!["tracks".to_owned(), summary.tracks.to_string(), String::new()]);
    align_numbers(&mut figures);

    let classes = if summary.classes.is_empty() { String::new() } else { format!("\n\n{}", classes(summary)) };
    let stages = if summary.stages.is_empty() { String::new() } else { format!("\n\n{}", stages(summary)) };
    format!("{}{classes}{stages}\n\n  on {}, limited by {}", trimmed(&figures), summary.device, summary.limited_by)
}

/// Where the time went: the stages side by side, then those that follow.
fn stages(summary: &Summary) -> String {
    const IN_ORDER: [&str; 5] = ["decode", "infer", "write", "track", "draw"];
    let mut table = plain_table();
    table.set_header(vec!["stage", "threads", "busy s", "waiting s", ""]);
    for name in IN_ORDER {
        let Some(time) = summary.stages.get(name) else { continue };
        let parts = summary.infer_parts.filter(|_| name == "infer").map_or_else(String::new, |parts| {
            format!(
                "{:.1} preprocess, {:.1} model, {:.1} postprocess",
                parts.preprocess_s, parts.model_s, parts.postprocess_s
            )
        });
        let waiting = format!("{:.1}", time.starved_s + time.blocked_s);
        let busy = format!("{:.1}", time.busy_s);
        table.add_row(vec![name.to_owned(), time.threads.to_string(), busy, waiting, parts]);
    }
    for column in table.column_iter_mut().skip(1).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    trimmed(&table)
}

/// Classes with most tracks first. Those without a track, beyond the first few, are noise for most readers: one line.
fn classes(summary: &Summary) -> String {
    const WITHOUT_TRACKS: usize = 3;
    let mut by_tracks: Vec<(&String, &ClassCounts)> = summary.classes.iter().collect();
    by_tracks.sort_by_key(|(_, counts)| (Reverse(counts.tracks), Reverse(counts.detections)));
    let tracked = by_tracks.iter().take_while(|(_, counts)| counts.tracks > 0).count();
    let (shown, rest) = by_tracks.split_at((tracked + WITHOUT_TRACKS).min(by_tracks.len()));

    let mut table = plain_table();
    table.set_header(vec!["class", "detections", "tracks"]);
    for (name, counts) in shown {
        table.add_row(vec![(*name).clone(), counts.detections.to_string(), counts.tracks.to_string()]);
    }
    if !rest.is_empty() {
        let detections: u64 = rest.iter().map(|(_, counts)| counts.detections).sum();
        table.add_row(vec![format!("{} other classes", rest.len()), detections.to_string(), "0".to_owned()]);
    }
    align_numbers(&mut table);
    trimmed(&table)
}

/// The frames that are not simply decoded and inferred.
fn ledger(summary: &Summary) -> String {
    let frames = &summary.frames;
    let parts = [
        (frames.skipped, "not inferred"),
        (frames.damaged, "damaged"),
        (frames.lost, "lost"),
        (frames.dropped, "dropped"),
    ];
    let parts: Vec<String> = parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let found = match summary.segments.found {
        0 => String::new(),
        found => format!("{found} of {} segments were there already", summary.segments.total),
    };
    parts.into_iter().chain((!found.is_empty()).then_some(found)).collect::<Vec<_>>().join(", ")
}

pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn align_numbers(table: &mut Table) {
    for column in table.column_iter_mut().skip(1).take(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

/// Cells of a row with text from outside, each of which stays one line.
pub(crate) fn plain_row<'a>(cells: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    cells.into_iter().map(|cell| cell.replace(char::is_control, "\u{fffd}")).collect()
}

/// The table as text. What it shows comes out of files too: without characters that steer a terminal.
pub(crate) fn trimmed(table: &Table) -> String {
    let text = table.to_string();
    let lines = text.lines().map(|line| format!(" {}", line.trim_end().replace(char::is_control, "\u{fffd}")));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_out_of_a_file_steers_no_terminal() {
        let mut table = plain_table();
        table.add_row(vec!["\u{1b}]0;title\u{7}person", "\u{9b}2J"]);
        assert_eq!(trimmed(&table), "  \u{fffd}]0;title\u{fffd}person  \u{fffd}2J");
    }
}
