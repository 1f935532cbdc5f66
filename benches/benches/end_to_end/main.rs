//! The table of `./dev bench`: every part of the pipeline, the whole, and other programs, measured in one run.
//!
//! ```text
//! places ─► workload: video, model, goals ─► measure: all in turns, several times ─► report: Markdown to stdout
//!              └ clip: made by ffmpeg           ├ parts    decode, preprocess    in this process, on all cores
//!                                               ├ layouts  infer                 in this process
//!                                               ├ program  framefleet run        a child process
//!                                               └ peer     Python programs       child processes
//! ```

mod places;
mod clip;
mod workload;
mod child;
mod program;
mod peer;
mod parts;
mod layouts;
mod measure;
mod tracking;
mod report;

use clap::Parser;
use framefleet_benches::machine;
use places::Places;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

type Failure = Box<dyn Error + Send + Sync>;

/// Measures the pipeline's parts, the whole and other programs, and prints Markdown tables.
#[derive(Debug, Parser)]
struct Options {
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Everything once and in short, without the long videos: to see that it works
    #[arg(long)]
    quick: bool,
    /// Only some of: yolox, v8n, sample
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// How long a part that has no end of its own is measured.
const WINDOW: Duration = Duration::from_secs(4);
const QUICK_WINDOW: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let places = Places::find()?;
    let effort = measure::Effort {
        repeats: if options.quick { 1 } else { options.repeats },
        window: if options.quick { QUICK_WINDOW } else { WINDOW },
        thorough: !options.quick,
    };
    let environment = ort::init_from(&places.onnxruntime)?.with_name("benches").with_telemetry(false).build()?;
    println!("{}\n", machine::describe());
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    for kind in workload::Kind::ALL.into_iter().filter(|kind| wanted(kind.name())) {
        match workload::prepare(kind, &places, effort) {
            Ok(workload) => {
                let measured = measure::measure(&workload, &places, &environment, effort)?;
                println!("{}", report::of_workload(&workload, &measured));
            }
            Err(reason) => println!("## {}\n\nNot measured: {reason}\n", kind.title()),
        }
    }
    println!("{}", report::of_tracking(&tracking::microseconds_per_frame(effort.repeats)));
    Ok(())
}
