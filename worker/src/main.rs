//! Parses the command line, runs the command, and turns what went wrong into one line and an exit status.

use framefleet_worker::cli;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

fn main() -> ExitCode {
    framefleet_native::process::prepare();
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == cli::models::CHILD) {
        return framefleet_models::check::child(arguments);
    }
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(LevelFilter::WARN.into())
                .with_env_var("FRAMEFLEET_LOG")
                .from_env_lossy(),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    ExitCode::from(cli::main(std::env::args_os()))
}
