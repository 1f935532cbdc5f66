//! Parses the command line, runs the command, and turns what went wrong into one line and an exit status.

use framefleet_worker::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("FRAMEFLEET_LOG"))
        .with_writer(std::io::stderr)
        .init();
    ExitCode::from(cli::main(std::env::args_os()))
}
