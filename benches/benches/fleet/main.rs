//! `./dev bench fleet`: what a fleet costs over `framefleet run`, how two workers share the work, and what long queues do.
//!
//! Against a real broker on the same machine, whose share of the processors is measured and said.

mod place;
mod queue;
mod scaling;
mod throughput;

use clap::{Parser, ValueEnum};
use framefleet_benches::machine;
use place::Place;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

type Failure = Box<dyn Error + Send + Sync>;

/// Measures a fleet, and prints a Markdown table.
#[derive(Debug, Parser)]
struct Options {
    /// The detector
    model: PathBuf,
    /// Videos, of which copies are made
    #[arg(required = true)]
    videos: Vec<PathBuf>,
    /// Copies of the videos, all together
    #[arg(long, default_value_t = 20)]
    copies: usize,
    /// How often each side is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Jobs that are submitted, and segments that are queued ten times as many
    #[arg(long, default_value_t = 10_000)]
    jobs: u32,
    /// Only this
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Throughput,
    Scaling,
    Queue,
}

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
    println!("{}\n", machine::describe());
    let place = Place::new(&options.model)?;
    println!("| | measured | goal | met |\n|---|---|---|---|");
    let wanted = |part| options.only.is_none_or(|only| only == part);
    if wanted(Part::Throughput) {
        throughput::measure(&place, &options.videos, options.copies, options.repeats)?;
    }
    if wanted(Part::Scaling) {
        scaling::measure(&place, &options.videos[0], options.repeats)?;
    }
    if wanted(Part::Queue) {
        queue::measure(&place, options.jobs)?;
    }
    Ok(())
}

/// A line of the table.
fn print_row(name: &str, measured: &str, goal: Option<(&str, bool)>) {
    let (goal, met) = match goal {
        Some((goal, true)) => (goal, "yes"),
        Some((goal, false)) => (goal, "**no**"),
        None => ("", ""),
    };
    println!("| {name} | {measured} | {goal} | {met} |");
}
