//! Parses the command line, runs the command, and turns what went wrong into one line and an exit status.

use framefleet_models::directory::REFUSALS;
use framefleet_worker::cli;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

fn main() -> ExitCode {
    framefleet_native::process::prepare();
    let mut arguments = std::env::args_os().skip(1);
    let command = arguments.next().unwrap_or_default();
    if command == cli::models::CHILD {
        return framefleet_models::check::child(arguments);
    }
    // A worker runs unattended: what it took up and left is worth a line.
    let level = if command == "worker" { LevelFilter::INFO } else { LevelFilter::WARN };
    let mut filter =
        EnvFilter::builder().with_default_directive(level.into()).with_env_var("FRAMEFLEET_LOG").from_env_lossy();
    if command == "models" {
        // It prints them itself.
        filter = filter.add_directive(format!("{REFUSALS}=off").parse().expect("this is a directive"));
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    ExitCode::from(cli::main(std::env::args_os()))
}
