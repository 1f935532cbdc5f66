//! Fuzzes the demux-decode path: `./dev fuzz demux`.

use clap::{Parser, Subcommand};
use framefleet_fuzz::watch::Watch;
use framefleet_fuzz::{child, clips, look, watch};
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Call,
}

#[derive(Debug, Subcommand)]
enum Call {
    /// Tries mutants in child processes, and keeps those that crash, hang or eat memory.
    Run {
        #[arg(long, default_value_t = 30)]
        minutes: u64,
        /// The same seed and first file give the same files.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        #[arg(long, default_value_t = 0)]
        first: u64,
        /// Where the clips, the findings and the file that is being looked at lie.
        #[arg(long)]
        folder: PathBuf,
    },
    /// Looks at files: what the children do.
    Look { files: Vec<PathBuf> },
    #[command(hide = true)]
    Child {
        #[arg(long)]
        clips: PathBuf,
        #[arg(long)]
        scratch: PathBuf,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        first: u64,
        #[arg(long)]
        count: u64,
    },
}

fn main() -> io::Result<ExitCode> {
    match Cli::parse().command {
        Call::Run { minutes, seed, first, folder } => {
            let clips_folder = folder.join("clips");
            let clips = clips::load(&clips_folder)?;
            let findings = folder.join("findings");
            let length = Duration::from_mins(minutes);
            let nothing_found =
                watch::run(&Watch { clips, clips_folder, findings, scratch: folder, seed, first, length })?;
            Ok(if nothing_found { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Call::Look { files } => {
            for file in files {
                println!("{}: {:?}", file.display(), look::look_at(&file));
            }
            Ok(ExitCode::SUCCESS)
        }
        Call::Child { clips, scratch, seed, first, count } => {
            child::run(&clips::load(&clips)?, seed, first..first + count, &scratch)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
