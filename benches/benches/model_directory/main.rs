//! `./dev bench models`: how fast a dropped model is used, what a swap costs the work that is under way, and whether
//! memory grows with reloads.
//!
//! This program is its own child, as the sandbox wants it.

mod dropped;
mod place;
mod reloads;
mod swapped;

use clap::Parser;
use framefleet_benches::machine;
use framefleet_models::check::child;
use place::Bench;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

type Failure = Box<dyn Error + Send + Sync>;

/// The first argument of the process in which a model is tried out.
const CHILD: &str = "as-child";

/// Measures the model directory, and prints a Markdown table.
#[derive(Debug, Parser)]
struct Options {
    /// The detector that is dropped
    model: PathBuf,
    /// How often it is dropped, and how often it is swapped
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// How often it is reloaded
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(11..))]
    reloads: u32,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    framefleet_native::process::prepare();
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == CHILD) {
        return child(arguments);
    }
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
    let bench = Bench::new(&options.model)?;
    println!("With a model of {:.1} MB.\n", bench.megabytes());
    println!("| | measured | goal | met |\n|---|---|---|---|");
    dropped::measure(&bench, options.repeats)?;
    swapped::measure(&bench, options.repeats)?;
    reloads::measure(&bench, options.reloads)
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
