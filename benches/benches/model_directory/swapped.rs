//! What a swap costs the work that is under way: all cores look at one frame after the other, each with a session of its
//! own, and turn to the new version as soon as it serves.

use crate::place::{Bench, Followed, NAME};
use crate::{Failure, print_row};
use framefleet_benches::{machine, series::Series};
use framefleet_models::Thresholds;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// As long as a swap, without one.
const QUIET: Duration = Duration::from_secs(8);

/// When each frame ended, for each thread.
type Ends = Vec<Vec<Instant>>;

pub fn measure(bench: &Bench, repeats: u32) -> Result<(), Failure> {
    let followed = bench.follow()?;
    let first = bench.version(0);
    followed.rename(&first)?;
    followed.wait_for(&first)?;
    let over = AtomicBool::new(false);
    let (ends, spans) = thread::scope(|scope| {
        let worker = || scope.spawn(|| work(bench, &followed, &over));
        let workers: Vec<_> = (0..machine::cores()).map(|_| worker()).collect();
        let spans = swaps(bench, &followed, repeats);
        over.store(true, Ordering::Relaxed);
        let ends: Result<Ends, Failure> =
            workers.into_iter().map(|worker| worker.join().map_err(|_| "a worker panicked")?).collect();
        Ok::<_, Failure>((ends?, spans?))
    })?;
    let frame = spans.iter().map(|(quiet, _)| typical(&ends, *quiet)).collect::<Series>().median();
    let longest = |pick: fn(&(Span, Span)) -> Span| -> Series {
        spans.iter().map(|span| (longest(&ends, pick(span)) - frame) / frame).collect()
    };
    let (quiet, swap) = (longest(|span| span.0), longest(|span| span.1));
    let met = swap.median() <= 1.0;
    print_row("a frame on all cores, ms", &format!("{:.1}", frame * 1e3), None);
    print_row("the most a frame is late without a swap, frames", &format!("{quiet:.2}"), None);
    print_row("the most a frame is late in a swap, frames", &format!("{swap:.2}"), Some(("at most 1", met)));
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Span {
    from: Instant,
    to: Instant,
}

/// For each swap a quiet time before it, and the time from the drop until the old version is freed.
fn swaps(bench: &Bench, followed: &Followed, repeats: u32) -> Result<Vec<(Span, Span)>, Failure> {
    let span = |from: Instant| Span { from, to: Instant::now() };
    (1..=repeats)
        .map(|number| {
            let model = bench.version(number);
            let start = Instant::now();
            thread::sleep(QUIET);
            let quiet = span(start);
            let start = Instant::now();
            followed.rename(&model)?;
            followed.wait_for(&model)?;
            followed.settle()?;
            Ok((quiet, span(start)))
        })
        .collect()
}

fn work(bench: &Bench, followed: &Followed, over: &AtomicBool) -> Result<Vec<Instant>, Failure> {
    let newest = || followed.directory.current(NAME).ok_or_else(|| Failure::from("nothing serves"));
    let mut serving = newest()?;
    let mut lease = serving.lease()?;
    let thresholds: Thresholds = Bench::thresholds(&lease);
    let picture = bench.picture.picture();
    let mut ends = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let current = newest()?;
        if !Arc::ptr_eq(&current, &serving) {
            (lease, serving) = (current.lease()?, current);
        }
        lease.detect(&picture, &thresholds)?;
        followed.frames.offer(&picture, Instant::now());
        ends.push(Instant::now());
    }
    Ok(ends)
}

/// Seconds from one frame's end to the next one's, in a span of time.
fn gaps(ends: &Ends, span: Span) -> Vec<f64> {
    let within = |end: &Instant| (span.from..span.to).contains(end);
    let of_thread = |ends: &Vec<Instant>| -> Vec<f64> {
        ends.windows(2).filter(|pair| within(&pair[1])).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    };
    ends.iter().flat_map(of_thread).collect()
}

fn typical(ends: &Ends, span: Span) -> f64 {
    gaps(ends, span).into_iter().collect::<Series>().median()
}

fn longest(ends: &Ends, span: Span) -> f64 {
    gaps(ends, span).into_iter().fold(0.0, f64::max)
}
