//! `./dev bench gpu`: decoding, models and the pipeline on an NVIDIA GPU, each by itself and together, measured in one run.
//!
//! ```text
//! card: the GPU, what runs on it ─► table: all in turns, several times ─► report: Markdown to stdout
//!   └ rehearsal: a driver             ├ decode    sources on NVDEC, pictures thrown away   ┐
//!     that pretends one               ├ infer     batches of pictures that are there       ├ window: the middle of each,
//!                                     ├ pipeline  decode ► infer ► write                   ┘   with what the card did then
//!                                     └ latency   from a packet to tracks, one at a time
//!                                   ► pictures: what the kernels make of pictures from NVDEC, against the CPU
//! ```

mod card;
mod rehearsal;
mod videos;
mod counts;
mod monitor;
mod window;
mod decode;
mod infer;
mod pipeline;
mod latency;
mod pictures;
mod table;
mod report;

use clap::{Parser, ValueEnum};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

type Failure = Box<dyn Error + Send + Sync>;

/// Measures decoding, models and the pipeline on an NVIDIA GPU, and prints Markdown tables.
#[derive(Debug, Parser)]
struct Options {
    /// Detectors: .onnx files, of an open batch or of one
    #[arg(required_unless_present = "make_clips", value_name = "ONNX")]
    models: Vec<PathBuf>,
    /// Where the clips are, or are made: see `--make-clips`
    #[arg(long, value_name = "DIR", env = "FRAMEFLEET_BENCH_CACHE", default_value = ".")]
    clips: PathBuf,
    /// Only make the clips that are missing there, from this video, with the program ffmpeg
    #[arg(long, value_name = "VIDEO")]
    make_clips: Option<PathBuf>,
    /// Of the clips
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["h264", "hevc"])]
    codecs: Vec<videos::Codec>,
    /// How many sources there are at once
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", default_values = ["1", "8", "32", "64"])]
    sources: Vec<usize>,
    /// The most pictures in a batch
    #[arg(long, value_name = "N", default_value_t = framefleet_models::cuda::LARGEST_BATCH)]
    batch: usize,
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// The GPU, as CUDA counts them
    #[arg(long, default_value_t = 0)]
    gpu: usize,
    /// Only this
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// An .onnx that gives its input back, for the comparison of pictures
    #[arg(long, value_name = "ONNX")]
    identity: Option<PathBuf>,
    /// Goes through everything in short on a driver that pretends a GPU, with decoding and models on the CPU: to see that
    /// the program works. Its figures mean nothing
    #[arg(long)]
    rehearse: bool,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Table,
    Latency,
    Pictures,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = if options.rehearse && options.make_clips.is_none() && !rehearsal::is_on() {
        rehearsal::start()
    } else {
        run(&options).map(|alike| if alike { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    };
    match ended {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the pictures were the same.
fn run(options: &Options) -> Result<bool, Failure> {
    let clips = videos::Clips::new(&options.clips, options.rehearse);
    if let Some(source) = &options.make_clips {
        clips.make(source)?;
        return Ok(true);
    }
    counts::install()?;
    let card = card::Card::open(options)?;
    println!("{}", report::heading(&card)?);
    let mut alike = true;
    if options.wants(Part::Pictures)
        && let Some(identity) = &options.identity
    {
        let compared = pictures::compare(&card, identity, &clips, &options.codecs)?;
        alike = compared.iter().all(pictures::Compared::is_alike);
        println!("{}", report::of_pictures(&compared));
    }
    if options.wants(Part::Latency) {
        let mut latencies = Vec::new();
        for model in &options.models {
            latencies.push(latency::of_model(&card, model, &clips, options)?);
        }
        println!("{}", report::of_latencies(&latencies));
    }
    if options.wants(Part::Table) {
        let measured = table::measure(&card, &clips, options)?;
        println!("{}", report::of_table(&measured, options.repeats));
    }
    Ok(alike)
}
