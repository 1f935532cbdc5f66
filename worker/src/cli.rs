//! The command line: what can be asked, and with which exit status it is answered.

use crate::error::JobError;
use clap::{CommandFactory, Parser, Subcommand};
use framefleet_contract::ErrorCode;
use std::ffi::OsString;
use std::io::{Write, stderr, stdout};

mod cancel;
pub mod chosen_model;
mod dead_letters;
mod device_flags;
mod devices;
mod drawn;
mod jobs;
mod kafka;
pub mod limits;
pub mod models;
mod named_jobs;
mod results;
pub mod run;
mod setting_flags;
mod status;
mod submit;
mod topics;
mod worker;

/// Finds and follows objects in video.
#[derive(Debug, Parser)]
#[command(name = "framefleet", version, arg_required_else_help = true, max_term_width = 100)]
#[command(
    after_help = "Exit status: 0 done, 1 a job failed, 2 a mistake in the call, 70 ended since reading, decoding or a model stalled,\n\
                        71 ended since the GPU was lost, 130 interrupted by SIGINT or SIGTERM;\n\
                        128 and its number where a second signal ended it.\n\
                        FRAMEFLEET_LOG=info shows what the program does."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<run::Run>),
    Models(models::Models),
    Devices(devices::Devices),
    Topics(topics::Topics),
    Worker(Box<worker::Worker>),
    Submit(Box<submit::Submit>),
    Jobs(Box<jobs::Jobs>),
    Status(status::StatusOf),
    Cancel(cancel::Cancel),
    Results(results::Results),
    DeadLetters(dead_letters::DeadLetters),
}

/// All was done.
pub const DONE: u8 = 0;
/// A job failed.
pub const FAILED: u8 = 1;
/// The call itself is mistaken: nothing was begun.
pub const MISTAKE: u8 = 2;
/// Reading, decoding or a model did not come back, which nothing but the end of the process ends: `EX_SOFTWARE` of sysexits.h.
pub const STALLED: u8 = 70;
/// The GPU does not answer this process any more, which only another process mends: `EX_OSERR` of sysexits.h.
pub const DEVICE_LOST: u8 = 71;
/// A signal ended the work: 128 + SIGINT, as shells say it.
pub const INTERRUPTED: u8 = 130;

/// Runs the command and gives the exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error)
            if error.use_stderr()
                && error.kind() != clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand =>
        {
            print_error(ErrorCode::BadRequest, &usage_message(&error, &arguments));
            return MISTAKE;
        }
        Err(help) => {
            let _ = help.print();
            return if help.use_stderr() { MISTAKE } else { DONE };
        }
    };
    match cli.command {
        Command::Run(run) => run.execute(),
        Command::Models(models) => models.execute(),
        Command::Devices(devices) => devices.execute(),
        Command::Topics(topics) => topics.execute(),
        Command::Worker(worker) => worker.execute(),
        Command::Submit(submit) => submit.execute(),
        Command::Jobs(jobs) => jobs.execute(),
        Command::Status(status) => status.execute(),
        Command::Cancel(cancel) => cancel.execute(),
        Command::Results(results) => results.execute(),
        Command::DeadLetters(letters) => letters.execute(),
    }
}

/// The one line on stderr that a user sees and a script matches on.
pub fn print_error(code: ErrorCode, message: &str) {
    let one_line = message.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    // A file's name may hold escape sequences, which are not for the terminal.
    let printable = one_line.replace(char::is_control, "\u{fffd}");
    let _ = writeln!(stderr(), "error: {code}: {printable}");
}

/// A line on stdout. Whoever reads may have seen enough and gone away, which is no error.
pub fn say(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// The exit status of an error that came before any job had begun.
pub fn status_before_job(error: &JobError) -> u8 {
    match error.code() {
        ErrorCode::Interrupted => INTERRUPTED,
        ErrorCode::DeviceLost => DEVICE_LOST,
        _ => MISTAKE,
    }
}

/// The exit status where a watchdog ends the process.
pub fn status_of_end(error: &JobError) -> u8 {
    if error.code() == ErrorCode::DeviceLost { DEVICE_LOST } else { STALLED }
}

/// `framefleet jobs delete`: the words of a call that are commands.
fn command_of(arguments: &[OsString]) -> String {
    let (mut command, mut words) = (Cli::command(), "framefleet".to_owned());
    for word in arguments.iter().skip(1) {
        let Some(below) = word.to_str().and_then(|word| command.find_subcommand(word).cloned()) else { break };
        words = format!("{words} {}", below.get_name());
        command = below;
    }
    words
}

/// What clap says in several lines, in one, without its own prefix and usage.
fn usage_message(error: &clap::Error, arguments: &[OsString]) -> String {
    let text = error.to_string();
    let said: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !["Usage:", "For more information", "tip:"].iter().any(|end| line.starts_with(end)))
        .filter(|line| !line.is_empty())
        .collect();
    let said = said.join(" ");
    let command = command_of(arguments);
    format!("{}; `{command} --help` lists what can be said", said.strip_prefix("error: ").unwrap_or(&said))
}
