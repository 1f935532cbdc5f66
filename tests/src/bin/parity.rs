//! Whether a GPU finds what the CPU finds: `framefleet run` on both, detections matched both ways, and tracks counted.
//!
//! A program of its own, so that it can be carried to where there is a GPU and nothing else of this project.

use framefleet_contract::detection_file::Row;
use framefleet_tests::agreement::{Demand, share_found};
use framefleet_tests::job::Job;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

const USAGE: &str = "Usage: parity PROGRAM FOLDER [--one ARGUMENTS] [--other ARGUMENTS] (MODEL VIDEO)...

Runs PROGRAM run VIDEO --model MODEL with both ARGUMENTS, words separated by blanks, with results in FOLDER, and prints a
Markdown table. Ends with 1 where they do not agree.
  --one    [default: --device cuda:0 --deterministic]
  --other  [default: --device cpu]";

/// Near a threshold a hair's breadth decides, so a sure detection of one side may be a little less sure on the other. The
/// same is asked of the CPU against an independent program: `tests/tests/independent.rs`.
const DEMAND: Demand = Demand { sure: 0.35, likely: 0.25, iou: 0.9 };
const CONFIDENCE: &str = "0.25";
/// Of the sure detections of each side that the other has.
const SHARE: f64 = 0.99;
/// By how much of the CPU's tracks the number of tracks may differ.
const TRACKS: f64 = 0.02;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(asked) = Asked::from(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match asked.compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Asked {
    program: PathBuf,
    folder: PathBuf,
    one: Vec<String>,
    other: Vec<String>,
    /// Models and videos.
    pairs: Vec<(PathBuf, PathBuf)>,
}

struct Found {
    rows: Vec<Row>,
    tracks: usize,
}

impl Asked {
    fn from(arguments: &[String]) -> Option<Self> {
        let [program, folder, rest @ ..] = arguments else { return None };
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (mut one, mut other) = (words("--device cuda:0 --deterministic"), words("--device cpu"));
        let mut rest = rest;
        while let [name, value, others @ ..] = rest {
            match name.as_str() {
                "--one" => one = words(value),
                "--other" => other = words(value),
                _ => break,
            }
            rest = others;
        }
        let pairs = rest.chunks_exact(2);
        let is_whole = !rest.is_empty() && pairs.remainder().is_empty();
        let pairs = pairs.map(|pair| (PathBuf::from(&pair[0]), PathBuf::from(&pair[1]))).collect();
        is_whole.then_some(Self { program: program.into(), folder: folder.into(), one, other, pairs })
    }

    /// Whether all of them agree.
    fn compare(&self) -> Result<bool, Failure> {
        let (one, other) = (self.one.join(" "), self.other.join(" "));
        println!("### Parity of `{one}` with `{other}`\n");
        println!("| model | video | detections | found there | found back | tracks | agree |");
        println!("|---|---|---|---|---|---|---|");
        let mut all = true;
        for (model, video) in &self.pairs {
            let (a, b) = (self.run(model, video, &self.one)?, self.run(model, video, &self.other)?);
            let (there, back) = (share_found(&a.rows, &b.rows, DEMAND), share_found(&b.rows, &a.rows, DEMAND));
            let apart = a.tracks.abs_diff(b.tracks) as f64;
            let agree = there >= SHARE && back >= SHARE && apart <= TRACKS * b.tracks as f64;
            all &= agree;
            println!(
                "| {} | {} | {}, {} | {:.2} % | {:.2} % | {}, {} | {} |",
                name_of(model),
                name_of(video),
                a.rows.len(),
                b.rows.len(),
                100.0 * there,
                100.0 * back,
                a.tracks,
                b.tracks,
                if agree { "yes" } else { "**no**" }
            );
        }
        println!("\nAt least {} % both ways, and tracks within {} %.\n", 100.0 * SHARE, 100.0 * TRACKS);
        Ok(all)
    }

    /// In a folder of its own for each way to run, so that one that ran before is not run again.
    fn run(&self, model: &Path, video: &Path, how: &[String]) -> Result<Found, Failure> {
        let mut command = Command::new(&self.program);
        let name = how.concat().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        command.arg("run").arg(video).arg("--model").arg(model).arg("--out").arg(self.folder.join(name));
        command.args(["--json", "--confidence", CONFIDENCE]).args(how).stderr(Stdio::inherit());
        let output = command.output()?;
        let line = String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
        if !output.status.success() {
            return Err(format!("{command:?} ended with {}: {line}", output.status).into());
        }
        let rows = Job::parse(&line).rows();
        let tracks = rows.iter().filter_map(|row| row.track_id).collect::<BTreeSet<_>>().len();
        Ok(Found { rows, tracks })
    }
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
