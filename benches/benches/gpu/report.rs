//! The Markdown that is printed.

use crate::Failure;
use crate::card::Card;
use crate::latency::Latency;
use crate::pictures::{Compared, Difference};
use crate::pipeline::Run;
use crate::table::{ByItself, Measured, Sources};
use crate::window::Window;
use framefleet_benches::machine;
use framefleet_benches::series::Series;
use std::fmt::Write;
use std::process::Command;

/// End to end over the lesser of decoding and the model, from this many sources on.
const SHARE_OF_LIMIT: f64 = 0.9;
const SOURCES_OF_GOAL: usize = 32;
const PROCESSOR_MS: f64 = 1.0;
const BESIDE_THE_MODEL: f64 = 0.05;
const LATENCY_MS: f64 = 10.0;

/// The day, the card, the machine, and the versions.
pub fn heading(card: &Card) -> Result<String, Failure> {
    let date = Command::new("date").args(["-u", "+%Y-%m-%d"]).output()?.stdout;
    let mut text = String::new();
    if card.is_pretended() {
        text.push_str("**A rehearsal: the GPU is pretended, and no figure below means anything.**\n\n");
    }
    let driver = card.driver_release().unwrap_or_else(|| "of unknown release".to_owned());
    let memory = card.gpu.memory()?;
    let versions: Vec<String> =
        card.versions().into_iter().map(|(name, version)| format!("{name} {version}")).collect();
    writeln!(
        text,
        "{}: {}, {:.0} GiB, driver {driver}, {}.",
        String::from_utf8_lossy(&date).trim(),
        card.gpu.name(),
        memory.total as f64 / f64::from(1 << 30),
        versions.join(", ")
    )?;
    writeln!(text, "\n{}.", machine::describe())?;
    Ok(text)
}

pub fn of_pictures(compared: &[Compared]) -> String {
    let mut text = "### Pictures\n\nDifferences of a model's input from what the kernels wrote, in 255ths of its range: mean, \
        and greatest.\n\n| | frames | the CPU on the same samples | decoded in software, then the CPU | at most 1 and 3 |\n\
        |---|---|---|---|---|\n"
        .to_owned();
    for pictures in compared {
        let shown =
            |difference: Difference| format!("{:.4}, {:.4}", 255.0 * difference.mean, 255.0 * difference.greatest);
        let Compared { codec, frames, kernel, software } = *pictures;
        let line = format!(
            "| {} | {frames} | {} | {} | {} |\n",
            codec.title(),
            shown(kernel),
            shown(software),
            met(pictures.is_alike())
        );
        text.push_str(&line);
    }
    text
}

pub fn of_latencies(latencies: &[Latency]) -> String {
    let mut text = format!(
        "### From a packet to tracks\n\nOne source, one picture at a time; milliseconds, the median of all \
        pictures and the least and greatest. The goal is less than {LATENCY_MS} ms at the median.\n\n\
        | | | ms | met |\n|---|---|---|---|\n"
    );
    for latency in latencies {
        for (codec, milliseconds) in &latency.by_codec {
            let series: Series = milliseconds.iter().copied().collect();
            let row = format!(
                "| {} | {} | {series} | {} |\n",
                latency.model,
                codec.title(),
                met(series.median() < LATENCY_MS)
            );
            text.push_str(&row);
        }
    }
    text
}

pub fn of_table(measured: &Measured, repeats: u32) -> String {
    let mut text = format!(
        "### Decoding and models by themselves\n\nMedians of {repeats}, least and greatest in parentheses.\n\n\
        | decoding | frames/s | NVDEC busy | processor, ms/frame | compressed, KB/frame | received, KB/frame |\n\
        |---|---|---|---|---|---|\n"
    );
    for cell in &measured.cells {
        text.push_str(&decoding(cell));
    }
    text.push_str("\n| a model | batch | frames/s | beside the model |\n|---|---|---|---|\n");
    for ByItself { name, largest_batch, inferred } in &measured.models {
        let rate: Series = inferred.iter().map(|inferred| inferred.frames_per_second).collect();
        let beside: Series = inferred.iter().map(|inferred| 100.0 * inferred.beside_the_model).collect();
        let line = format!("| {name} | {largest_batch} | {rate} | {beside} % |\n");
        text.push_str(&line);
    }
    for (index, model) in measured.models.iter().enumerate() {
        text.push_str(&of_model(model, index, &measured.cells));
    }
    text
}

fn decoding(cell: &Sources) -> String {
    let series = |value: &dyn Fn(&Window) -> f64| cell.decode.iter().map(value).collect::<Series>();
    format!(
        "| {} × {} | {} | {} | {:.2} | {:.1} | {} |\n",
        cell.count,
        cell.codec.title(),
        series(&|window| window.frames_per_second),
        percent(&cell.decode, |window| window.card.nvdec),
        series(&|window| 1000.0 * window.processor_s_per_frame),
        cell.bytes_per_frame / 1000.0,
        kilobytes(&cell.decode),
    )
}

fn of_model(model: &ByItself, index: usize, cells: &[Sources]) -> String {
    let mut text = format!(
        "\n### End to end: {}\n\n\
        | | frames/s | over the lesser of decoding and the model | met | GPU busy | NVDEC busy | processor, ms/frame | met | \
        received, KB/frame | beside the model | met | batches: frames in them |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        model.name
    );
    for cell in cells {
        text.push_str(&end_to_end(model, cell, &cell.runs[index]));
    }
    for cell in cells.iter().filter(|cell| cell.runs[index].iter().any(|run| run.software_share > 0.0)) {
        let share = cell.runs[index].iter().map(|run| 100.0 * run.software_share).fold(0.0, f64::max);
        let line = format!(
            "\n**{share:.0} % of the frames of {} × {} were decoded in software.**\n",
            cell.count,
            cell.codec.title()
        );
        text.push_str(&line);
    }
    text
}

fn end_to_end(model: &ByItself, cell: &Sources, runs: &[Run]) -> String {
    let windows: Vec<Window> = runs.iter().map(|run| run.window).collect();
    let rates: Series = windows.iter().map(|window| window.frames_per_second).collect();
    let limits: Series = cell
        .decode
        .iter()
        .zip(&model.inferred)
        .map(|(decode, infer)| decode.frames_per_second.min(infer.frames_per_second))
        .collect();
    let share = rates.over(&limits);
    let processor: Series = windows.iter().map(|window| 1000.0 * window.processor_s_per_frame).collect();
    let beside: Series = runs.iter().map(|run| 100.0 * run.beside_the_model).collect();
    let goal = if cell.count >= SOURCES_OF_GOAL { met(share.median() >= SHARE_OF_LIMIT) } else { "" };
    format!(
        "| {} × {} | {rates} | {share:.2} | {goal} | {} | {} | {processor:.2} | {} | {} | {beside:.1} % | {} | {} |\n",
        cell.count,
        cell.codec.title(),
        percent(&windows, |window| window.card.gpu),
        percent(&windows, |window| window.card.nvdec),
        met(processor.median() <= PROCESSOR_MS),
        kilobytes(&windows),
        met(beside.median() < 100.0 * BESIDE_THE_MODEL),
        histogram(runs),
    )
}

/// Of all frames, how many were in batches of 1, of up to 2, of up to 4 and so on, in percent.
fn histogram(runs: &[Run]) -> String {
    let mut ranges: Vec<(u32, u64)> = Vec::new();
    for (&frames, &batches) in runs.iter().flat_map(|run| &run.batches) {
        let upper = frames.next_power_of_two();
        match ranges.iter_mut().find(|(range, _)| *range == upper) {
            Some((_, sum)) => *sum += u64::from(frames) * batches,
            None => ranges.push((upper, u64::from(frames) * batches)),
        }
    }
    ranges.sort_unstable();
    let all: u64 = ranges.iter().map(|(_, frames)| frames).sum();
    let shown = |(upper, frames): &(u32, u64)| {
        let most = if *upper <= 2 { format!("{upper}") } else { format!("{} to {upper}", upper / 2 + 1) };
        format!("{most}: {:.0} %", 100.0 * *frames as f64 / all.max(1) as f64)
    };
    ranges.iter().map(shown).collect::<Vec<_>>().join(", ")
}

/// What NVML does not tell is left out.
fn percent(windows: &[Window], of: fn(&Window) -> Option<f64>) -> String {
    let told: Vec<f64> = windows.iter().filter_map(of).map(|share| 100.0 * share).collect();
    if told.is_empty() { "not told".to_owned() } else { format!("{:.0} %", told.into_iter().collect::<Series>()) }
}

fn kilobytes(windows: &[Window]) -> String {
    let told: Vec<f64> = windows.iter().filter_map(|window| window.received_bytes_per_frame).collect();
    if told.is_empty() {
        return "not told".to_owned();
    }
    format!("{:.1}", told.into_iter().map(|bytes| bytes / 1000.0).collect::<Series>())
}

fn met(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "**no**" }
}
