//! What a long queue costs the scheduler: how soon it knows a million waiting segments, and the memory that it takes.
//!
//! Against a real broker on the same machine, with the messages that planning a film a minute long each time would send.

use clap::Parser;
use framefleet_benches::machine;
use framefleet_benches::series::Series;
use framefleet_contract::identity::{JobId, Sha256};
use framefleet_contract::message::segment_task::{FRAMES_HEADER, MODEL_HEADER, SegmentTask};
use framefleet_contract::message::to_json;
use framefleet_contract::request::ModelRef;
use framefleet_queue::spread::Spread;
use framefleet_queue::topics::{DEFAULT_QUEUES, Layout, apply};
use framefleet_queue::{Connection, Outgoing, Publisher};
use framefleet_scheduler::demand::{Follower, Lane, Snapshot};
use framefleet_tests::kafka::Broker;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

type Failure = Box<dyn Error + Send + Sync>;

/// Fills a queue, follows it, and prints rows of a Markdown table.
#[derive(Debug, Parser)]
struct Options {
    /// Jobs, of a hundred segments each
    #[arg(long, default_value_t = 10_000)]
    jobs: u32,
    /// How often it is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Measures once in this process, on this broker
    #[arg(long, hide = true)]
    follow: Option<String>,
    /// What `cargo bench` says to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

const SEGMENTS: u32 = 100;
/// Of a segment of a minute.
const FRAMES: u64 = 1500;
const PREFIX: &str = "bench";
/// Messages that are on their way at once.
const AT_ONCE: usize = 20_000;
const PATIENCE: Duration = Duration::from_mins(5);
const SNAPSHOTS: u32 = 10;

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match &options.follow {
        Some(brokers) => follow(brokers, options.jobs * SEGMENTS),
        None => measure(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> Result<(), Failure> {
    println!("{}\n", machine::describe());
    let broker = Broker::start();
    fill(&Connection::new(&broker.bootstrap(), PREFIX, BTreeMap::new())?, options.jobs)?;
    let mut measured = [(); 4].map(|()| Series::default());
    for _ in 0..options.repeats {
        // In a process of its own, whose memory is that of one follower.
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--follow", &broker.bootstrap(), "--jobs", &options.jobs.to_string()]);
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let numbers = String::from_utf8(output.stdout)?;
        for (series, number) in measured.iter_mut().zip(numbers.split_whitespace()) {
            series.push(number.parse()?);
        }
    }
    let [seconds, most, after, snapshot] = measured;
    let count = options.jobs * SEGMENTS;
    println!("| | measured | goal | met |\n|---|---|---|---|");
    let row = |name: &str, measured: &Series, goal: f64| {
        let met = if measured.median() < goal { "yes" } else { "**no**" };
        println!("| {name} | {measured} | less than {goal} | {met} |");
    };
    row(&format!("until {count} waiting segments are known, s"), &seconds, 30.0);
    row("the process's memory meanwhile, at most, MB", &most, 200.0);
    row("and then, MB", &after, 200.0);
    row("one snapshot of them, ms", &snapshot, 200.0);
    Ok(())
}

/// As planning does.
fn fill(connection: &Connection, jobs: u32) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(apply(connection, &Layout::default()))?;
    let (publisher, spread) = (Publisher::new(connection)?, Spread::new(PREFIX));
    let topic = connection.topics().segments("normal");
    let model = ModelRef { name: "street".to_owned(), sha256: Sha256::of(b"street") };
    let mut pending = Vec::new();
    for job in 0..jobs {
        let id = JobId::derived(&format!("/videos/crossing-{job}.mp4"), &Sha256::of(&job.to_le_bytes()));
        for segment in 0..SEGMENTS {
            let task = SegmentTask {
                deadline: Some(format!("2035-01-01T{:02}:00:00Z", job % 24)),
                memory_bytes: Some(300 << 20),
                ..SegmentTask::new(id.clone(), segment, "normal".to_owned(), model.clone(), FRAMES)
            };
            let (json, frames) = (to_json(&task), FRAMES.to_string());
            let headers = [(FRAMES_HEADER, frames.as_bytes()), (MODEL_HEADER, model.sha256.as_str().as_bytes())];
            let partition = Some(spread.next(Layout::default().partitions));
            let message = Outgoing::new(&topic, id.as_str(), &json);
            pending.push(publisher.begin(Outgoing { partition, headers: &headers, ..message })?);
        }
        if pending.len() > AT_ONCE {
            pending.drain(..).try_for_each(|pending| pending.wait().map(|_| ()))?;
        }
    }
    pending.into_iter().try_for_each(|pending| pending.wait().map(|_| ()))?;
    Ok(())
}

/// Prints the seconds until everything is known, the most memory and what it is then, and the milliseconds of a snapshot.
fn follow(brokers: &str, count: u32) -> Result<(), Failure> {
    let connection = Connection::new(brokers, PREFIX, BTreeMap::new())?;
    let begun = Instant::now();
    let follower = Follower::start(&connection, DEFAULT_QUEUES.map(str::to_owned))?;
    while !snapshot(&follower)?.troubles.is_empty() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("still not known: {:?}", snapshot(&follower)?.troubles).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let seconds = begun.elapsed().as_secs_f64();
    let known = snapshot(&follower)?;
    let waiting = &known.demand.lanes[&Lane::Detect("normal".to_owned())].waiting;
    let (items, units) = waiting.iter().fold((0, 0.0), |(items, units), work| (items + work.items, units + work.units));
    if (items, units) != (count, f64::from(count) * FRAMES as f64) {
        return Err(format!("{items} segments of {units} frames wait, not {count}").into());
    }
    let asked = Instant::now();
    for _ in 0..SNAPSHOTS {
        snapshot(&follower)?;
    }
    let milliseconds = asked.elapsed().as_secs_f64() * 1000.0 / f64::from(SNAPSHOTS);
    println!("{seconds} {} {} {milliseconds}", memory_mb("VmHWM:")?, memory_mb("VmRSS:")?);
    Ok(())
}

fn snapshot(follower: &Follower) -> Result<Snapshot, Failure> {
    Ok(follower.snapshot(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64()))
}

fn memory_mb(line: &str) -> Result<f64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let value = status.lines().find_map(|found| found.strip_prefix(line)).ok_or("no such line")?;
    Ok(value.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}
