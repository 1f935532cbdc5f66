//! The command line: what can be asked, and with which exit status it is answered.

mod run;

use crate::pool::crd_yaml;
use crate::simulate::Simulate;
use clap::{Parser, Subcommand};
use std::io::{Write, stderr, stdout};

/// Sizes `FrameFleet`'s pools of workers to the work that waits in Kafka.
#[derive(Debug, Parser)]
#[command(name = "framefleet-scheduler", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 something failed, 2 a mistake in the call.\n\
                        FRAMEFLEET_LOG=debug shows more of what it does, =warn less.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    /// Prints the custom resource definition of a `WorkerPool`: framefleet-scheduler crd | kubectl apply -f -
    Crd,
    Simulate(Simulate),
}

/// All was done.
pub const DONE: u8 = 0;
/// Something failed that may work another time.
pub const FAILED: u8 = 1;
/// The call itself is mistaken.
pub const MISTAKE: u8 = 2;

/// Runs the command and gives the exit status.
pub fn main() -> u8 {
    match Cli::parse().command {
        Command::Run(run) => run.execute(),
        Command::Crd => {
            // Whoever reads may have seen enough and gone away, which is no error.
            let _ = stdout().write_all(crd_yaml().as_bytes());
            DONE
        }
        Command::Simulate(simulate) => simulate.execute(),
    }
}

/// The one line on stderr that a user sees and a script matches on.
pub fn print_error(code: &str, message: &str) {
    let one_line = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let printable = one_line.replace(char::is_control, "\u{fffd}");
    let _ = writeln!(stderr(), "error: {code}: {printable}");
}
