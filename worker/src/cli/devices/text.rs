//! The page that a person reads.

use super::Choice;
use crate::device::{Inventory, Properties, Seen};
use crate::report::{plain_table, trimmed};
use console::measure_text_width;
use framefleet_models::Installed;
use framefleet_native::cuda::libraries::Component;
use framefleet_native::cuda::nvdec::{Capabilities, Chroma, Codec};
use framefleet_native::cuda::{CudaError, Memory};

const GIB: f64 = (1u64 << 30) as f64;

/// In so many columns, where words allow it.
pub fn page(inventory: &Inventory, columns: usize) -> String {
    let gpus = inventory.gpus.as_deref().unwrap_or_default();
    let parts = [hardware(inventory), gpu_table(gpus), decoders(gpus), libraries(inventory)];
    let choice = Choice::on(inventory);
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    let parts = parts.chain(unusable(inventory, columns)).chain(lacking(inventory, columns));
    let last = wrapped(&format!("--device auto takes {}: {}", choice.device, choice.why), 0, columns);
    parts.chain([last]).collect::<Vec<_>>().join("\n\n").replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

fn hardware(inventory: &Inventory) -> String {
    let cores = inventory.cpu.cores;
    let cores = format!("{cores} core{}", if cores == 1 { "" } else { "s" });
    let cpu = inventory.cpu.model.as_ref().map_or(cores.clone(), |model| format!("{model}, {cores}"));
    let mut table = plain_table();
    table.add_row(vec!["CPU".to_owned(), cpu]);
    table.add_row(vec!["GPU".to_owned(), gpus_in_words(inventory)]);
    trimmed(&table)
}

fn gpus_in_words(inventory: &Inventory) -> String {
    let release = inventory.driver_release.as_ref().map(|release| format!(" {release}")).unwrap_or_default();
    let cuda = inventory.libraries.of(Component::Driver).version();
    let driver = format!("driver{release}{}", cuda.map(|cuda| format!(" with CUDA {cuda}")).unwrap_or_default());
    match (&inventory.gpus, inventory.on_the_bus) {
        (Err(_), _) => format!("unknown, since the {driver} does not start"),
        (Ok(gpus), _) if !gpus.is_empty() => format!("{}, {driver}", gpus.len()),
        (Ok(_), _) if inventory.has_driver() => format!("none that the {driver} shows to this process"),
        (Ok(_), 0) => "no NVIDIA GPU".to_owned(),
        (Ok(_), there) => format!("{there} of NVIDIA's, without a driver"),
    }
}

fn gpu_table(gpus: &[Seen]) -> String {
    if gpus.is_empty() {
        return String::new();
    }
    let mut table = plain_table();
    table.set_header(vec!["device", "name", "compute", "memory", "busy", "decoders"]);
    for (ordinal, seen) in gpus.iter().enumerate() {
        let device = format!("cuda:{ordinal}");
        table.add_row(match seen {
            Ok(gpu) => row(device, gpu),
            Err(_) => vec![device, "cannot be taken up".to_owned()],
        });
    }
    trimmed(&table)
}

fn row(device: String, gpu: &Properties) -> Vec<String> {
    let (major, minor) = gpu.compute_capability;
    let memory = gpu.memory.as_ref().map_or_else(
        |_| "unknown".to_owned(),
        |Memory { free, total }| format!("{:.1} of {:.1} GiB free", *free as f64 / GIB, *total as f64 / GIB),
    );
    let busy = gpu.busy_percent.map_or_else(|| "?".to_owned(), |percent| format!("{percent} %"));
    let engines = gpu.decoder.as_ref().map_or_else(|_| "?".to_owned(), |able| able.engines().to_string());
    vec![device, gpu.name.clone(), format!("{major}.{minor}"), memory, busy, engines]
}

/// One table for all GPUs that decode the same.
fn decoders(gpus: &[Seen]) -> String {
    let mut kinds: Vec<(&Capabilities, Vec<String>)> = Vec::new();
    for (ordinal, seen) in gpus.iter().enumerate() {
        let Ok(Properties { decoder: Ok(able), .. }) = seen else { continue };
        let device = format!("cuda:{ordinal}");
        match kinds.iter_mut().find(|(known, _)| *known == able) {
            Some((_, devices)) => devices.push(device),
            None => kinds.push((able, vec![device])),
        }
    }
    let tables = kinds.iter().map(|(able, devices)| {
        format!("  {} decode, by chroma, samples of so many bits:\n\n{}", devices.join(", "), decoder_table(able))
    });
    tables.collect::<Vec<_>>().join("\n\n")
}

fn decoder_table(able: &Capabilities) -> String {
    let mut table = plain_table();
    table.set_header(
        ["codec".to_owned()].into_iter().chain(Chroma::ALL.iter().map(ToString::to_string)).chain(["up to".to_owned()]),
    );
    for &codec in Codec::ALL {
        let depths = Chroma::ALL.iter().map(|&chroma| {
            let depths = able.of(codec).filter(|kind| kind.chroma == chroma).map(|kind| kind.depth.to_string());
            let depths = depths.collect::<Vec<_>>().join(" ");
            if depths.is_empty() { "-".to_owned() } else { depths }
        });
        let largest = able.of(codec).map(|kind| kind.largest).max();
        let largest = largest.map_or_else(String::new, |(width, height)| format!("{width}x{height}"));
        table.add_row([codec.to_string()].into_iter().chain(depths).chain([largest]));
    }
    trimmed(&table)
}

fn libraries(inventory: &Inventory) -> String {
    let mut table = plain_table();
    table.set_header(vec!["library", "version"]);
    let build = |build: &Option<Installed>| match build {
        Some(Installed { version: Ok(version), .. }) => version.clone(),
        Some(Installed { version: Err(_), .. }) => "cannot be used".to_owned(),
        None => "-".to_owned(),
    };
    table.add_row(vec!["ONNX Runtime for the CPU".to_owned(), build(&inventory.onnxruntime)]);
    table.add_row(vec!["ONNX Runtime for GPUs".to_owned(), build(&inventory.onnxruntime_for_gpu)]);
    // The others are of the driver, or come with these.
    for component in
        [Component::CudaRuntime, Component::Cublas, Component::Cudnn, Component::Nvrtc, Component::TensorRt]
    {
        let state = inventory.libraries.of(component);
        let unknown = if state.reason().is_some() { "-" } else { "unknown" };
        let version = state.version().map_or_else(|| unknown.to_owned(), |version| version.to_string());
        table.add_row(vec![component.title().to_owned(), version]);
    }
    trimmed(&table)
}

/// Without it, nothing runs but on a GPU.
fn unusable(inventory: &Inventory, columns: usize) -> Option<String> {
    let reason = inventory.onnxruntime.as_ref()?.version.as_ref().err()?;
    let remedy = "`./dev setup` installs another one, or FRAMEFLEET_ONNXRUNTIME names it";
    Some(item(&format!("ONNX Runtime for the CPU cannot be used ({reason})"), remedy, columns))
}

/// What is missing, a paragraph for each, and then what could be added. The second is of no interest without a GPU.
fn lacking(inventory: &Inventory, columns: usize) -> Vec<String> {
    let problems = inventory.libraries.missing().into_iter().chain(inventory.gpus.as_ref().err().cloned());
    let mut paragraphs: Vec<String> = problems.map(|problem| paragraph("", &problem, columns)).collect();
    if !paragraphs.is_empty() {
        paragraphs.insert(0, "Missing for NVIDIA GPUs:".to_owned());
    }
    for (ordinal, seen) in inventory.gpus.iter().flatten().enumerate() {
        let of_it = format!("cuda:{ordinal}: ");
        match seen {
            Err(problem) => paragraphs.push(paragraph(&of_it, problem, columns)),
            // Where the driver's part for video is not there, that is told below.
            Ok(Properties { decoder: Err(problem), .. }) if !matches!(problem, CudaError::Missing { .. }) => {
                paragraphs.push(paragraph(&of_it, problem, columns));
            }
            Ok(_) => {}
        }
        if let Ok(Properties { problem: Some(problem), .. }) = seen {
            paragraphs.push(paragraph(&of_it, problem, columns));
        }
    }
    let optional = inventory.libraries.iter().filter_map(|(component, state)| {
        let (remedy, reason) = (component.optional_remedy()?, state.reason()?);
        Some(item(&format!("{} ({reason})", component.title()), remedy, columns))
    });
    let optional: Vec<String> = optional.collect();
    if inventory.gpus.as_ref().is_ok_and(|gpus| !gpus.is_empty()) && !optional.is_empty() {
        paragraphs.push("Can be done without:".to_owned());
        paragraphs.extend(optional);
    }
    paragraphs
}

fn paragraph(of_it: &str, problem: &CudaError, columns: usize) -> String {
    match problem {
        CudaError::Missing { what, reason, remedy } => item(&format!("{of_it}{what} ({reason})"), remedy, columns),
        other => wrapped(&format!("{of_it}{other}"), 2, columns),
    }
}

/// What it is, and below it what to do.
fn item(what: &str, remedy: &str, columns: usize) -> String {
    format!("{}\n{}", wrapped(what, 2, columns), wrapped(remedy, 4, columns))
}

/// Lines of at most so many columns, if no word is longer, that begin with so many spaces. A command stays in one line.
fn wrapped(text: &str, indent: usize, columns: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut in_command = false;
    let words = text.split(|c: char| {
        in_command ^= c == '`';
        c == ' ' && !in_command
    });
    for word in words {
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("{}{word}", " ".repeat(indent))),
        }
    }
    lines.join("\n")
}
